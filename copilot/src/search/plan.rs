//! What of a query is looked up, within its budget, before any posting is read.

use std::{cmp::Reverse, io, sync::Arc};

use super::{
    Correction, Query, Tuning,
    budget::{Budget, MOST_CORRECTED},
    correct, expand,
    rank::Concept,
};
use crate::index::reader::{LoadedIndex, OpenFault};

/// Postings of a concept in all indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postings {
    /// How many there are.
    pub all: u64,
    /// How many may be read.
    pub granted: u64,
}

/// The concepts of the query's own words with the number of their postings. Of the words that no document holds, the
/// last is completed and a few are corrected: the longest, which say most and have the fewest neighbours.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn own(
    indexes: &[Arc<LoadedIndex>],
    query: &Query,
    tuning: &Tuning,
    budget: &mut Budget,
    corrections: &mut Vec<Correction>,
) -> Result<Vec<(Concept, u64)>, OpenFault> {
    let keep_function_words = !query.has_content();
    let words = query.wanted.iter().filter(|wanted| !wanted.identifier).count();
    let mut concepts = Vec::new();
    let mut unknown = Vec::new();
    for (at, wanted) in query.wanted.iter().enumerate() {
        let weight = if wanted.function_word && !keep_function_words { tuning.function_words } else { 1.0 };
        if weight <= 0.0 {
            continue;
        }
        let concept = expand::concept(wanted, weight, tuning);
        let postings = postings_of(indexes, &concept, tuning, budget)?;
        if postings == 0 {
            unknown.push((concepts.len(), query.open && at + 1 == words));
        }
        concepts.push((concept, postings));
    }
    let mut corrected: Vec<usize> = unknown.iter().map(|(at, _)| *at).collect();
    corrected.retain(|at| tuning.typos && correct::is_correctable(&concepts[*at].0.wanted));
    corrected.sort_by_key(|at| Reverse(concepts[*at].0.wanted.text.chars().count()));
    if corrected.len() > MOST_CORRECTED {
        corrected.truncate(MOST_CORRECTED);
        budget.truncate();
    }
    for (at, last) in unknown {
        let (concept, postings) = &mut concepts[at];
        let rescue = expand::rescue(indexes, &concept.wanted, last, corrected.contains(&at), tuning, budget)?;
        if let Some(to) = rescue {
            let from = concept.wanted.text.clone();
            *concept = expand::concept(&to.wanted, concept.weight * to.weight, tuning);
            concept.lookups.extend(to.further);
            *postings = postings_of(indexes, concept, tuning, budget)?;
            corrections.push(Correction { from, to: to.wanted.text });
        }
    }
    Ok(concepts)
}

/// Concepts with the number of their postings.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn counted(
    indexes: &[Arc<LoadedIndex>],
    concepts: Vec<Concept>,
    tuning: &Tuning,
    budget: &mut Budget,
) -> io::Result<Vec<(Concept, u64)>> {
    let mut counted = Vec::with_capacity(concepts.len());
    for concept in concepts {
        let postings = postings_of(indexes, &concept, tuning, budget)?;
        counted.push((concept, postings));
    }
    Ok(counted)
}

fn postings_of(
    indexes: &[Arc<LoadedIndex>],
    concept: &Concept,
    tuning: &Tuning,
    budget: &mut Budget,
) -> io::Result<u64> {
    let mut count = 0;
    for index in indexes {
        for (field, term, weight) in &concept.lookups {
            if weight * tuning.weights[*field as usize] > 0.0 && budget.look_up() {
                count += u64::from(index.doc_freq(*field, term)?);
            }
        }
    }
    Ok(count)
}

/// How many postings of each concept may be read, in the order of the concepts. The rarest come first: they say most.
#[must_use]
pub fn admitted(concepts: Vec<(Concept, u64)>, budget: &mut Budget) -> Vec<(Concept, Postings)> {
    let mut planned: Vec<(Concept, Postings)> =
        concepts.into_iter().map(|(concept, all)| (concept, Postings { all, granted: 0 })).collect();
    let mut rarest: Vec<&mut Postings> = planned.iter_mut().map(|(_, postings)| postings).collect();
    rarest.sort_by_key(|postings| postings.all);
    for postings in rarest {
        postings.granted = budget.postings(postings.all);
    }
    planned
}
