//! What of a query is looked up, within its budget, before any posting is read.

use std::{cmp::Reverse, io};

use super::{
    budget::{Budget, MOST_CORRECTED},
    correct,
    expand::{self, Allowed},
    ranking::Correction,
    scope::Scope,
    term::QueryTerm,
};
use crate::index::reader::OpenFault;

/// Postings of a term in all indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postings {
    /// How many there are.
    pub all: u64,
    /// How many may be read.
    pub granted: u64,
}

/// The query's own words.
#[derive(Debug, Default)]
pub struct OwnTerms {
    /// Terms, each with the number of its postings.
    pub terms: Vec<(QueryTerm, u64)>,
    /// What was searched in place of words that no document holds.
    pub corrections: Vec<Correction>,
}

/// The query's own words as terms. Of those that no document holds, the last is completed and a few are corrected: the
/// longest, which say most and have the fewest neighbours.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn own(scope: &Scope<'_>, budget: &mut Budget) -> Result<OwnTerms, OpenFault> {
    let (query, tuning) = (scope.query, scope.tuning());
    let keep_function_words = !query.has_content();
    let words = query.words.iter().filter(|word| !word.identifier).count();
    let mut terms = Vec::new();
    let mut unknown = Vec::new();
    for (at, word) in query.words.iter().enumerate() {
        let weight = if word.function_word && !keep_function_words { tuning.function_words } else { 1.0 };
        if weight <= 0.0 {
            continue;
        }
        let term = QueryTerm::of(word, weight, tuning);
        let postings = postings_of(scope, &term, budget)?;
        if postings == 0 {
            unknown.push((terms.len(), query.open && at + 1 == words));
        }
        terms.push((term, postings));
    }
    let mut corrected: Vec<usize> = unknown.iter().map(|(at, _)| *at).collect();
    corrected.retain(|at| tuning.typos && correct::is_correctable(&terms[*at].0.word));
    corrected.sort_by_key(|at| Reverse(terms[*at].0.word.text.chars().count()));
    if corrected.len() > MOST_CORRECTED {
        corrected.truncate(MOST_CORRECTED);
        budget.truncate();
    }
    let mut corrections = Vec::new();
    for (at, last) in unknown {
        let (term, postings) = &mut terms[at];
        let allowed = Allowed { completion: last, correction: corrected.contains(&at) };
        if let Some(found) = expand::replacement(scope, &term.word, allowed, budget)? {
            let from = term.word.text.clone();
            *term = QueryTerm::of(&found.word, term.weight * found.weight, tuning);
            term.lookups.extend(found.completions);
            *postings = postings_of(scope, term, budget)?;
            corrections.push(Correction { from, to: found.word.text });
        }
    }
    Ok(OwnTerms { terms, corrections })
}

/// Terms with the number of their postings.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn counted(scope: &Scope<'_>, terms: Vec<QueryTerm>, budget: &mut Budget) -> io::Result<Vec<(QueryTerm, u64)>> {
    let mut counted = Vec::with_capacity(terms.len());
    for term in terms {
        let postings = postings_of(scope, &term, budget)?;
        counted.push((term, postings));
    }
    Ok(counted)
}

fn postings_of(scope: &Scope<'_>, term: &QueryTerm, budget: &mut Budget) -> io::Result<u64> {
    let mut count = 0;
    for index in scope.indexes {
        for (field, text, weight) in &term.lookups {
            if weight * scope.tuning().weights[*field as usize] > 0.0 && budget.look_up() {
                count += u64::from(index.doc_freq(*field, text)?);
            }
        }
    }
    Ok(count)
}

/// As many of these terms as have no more than `most` postings together, the rarest first. Nobody asked for the others, so that
/// leaving them out cuts nothing short.
#[must_use]
pub fn affordable(terms: Vec<(QueryTerm, u64)>, most: u64) -> Vec<(QueryTerm, u64)> {
    let mut counts: Vec<u64> = terms.iter().map(|(_, postings)| *postings).collect();
    counts.sort_unstable();
    let mut sum = 0_u64;
    let within = |count: &&u64| {
        sum = sum.saturating_add(**count);
        sum <= most
    };
    let largest = counts.iter().take_while(within).last().copied().unwrap_or(0);
    let mut left = most;
    let fits = |(_, count): &(QueryTerm, u64)| {
        let fits = *count > 0 && *count <= largest && *count <= left;
        left -= if fits { *count } else { 0 };
        fits
    };
    terms.into_iter().filter(fits).collect()
}

/// How many postings of each term may be read, in the order of the terms. The rarest come first: they say most.
#[must_use]
pub fn admitted(terms: Vec<(QueryTerm, u64)>, budget: &mut Budget) -> Vec<(QueryTerm, Postings)> {
    let mut planned: Vec<(QueryTerm, Postings)> =
        terms.into_iter().map(|(term, all)| (term, Postings { all, granted: 0 })).collect();
    let mut rarest: Vec<&mut Postings> = planned.iter_mut().map(|(_, postings)| postings).collect();
    rarest.sort_by_key(|postings| postings.all);
    for postings in rarest {
        postings.granted = budget.postings(postings.all);
    }
    planned
}
