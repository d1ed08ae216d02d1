//! Everyday words for what documentation calls by another name. Readers ask in their own words; the pages say "terminate" where
//! they say "shut down". The list is of English in general and of no particular product.

use std::{collections::HashMap, sync::LazyLock};

use super::{budget::MOST as MOST_WORK, query::QueryWord, scope::Scope, term::QueryTerm};
use crate::index::{language::Language, schema::Searched};

/// Most words that are searched for one question besides its own.
pub(super) const MOST: usize = 64;

/// Most postings that are read for them: an eighth of what a question may read at all.
pub(super) const MOST_POSTINGS: u64 = MOST_WORK.postings / 8;

/// One group a line. Every word and phrase of a group stands for its single words; a phrase is never searched itself.
const GROUPS: &str = include_str!("thesaurus.txt");

/// A word or phrase, as stems, and the single words that it stands for, as stems with how they are written.
type Entry = (Vec<String>, Vec<(String, String)>);

/// Entries by the first stem of their phrase.
static ENTRIES: LazyLock<HashMap<String, Vec<Entry>>> = LazyLock::new(|| {
    let Some(stemmer) = Language::English.stemmer() else { return HashMap::new() };
    let stem = |word: &str| stemmer.stem(word).into_owned();
    let mut entries: HashMap<String, Vec<Entry>> = HashMap::new();
    for line in GROUPS.lines().filter(|line| !line.starts_with('#')) {
        let phrases: Vec<Vec<&str>> = line.split(',').map(|phrase| phrase.split_whitespace().collect()).collect();
        let single: Vec<(String, String)> = phrases
            .iter()
            .filter_map(|phrase| match phrase.as_slice() {
                [word] => Some((stem(word), (*word).to_owned())),
                _ => None,
            })
            .collect();
        for phrase in phrases {
            let stems: Vec<String> = phrase.iter().map(|word| stem(word)).collect();
            if let Some(first) = stems.first() {
                entries.entry(first.clone()).or_default().push((stems, single.clone()));
            }
        }
    }
    entries
});

/// Terms for what the question's words stand for, each with the place of its word among `own`.
pub(super) fn terms(scope: &Scope<'_>, own: &[(QueryTerm, u64)]) -> Vec<QueryTerm> {
    let (query, tuning) = (scope.query, scope.tuning());
    let english = scope.indexes.iter().all(|index| index.lexicon.language == Language::English);
    let words: Vec<&QueryWord> = query.words.iter().filter(|word| !word.identifier).collect();
    let content = words.iter().filter(|word| !word.function_word).count();
    if tuning.thesaurus <= 0.0 || !english || content < tuning.thesaurus_words || words.len() < query.words.len() {
        return Vec::new();
    }
    let mut found: Vec<QueryTerm> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        for (phrase, single) in ENTRIES.get(&word.stem).into_iter().flatten() {
            let here = words.get(at..at + phrase.len()).unwrap_or_default();
            if here.len() != phrase.len() || !here.iter().zip(phrase).all(|(word, stem)| word.stem == *stem) {
                continue;
            }
            // A phrase counts in the place of its first word that says something.
            let place = here.iter().find_map(|word| own.iter().position(|(term, _)| term.word == **word));
            let Some(place) = place else { continue };
            let known = own.get(place).is_some_and(|(_, postings)| *postings > 0);
            let weight = if known { tuning.thesaurus } else { tuning.thesaurus_unknown };
            for (stem, text) in single {
                let is_own = words.iter().any(|word| word.stem == *stem);
                if is_own || found.len() == MOST || found.iter().any(|term| term.word.stem == *stem) {
                    continue;
                }
                let other = QueryWord { text: text.clone(), stem: stem.clone(), ..(*word).clone() };
                let mut term = QueryTerm::expansion(&other, weight, tuning);
                // How a word that was not typed is written does not matter.
                term.lookups.retain(|(field, ..)| !matches!(field, Searched::Body | Searched::Code));
                found.push(QueryTerm { stands_for: Some(place), ..term });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_several_words_and_no_marks() {
        for line in GROUPS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.split(',').count() > 1, "{line}");
            assert!(line.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || " ,".contains(c)), "{line}");
        }
        assert!(
            ENTRIES["shut"]
                .iter()
                .any(|(phrase, single)| { phrase.len() == 2 && single.iter().any(|(stem, _)| stem == "termin") })
        );
    }
}
