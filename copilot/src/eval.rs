//! Measuring the ranking on test sets in the layout of BEIR.

pub mod measures;
pub mod sets;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    index::{language::Language, reader::LoadedIndex, writer},
    search::{self, Request, Synonyms, Tuning},
};
use measures::Measures;
use sets::TestSet;

/// Depth of a ranking that is looked at.
pub const DEPTH: usize = 1000;

/// A set, a ranking, and the measures of each query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Name of the set.
    pub set: String,
    /// What the ranking was made with.
    pub tuning: Tuning,
    /// Measures by query.
    pub queries: BTreeMap<String, Measures>,
}

/// Indexes a set.
///
/// # Errors
/// When it cannot be indexed or the index not be opened.
pub fn index(set: &TestSet, language: Language) -> anyhow::Result<Arc<LoadedIndex>> {
    let dir = tempfile::tempdir()?;
    writer::write(dir.path(), &set.chunks, language)?;
    // The files stay mapped after the folder is gone.
    Ok(Arc::new(LoadedIndex::open(dir.path(), "eval", "0")?))
}

/// Ranks every query of the set that has judgements.
///
/// # Errors
/// When the index cannot be read.
pub fn run(set: &TestSet, index: &Arc<LoadedIndex>, synonyms: &Synonyms, tuning: &Tuning) -> anyhow::Result<Run> {
    let indexes = [Arc::clone(index)];
    let mut queries = BTreeMap::new();
    for (id, text) in &set.queries {
        let Some(relevant) = set.judgements.get(id) else { continue };
        let query = search::Query::parse(text, index.lexicon.language);
        let ranking = search::rank::rank(&indexes, &query, synonyms, tuning, &mut search::Budget::default())?;
        let mut ids: Vec<String> = Vec::new();
        for scored in ranking.scored.iter().take(DEPTH) {
            let id = set.id_of(index, scored.doc)?;
            // Several sections of one page count once where pages are judged.
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        queries.insert(id.clone(), Measures::of(&ids, relevant));
    }
    Ok(Run { set: set.name.clone(), tuning: tuning.clone(), queries })
}

/// How often questions are answered that should be, and that should not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Abstention {
    /// Questions with a judgement.
    pub answerable: usize,
    /// Of these, answered.
    pub answered: usize,
    /// Questions without any.
    pub unanswerable: usize,
    /// Of these, answered all the same.
    pub answered_wrongly: usize,
}

/// Counts over every other question: the threshold is chosen on the even ones and reported on the odd ones.
///
/// # Errors
/// When the index cannot be read.
pub fn abstention(set: &TestSet, index: &Arc<LoadedIndex>, tuning: &Tuning, odd: bool) -> anyhow::Result<Abstention> {
    let mut counts = Abstention::default();
    for (id, text) in set.queries.iter().skip(usize::from(odd)).step_by(2) {
        let answered = usize::from(found(index, text, tuning)?.evidence.suffices());
        if set.judgements.contains_key(id) {
            counts.answerable += 1;
            counts.answered += answered;
        } else {
            counts.unanswerable += 1;
            counts.answered_wrongly += answered;
        }
    }
    Ok(counts)
}

/// Searches as the server does.
///
/// # Errors
/// When the index cannot be read.
pub fn found(index: &Arc<LoadedIndex>, text: &str, tuning: &Tuning) -> anyhow::Result<search::Found> {
    let request = Request { text, limit: 1, offset: 0, per_page: 0, section: None };
    Ok(search::search(&[Arc::clone(index)], &request, &Synonyms::default(), tuning)?)
}
