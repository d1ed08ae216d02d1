//! What stays the same through one search.

use std::sync::Arc;

use super::{Intent, Query, Settings, Tuning};
use crate::index::reader::LoadedIndex;

/// The indexes, the query, and the numbers of the ranking.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// What is searched, as one corpus. Nothing else can influence the outcome.
    pub indexes: &'a [Arc<LoadedIndex>],
    /// What for.
    pub query: &'a Query,
    /// What the reader wants, by the form of the text.
    pub intent: Intent,
    /// The operator's words and the numbers of the ranking.
    pub settings: &'a Settings,
}

impl Scope<'_> {
    /// The numbers of the ranking.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.settings.tuning
    }

    /// Sections of all indexes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "logarithms and averages need no more digits")]
    pub fn documents(&self) -> f32 {
        self.indexes.iter().map(|index| index.len()).sum::<usize>() as f32
    }
}
