//! The numbers of the ranking, in one place, so that each can be switched off and measured.

use serde::{Deserialize, Serialize};

use crate::index::schema::SEARCHED;

/// Weights and switches. How the defaults were chosen stands in `docs/benchmarks.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Weight of each field's occurrences: stemmed prose, prose, heading, path, code, identifier.
    pub weights: [f32; SEARCHED],
    /// How far a field's length counts (0 not at all, 1 fully), in the same order.
    pub lengths: [f32; SEARCHED],
    /// Saturation of repeated occurrences.
    pub k1: f32,
    /// Weight of question words and other function words; 0 leaves them out unless there is nothing else.
    pub function_words: f32,
    /// Weight of neighbouring words found near each other.
    pub proximity: f32,
    /// Distance in words within which that counts.
    pub window: u32,
    /// Factor for a heading that is exactly the query.
    pub exact_heading: f32,
    /// Weight of the whole page's match in the score of its sections.
    pub page: f32,
    /// Best sections whose words expand the query (pseudo-relevance feedback); 0 switches this off.
    pub feedback_sections: usize,
    /// Words taken from them.
    pub feedback_words: usize,
    /// Weight of all these words together, relative to the query's own.
    pub feedback: f32,
    /// Weight of acronyms, long forms and synonyms.
    pub synonyms: f32,
    /// Weight of everyday and technical words for the same thing.
    pub thesaurus: f32,
    /// The same for a word that no document holds.
    pub thesaurus_unknown: f32,
    /// Words of content that a question has at the least for its words to be exchanged.
    pub thesaurus_words: usize,
    /// Weight of the corpus' latent semantics, relative to the best score by words; 0 switches them off.
    pub meaning: f32,
    /// How far that weight shrinks with the share of the question that the best section holds in so many words.
    pub meaning_covered: f32,
    /// Words of content that a question has at the least for it.
    pub meaning_words: usize,
    /// Sections that are found by likeness alone, at the most.
    pub meaning_candidates: usize,
    /// Factor for sections of a reference, unless an identifier is looked for.
    pub reference: f32,
    /// Factor for histories of changes.
    pub history: f32,
    /// Factor for pages about the making of the documents.
    pub project: f32,
    /// Factor for sections that only lead further, or have next to no text.
    pub thin: f32,
    /// Factor for sections with commands when the question asks how.
    pub commands: f32,
    /// Factor for sections with any code then.
    pub code: f32,
    /// Factor for sections with steps then.
    pub steps: f32,
    /// Factor for the beginning of a page when the question asks what something is.
    pub first: f32,
    /// Correct words that no document holds.
    pub typos: bool,
    /// Complete words that no document holds.
    pub prefixes: bool,
    /// Use stems; without, words count only as written.
    pub stemming: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            weights: [1.0, 0.2, 3.0, 1.5, 0.5, 0.5],
            lengths: [0.65, 0.75, 0.75, 0.4, 0.75, 0.5],
            k1: 1.35,
            function_words: 0.0,
            proximity: 0.4,
            window: 8,
            exact_heading: 1.2,
            page: 0.1,
            feedback_sections: 5,
            feedback_words: 10,
            feedback: 0.1,
            synonyms: 0.5,
            thesaurus: 0.9,
            thesaurus_unknown: 1.0,
            thesaurus_words: 2,
            meaning: 0.3,
            meaning_covered: 0.7,
            meaning_words: 3,
            meaning_candidates: 50,
            reference: 0.85,
            history: 0.5,
            project: 0.75,
            thin: 0.7,
            commands: 1.1,
            code: 1.08,
            steps: 1.05,
            first: 1.1,
            typos: true,
            prefixes: true,
            stemming: true,
        }
    }
}

impl Tuning {
    /// Okapi BM25 over one field (prose) and nothing else: what everything is compared with.
    #[must_use]
    pub fn plain(stemming: bool) -> Self {
        let (stem, word) = if stemming { (1.0, 0.0) } else { (0.0, 1.0) };
        Self {
            weights: [stem, word, 0.0, 0.0, 0.0, 0.0],
            lengths: [0.75; SEARCHED],
            k1: 1.2,
            function_words: 1.0,
            proximity: 0.0,
            exact_heading: 1.0,
            page: 0.0,
            feedback_sections: 0,
            synonyms: 0.0,
            thesaurus: 0.0,
            thesaurus_unknown: 0.0,
            meaning: 0.0,
            reference: 1.0,
            history: 1.0,
            project: 1.0,
            thin: 1.0,
            commands: 1.0,
            code: 1.0,
            steps: 1.0,
            first: 1.0,
            typos: false,
            prefixes: false,
            ..Self::default()
        }
    }
}
