//! What readers asked and the documents did not answer, for those who write the documents.
//!
//! Kept in memory alone, within a fixed number of questions: a restart forgets it, and a flood of nonsense pushes out what was asked
//! once, never what is asked again and again. Who asked is not kept.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A search that found nothing.
    Search,
    /// A question that the documents do not carry an answer to.
    Chat,
}

/// Questions that differ in case and spaces only are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    corpus: String,
    kind: Kind,
    text: String,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// As it was asked last, in lower case, at most 200 characters.
    pub question: String,
    /// How it came.
    pub kind: Kind,
    /// The best corpus that was searched.
    pub corpus: String,
    /// How often.
    pub count: u64,
    /// Seconds since 1970.
    pub last_asked: u64,
}

/// Most characters of a question that are kept.
const MAX_CHARS: usize = 200;

/// The questions of this process.
#[derive(Debug)]
pub struct Unanswered {
    most: usize,
    asked: Mutex<HashMap<Key, (u64, u64)>>,
}

impl Unanswered {
    /// Room for `most` questions; 0 keeps none.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, asked: Mutex::default() }
    }

    /// Counts a question, at `now` in seconds since 1970.
    pub fn note(&self, corpus: &str, kind: Kind, text: &str, now: u64) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        if self.most == 0 || text.is_empty() {
            return;
        }
        let key = Key { corpus: corpus.to_owned(), kind, text };
        let mut asked = self.asked.lock();
        if asked.len() >= self.most && !asked.contains_key(&key) {
            // The one that was asked least, and among those the one that was asked longest ago.
            let Some(rarest) = asked.iter().min_by_key(|(_, times)| **times).map(|(key, _)| key.clone()) else {
                return;
            };
            asked.remove(&rarest);
        }
        let times = asked.entry(key).or_insert((0, now));
        *times = (times.0 + 1, now.max(times.1));
    }

    /// All questions, those asked most first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let asked = self.asked.lock();
        let row = |(key, (count, last_asked)): (&Key, &(u64, u64))| Row {
            question: key.text.clone(),
            kind: key.kind,
            corpus: key.corpus.clone(),
            count: *count,
            last_asked: *last_asked,
        };
        sorted(asked.iter().map(row).collect())
    }
}

/// Those of several replicas as one list.
#[must_use]
pub fn merged(lists: impl IntoIterator<Item = Vec<Row>>) -> Vec<Row> {
    let mut all: HashMap<(String, Kind, String), Row> = HashMap::new();
    for row in lists.into_iter().flatten() {
        let key = (row.corpus.clone(), row.kind, row.question.clone());
        match all.get_mut(&key) {
            Some(known) => {
                known.count += row.count;
                known.last_asked = known.last_asked.max(row.last_asked);
            }
            None => drop(all.insert(key, row)),
        }
    }
    sorted(all.into_values().collect())
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|one, other| {
        (other.count, other.last_asked, &one.question).cmp(&(one.count, one.last_asked, &other.question))
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(kept: &Unanswered) -> Vec<(String, u64)> {
        kept.rows().into_iter().map(|row| (row.question, row.count)).collect()
    }

    #[test]
    fn what_is_asked_again_is_one_question_and_the_most_asked_comes_first() {
        let kept = Unanswered::new(10);
        for text in ["How do I  fly?", "how do i fly?", "once"] {
            kept.note("public", Kind::Chat, text, 5);
        }
        kept.note("public", Kind::Chat, " \u{7} ", 5);
        assert_eq!(questions(&kept), [("how do i fly?".to_owned(), 2), ("once".to_owned(), 1)]);
    }

    #[test]
    fn a_flood_of_nonsense_neither_grows_it_nor_pushes_out_what_is_asked_again() {
        let kept = Unanswered::new(50);
        kept.note("public", Kind::Search, "teleport", 1);
        kept.note("public", Kind::Search, "teleport", 2);
        for number in 0..10_000 {
            kept.note("public", Kind::Search, &format!("{number} {}", "x".repeat(1000)), 3 + number);
        }
        let rows = kept.rows();
        assert_eq!((rows.len(), rows[0].question.as_str()), (50, "teleport"));
        assert!(rows.iter().all(|row| row.question.chars().count() <= MAX_CHARS));
        Unanswered::new(0).note("public", Kind::Search, "nothing is kept", 1);
    }

    #[test]
    fn replicas_are_added_up() {
        let row = |count, last_asked| Row {
            question: "fly".into(),
            kind: Kind::Search,
            corpus: "public".into(),
            count,
            last_asked,
        };
        assert_eq!(merged([vec![row(2, 9)], vec![row(3, 7)]]), [row(5, 9)]);
    }
}
