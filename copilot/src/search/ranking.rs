//! What a ranking says: which sections, in what order, and by which words.

use std::{cmp::Ordering, collections::HashMap};

use serde::Serialize;
use tantivy::DocId;

use super::term::QueryTerm;
use crate::index::schema::Searched;

/// A section and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Position in the list of indexes.
    pub index: usize,
    /// Document in that index.
    pub doc: DocId,
    /// The score.
    pub score: f32,
    /// The part of it that meaning added to what words found.
    pub meaning: f32,
}

impl Scored {
    /// Best first; ties keep the order of indexes and documents.
    #[must_use]
    pub fn order(a: &Self, b: &Self) -> Ordering {
        b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)).then(a.doc.cmp(&b.doc))
    }
}

/// Where one term occurs.
#[derive(Debug, Clone, Default)]
pub struct TermMatches {
    /// Information content, from all indexes together.
    pub idf: f32,
    /// Weight of the term.
    pub weight: f32,
    /// Documents and weighted, length-normalised occurrences, per index in order of documents.
    pub docs: Vec<Vec<(DocId, f32)>>,
    /// See [`QueryTerm::expansion`].
    pub expansion: bool,
    /// Whole identifiers say what their parts say already.
    pub identifier: bool,
    /// See [`QueryTerm::stands_for`].
    pub stands_for: Option<usize>,
}

/// What is highlighted in a snippet: stems and whole identifiers.
#[derive(Debug, Clone, Default)]
pub struct Matchers {
    /// Stem or word → information content.
    pub stems: HashMap<String, f32>,
    /// Whole identifiers.
    pub identifiers: HashMap<String, f32>,
    /// Information of the question's own words together, those that no document holds included.
    pub total: f32,
}

impl Matchers {
    /// Adds what a term looks for.
    pub fn add(&mut self, term: &QueryTerm, idf: f32) {
        for (field, text, _) in &term.lookups {
            let map = match field {
                Searched::Identifier => &mut self.identifiers,
                Searched::BodyStem | Searched::Body => &mut self.stems,
                _ => continue,
            };
            let known = map.entry(text.clone()).or_default();
            *known = known.max(idf * term.weight.min(1.0));
        }
    }
}

/// A word of the query that no document holds, and what was searched instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correction {
    /// As typed.
    pub from: String,
    /// As found in the documents.
    pub to: String,
}

/// All sections that match, best first, in a stable order.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// The sections.
    pub scored: Vec<Scored>,
    /// Words that were searched in another form.
    pub corrections: Vec<Correction>,
    /// What to highlight.
    pub matchers: Matchers,
    /// Each term's matches, for the evidence.
    pub matches: Vec<TermMatches>,
}
