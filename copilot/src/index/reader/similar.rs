//! Words of a dictionary that are few edits away from another one.

use std::cell::Cell;

use tantivy::query::{DfaWrapper, FuzzyTermQuery};
use tantivy_fst::Automaton;

use super::{LoadedIndex, OpenFault};
use crate::index::schema::Searched;

/// The words that are few edits away from another one.
#[derive(Debug, Clone, Copy)]
pub struct Neighbours<'a> {
    /// That one.
    pub word: &'a str,
    /// Most insertions, deletions, replacements and exchanges of neighbouring letters; 2 at most.
    pub edits: u8,
}

/// A walk through a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Bytes of terms that were compared.
    pub steps: u64,
    /// False when there were more to compare than were allowed.
    pub whole: bool,
}

impl LoadedIndex {
    /// Calls `see` with the terms of a field that are such neighbours, with their document counts, until `most` steps were
    /// taken.
    ///
    /// A Levenshtein automaton walks through the dictionary together with the word, so that beginnings which cannot
    /// match are left at once.
    ///
    /// # Errors
    /// When the dictionary cannot be read.
    pub fn similar(
        &self,
        field: Searched,
        neighbours: Neighbours<'_>,
        most: u64,
        mut see: impl FnMut(&str, u32),
    ) -> Result<Walk, OpenFault> {
        let Neighbours { word, edits } = neighbours;
        let automaton = FuzzyTermQuery::new(self.term(field, word), edits, true).automaton()?;
        let (left, whole) = (Cell::new(most), Cell::new(true));
        let counting = Counting { automaton, left: &left, whole: &whole };
        let mut stream = self.inverted[field as usize].terms().search(counting).into_stream()?;
        while stream.advance() {
            if let Ok(term) = std::str::from_utf8(stream.key()) {
                see(term, stream.value().doc_freq);
            }
        }
        Ok(Walk { steps: most - left.get(), whole: whole.get() })
    }
}

/// An automaton that counts its steps and matches nothing more when there are none left.
struct Counting<'a> {
    automaton: DfaWrapper,
    left: &'a Cell<u64>,
    whole: &'a Cell<bool>,
}

impl Automaton for Counting<'_> {
    /// `None` after the last step.
    type State = Option<u32>;

    fn start(&self) -> Self::State {
        Some(self.automaton.start())
    }

    fn is_match(&self, state: &Self::State) -> bool {
        state.as_ref().is_some_and(|state| self.automaton.is_match(state))
    }

    fn can_match(&self, state: &Self::State) -> bool {
        self.whole.get() && state.as_ref().is_some_and(|state| self.automaton.can_match(state))
    }

    fn accept(&self, state: &Self::State, byte: u8) -> Self::State {
        let Some(left) = self.left.get().checked_sub(1) else {
            self.whole.set(false);
            return None;
        };
        self.left.set(left);
        state.as_ref().map(|state| self.automaton.accept(state, byte))
    }
}
