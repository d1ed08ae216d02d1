//! The most recent decisions, within a number of records and of bytes.

use std::{collections::VecDeque, sync::Arc};

use authz_core::record::DecisionRecord;

/// A ring of records with their sizes.
#[derive(Debug)]
pub(super) struct Recent {
    records: VecDeque<(Arc<DecisionRecord>, usize)>,
    bytes: usize,
    most_records: usize,
    most_bytes: usize,
}

impl Recent {
    /// An empty ring.
    pub(super) fn new(most_records: usize, most_bytes: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, most_records, most_bytes }
    }

    /// Keeps a record; the oldest make room.
    pub(super) fn push(&mut self, record: Arc<DecisionRecord>, bytes: usize) {
        self.records.push_back((record, bytes));
        self.bytes += bytes;
        while self.records.len() > self.most_records || self.bytes > self.most_bytes {
            let Some((_, bytes)) = self.records.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    /// The last one with this id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<DecisionRecord>> {
        self.records.iter().rev().find(|(record, _)| record.id == id).map(|(record, _)| Arc::clone(record))
    }

    /// The last ones, newest first.
    pub(super) fn latest(&self, most: usize) -> Vec<Arc<DecisionRecord>> {
        self.records.iter().rev().take(most).map(|(record, _)| Arc::clone(record)).collect()
    }
}
