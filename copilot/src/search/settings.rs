//! What the ranking works with besides the documents.

use super::{Synonyms, Tuning};

/// The operator's words and the numbers of the ranking.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Words that mean the same.
    pub synonyms: Synonyms,
    /// The numbers.
    pub tuning: Tuning,
}
