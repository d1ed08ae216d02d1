//! Measuring the ranking on test sets in the layout of BEIR.

pub mod answers;
pub mod fit;
pub mod measures;
pub mod sets;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    index::{language::Language, reader::LoadedIndex, writer},
    search::{self, Scope, Tuning},
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
    /// Numbers of the ranking.
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
pub fn run(set: &TestSet, index: &Arc<LoadedIndex>, settings: &search::Settings) -> anyhow::Result<Run> {
    let indexes = [Arc::clone(index)];
    let mut queries = BTreeMap::new();
    for (id, text) in &set.queries {
        let Some(relevant) = set.judgements.get(id) else { continue };
        let query = search::Query::parse(text, index.lexicon.language);
        let (intent, mut budget) = (search::Intent::of(text, &query), search::Budget::default());
        let scope = Scope { indexes: &indexes, query: &query, intent, settings };
        let ranking = search::rank::rank(&scope, &mut budget)?;
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
    Ok(Run { set: set.name.clone(), tuning: settings.tuning.clone(), queries })
}
