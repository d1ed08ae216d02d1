//! A word of the query as it is looked up.

use super::{Tuning, query::QueryWord};
use crate::index::schema::Searched;

/// One word of the query, or one that stands for it, with everything that is looked up for it.
#[derive(Debug, Clone)]
pub struct QueryTerm {
    /// What to look up: field, text, weight.
    pub lookups: Vec<(Searched, String, f32)>,
    /// The word.
    pub word: QueryWord,
    /// Weight of the term.
    pub weight: f32,
    /// Not in the query: a synonym, or taken from the first results.
    pub expansion: bool,
    /// Position among the query's own terms of the one that it stands for: a section that has both has it once.
    pub stands_for: Option<usize>,
}

impl QueryTerm {
    /// The term of a word as it is.
    #[must_use]
    pub fn of(word: &QueryWord, weight: f32, tuning: &Tuning) -> Self {
        let text = || word.text.clone();
        let stem = || if tuning.stemming { word.stem.clone() } else { word.text.clone() };
        let lookups = if word.identifier {
            vec![(Searched::Identifier, text(), 1.0)]
        } else if tuning.stemming {
            vec![
                (Searched::BodyStem, stem(), 1.0),
                (Searched::Body, text(), 1.0),
                (Searched::Title, stem(), 1.0),
                (Searched::Path, stem(), 1.0),
                (Searched::Code, text(), 1.0),
            ]
        } else {
            // Headings are indexed stemmed only: a word that is its own stem is found in them.
            vec![
                (Searched::Body, text(), 1.0),
                (Searched::Title, text(), 1.0),
                (Searched::Path, text(), 1.0),
                (Searched::Code, text(), 1.0),
            ]
        };
        Self { lookups, word: word.clone(), weight, expansion: false, stands_for: None }
    }

    /// The term of a word that the query does not hold.
    #[must_use]
    pub fn expansion(word: &QueryWord, weight: f32, tuning: &Tuning) -> Self {
        Self { expansion: true, ..Self::of(word, weight, tuning) }
    }
}
