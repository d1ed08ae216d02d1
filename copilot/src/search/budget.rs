//! How much work one query may make. It is counted, not timed: the same query gives the same result on every machine.

use std::sync::Arc;

use super::Query;
use crate::index::reader::LoadedIndex;

/// Work, done or allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Entries of posting lists (a word in a section's field) that are read or passed.
    pub postings: u64,
    /// Terms of dictionaries that are looked up, and steps through dictionaries in search of similar ones.
    pub terms: u64,
}

/// Most work of one query. An ordinary one over a hundred thousand sections makes a tenth of it.
pub const MOST: Work = Work { postings: 2_000_000, terms: 400_000 };
/// Most words of one query that are corrected.
pub const MOST_CORRECTED: usize = 3;
/// This part of the work is kept for what comes after the wholesale reading: looking up what was found in the
/// dictionaries, and the word order of the best sections.
const KEPT: u64 = 8;

/// The work that a query may still make, passed down to whatever makes it.
#[derive(Debug, Clone)]
pub struct Budget {
    most: Work,
    done: Work,
    truncated: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Budget {
    /// A budget of `most`.
    #[must_use]
    pub fn of(most: Work) -> Self {
        Self { most, done: Work::default(), truncated: false }
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Work {
        self.done
    }

    /// Whether something that was asked for was left out.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Notes that something was left out for another reason.
    pub fn truncate(&mut self) {
        self.truncated = true;
    }

    /// How many of the `wanted` postings of one term may be read: all; or, when they are too many, none, since a part
    /// would favour the documents that come first. Only the first term of a query is then read in part.
    pub fn postings(&mut self, wanted: u64) -> u64 {
        let left = (self.most.postings - self.most.postings / KEPT).saturating_sub(self.done.postings);
        let granted = if wanted <= left {
            wanted
        } else {
            self.truncated = true;
            if self.done.postings == 0 { left } else { 0 }
        };
        self.done.postings += granted;
        granted
    }

    /// Whether a few more postings may be visited for the order of what was found.
    pub fn visit(&mut self, postings: u64) -> bool {
        let fits = self.done.postings.saturating_add(postings) <= self.most.postings;
        if fits {
            self.done.postings += postings;
        } else {
            self.truncated = true;
        }
        fits
    }

    /// Whether one more term may be looked up.
    pub fn look_up(&mut self) -> bool {
        let fits = self.done.terms < self.most.terms;
        if fits {
            self.done.terms += 1;
        } else {
            self.truncated = true;
        }
        fits
    }

    /// Steps that may still be taken through dictionaries.
    #[must_use]
    pub fn steps(&self) -> u64 {
        (self.most.terms - self.most.terms / KEPT).saturating_sub(self.done.terms)
    }

    /// Notes steps that were taken, and whether they led to the end.
    pub fn walked(&mut self, steps: u64, whole: bool) {
        self.done.terms += steps;
        self.truncated |= !whole;
    }
}

/// Bytes for each document, whatever is searched: two scores, its place in three rankings, the scores of its page, its likeness
/// to the question twice, and what that adds.
const FOR_A_DOCUMENT: u64 = 120;
/// Bytes of a posting that is kept, and of one that is being read into a growing list.
const FOR_A_POSTING: (u64, u64) = (8, 16);
/// Fields that one term is looked up in.
const FIELDS: u64 = 5;
/// Synonyms, words for the same thing and words of the first results, at most.
const EXPANSIONS: u64 = 106;
/// What every search takes: sections that are shown, and the thread.
const FOR_A_SEARCH: u64 = 1 << 20;

/// Bytes that a search for `text` takes at most, for deciding whether there is room for it.
#[must_use]
pub fn memory(indexes: &[Arc<LoadedIndex>], text: &str) -> u64 {
    let language = indexes.first().map(|index| index.lexicon.language).unwrap_or_default();
    let terms = Query::parse(text, language).words.len() as u64 + EXPANSIONS;
    let documents = indexes.iter().map(|index| index.len() as u64).sum::<u64>();
    let kept = documents.saturating_mul(terms).min(MOST.postings);
    let read = documents.saturating_mul(FIELDS).min(MOST.postings);
    FOR_A_SEARCH + documents.saturating_mul(FOR_A_DOCUMENT) + kept * FOR_A_POSTING.0 + read * FOR_A_POSTING.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_granted_until_it_is_done() {
        let mut budget = Budget::of(Work { postings: 800, terms: 16 });
        assert_eq!(budget.postings(500), 500);
        assert!(!budget.is_truncated());
        assert_eq!(budget.postings(201), 0, "an eighth is kept for the order");
        assert!(budget.is_truncated());
        assert_eq!(budget.postings(200), 200);
        assert!(budget.visit(100) && !budget.visit(1));
        assert_eq!(budget.steps(), 14);
        budget.walked(14, true);
        assert_eq!(budget.steps(), 0);
        assert!(budget.look_up() && budget.look_up() && !budget.look_up());
        assert_eq!(budget.done(), Work { postings: 800, terms: 16 });
    }

    #[test]
    fn a_query_of_one_word_that_is_everywhere_is_read_in_part() {
        let mut budget = Budget::of(Work { postings: 80, terms: 16 });
        assert_eq!(budget.postings(1000), 70);
        assert!(budget.is_truncated());
    }
}
