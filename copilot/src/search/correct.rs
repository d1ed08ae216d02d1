//! The word of the documents that a misspelt one stands for.

use std::{cmp::Reverse, sync::Arc};

use super::{budget::Budget, query::QueryWord};
use crate::index::{
    reader::{LoadedIndex, Neighbours, OpenFault},
    schema::Searched,
};

/// Shortest word that is corrected: shorter ones are one letter away from too many others.
const SHORTEST: usize = 5;
/// Longest: an automaton for a longer one takes more memory than it is worth.
const LONGEST: usize = 32;
/// Words of this length may be two edits away.
const TWO_EDITS: usize = 9;

/// Whether a word is of the kind that is corrected.
#[must_use]
pub fn is_correctable(word: &QueryWord) -> bool {
    !word.identifier
        && (SHORTEST..=LONGEST).contains(&word.text.chars().count())
        && !word.text.chars().any(|c| c.is_ascii_digit())
}

/// The word of the dictionaries that is fewest edits away, the most frequent of equals.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn nearest(indexes: &[Arc<LoadedIndex>], word: &str, budget: &mut Budget) -> Result<Option<String>, OpenFault> {
    let letters: Vec<char> = word.chars().collect();
    let allowed = if letters.len() >= TWO_EDITS { 2 } else { 1 };
    let mut best: Option<(usize, Reverse<u32>, String)> = None;
    for index in indexes {
        let walk =
            index.similar(Searched::Body, Neighbours { word, edits: allowed }, budget.steps(), |term, count| {
                let other: Vec<char> = term.chars().collect();
                if let Some(distance) = distance(&letters, &other, usize::from(allowed)) {
                    let candidate = (distance, Reverse(count), term.to_owned());
                    if best.as_ref().is_none_or(|best| candidate < *best) {
                        best = Some(candidate);
                    }
                }
            })?;
        budget.walked(walk.steps, walk.whole);
    }
    Ok(best.map(|(_, _, word)| word))
}

/// Edits between two words (insertion, deletion, replacement, exchange of neighbours), up to `allowed`.
fn distance(a: &[char], b: &[char], allowed: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row.iter().min().is_none_or(|least| *least > allowed) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{
        budget::Work,
        tests::{chunk, index},
    };

    #[test]
    fn edits_are_counted_up_to_a_bound() {
        let edits = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), 2);
        assert_eq!(edits("kubernetes", "kubernetes"), Some(0));
        assert_eq!(edits("kuberentes", "kubernetes"), Some(1));
        assert_eq!(edits("kubrnetes", "kubernetes"), Some(1));
        assert_eq!(edits("kubernets", "kubernetes"), Some(1));
        assert_eq!(edits("cluster", "custom"), None);
    }

    /// What the automaton finds is what comparing with every word finds.
    #[test]
    fn the_automaton_misses_no_word() {
        let words = [
            "kubernetes",
            "kubernets",
            "kuberentes",
            "deployment",
            "deployments",
            "employment",
            "größe",
            "grösse",
            "größen",
            "日本語学習者",
            "日本語学者",
            "autoscaler",
            "autoscalers",
            "scaling",
            "scalding",
            "configmap",
            "configmaps",
        ];
        let index = [index("public", &[chunk("https://d/", "D", &words.join(" "))])];
        for word in words.iter().flat_map(|word| misspelt(word)) {
            let letters: Vec<char> = word.chars().collect();
            let allowed = if letters.len() >= TWO_EDITS { 2 } else { 1 };
            let mut compared: Vec<(usize, Reverse<u32>, String)> = Vec::new();
            let whole = index[0].terms(Searched::Body, "", |term, count| {
                let other: Vec<char> = term.chars().collect();
                compared
                    .extend(distance(&letters, &other, allowed).map(|edits| (edits, Reverse(count), term.to_owned())));
                true
            });
            whole.unwrap();
            let expected = compared.into_iter().min().map(|(_, _, word)| word);
            assert_eq!(nearest(&index, &word, &mut Budget::default()).unwrap(), expected, "{word}");
        }
    }

    /// Each letter left out, doubled, replaced, and exchanged with the next one.
    fn misspelt(word: &str) -> Vec<String> {
        let letters: Vec<char> = word.chars().collect();
        let mut all = Vec::new();
        for at in 0..letters.len() {
            let mut changed = letters.clone();
            changed.remove(at);
            all.push(changed.iter().collect());
            changed = letters.clone();
            changed.insert(at, letters[at]);
            all.push(changed.iter().collect());
            changed[at] = 'x';
            all.push(changed.iter().collect());
            changed = letters.clone();
            changed.swap(at, (at + 1) % letters.len());
            all.push(changed.iter().collect());
        }
        all
    }

    #[test]
    fn a_walk_through_the_dictionary_ends_with_its_budget() {
        let text: String = (0..5000).map(|n| format!("{}word ", letters_of(n))).collect();
        let index = [index("public", &[chunk("https://d/", "D", &text)])];
        let mut budget = Budget::of(Work { postings: 0, terms: 80 });
        nearest(&index, "abcdeword", &mut budget).unwrap();
        assert_eq!((budget.done().terms, budget.is_truncated()), (70, true));
        let mut enough = Budget::default();
        nearest(&index, "abcdeword", &mut enough).unwrap();
        assert!(enough.done().terms > 70 && !enough.is_truncated(), "{enough:?}");
    }

    fn letters_of(n: u32) -> String {
        (0..4).map(|at| char::from(b'a' + u8::try_from(n / 9_u32.pow(at) % 9).unwrap())).collect()
    }
}
