//! Other forms of a query's words: stems, completions, corrections, acronyms, synonyms, words of the first results.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use super::{
    Query, Tuning,
    query::{Wanted, is_function_word},
    rank::{Concept, Scored},
};
use crate::index::{
    reader::{LoadedIndex, OpenFault},
    schema::Searched,
    tokenizer,
};

/// Shortest word that is corrected: shorter ones are one letter away from too many others.
const SHORTEST_CORRECTED: usize = 5;
/// Shortest beginning that is completed.
const SHORTEST_COMPLETED: usize = 3;
/// Most words that a beginning is completed to.
const MOST_COMPLETIONS: usize = 32;
/// Most terms of the dictionary that are looked at for one word.
const MOST_TERMS: usize = 400_000;

/// Groups of words that mean the same, from a file of the operator's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synonyms {
    groups: Vec<Vec<String>>,
}

impl Synonyms {
    /// Reads one group a line, words separated by commas; blank lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// The line, counted from 1, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut groups = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let group: Vec<String> = line
                .split(',')
                .map(|words| {
                    let words = tokenizer::tokenize(words).words;
                    words.into_iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
                })
                .collect();
            if group.len() < 2 || group.iter().any(String::is_empty) {
                return Err(format!("line {number}: expected at least two words or phrases separated by commas"));
            }
            groups.push(group);
        }
        Ok(Self { groups })
    }
}

/// The lookups of a word as it is.
#[must_use]
pub fn concept(wanted: &Wanted, weight: f32, tuning: &Tuning) -> Concept {
    let text = || wanted.text.clone();
    let stem = || if tuning.stemming { wanted.stem.clone() } else { wanted.text.clone() };
    let lookups = if wanted.identifier {
        vec![(Searched::Identifier, text(), 1.0)]
    } else if tuning.stemming {
        vec![
            (Searched::BodyStem, stem(), 1.0),
            (Searched::Body, text(), 1.0),
            (Searched::Title, stem(), 1.0),
            (Searched::Path, stem(), 1.0),
            (Searched::Code, text(), 1.0),
        ]
    } else {
        // Headings are indexed stemmed only: a word that is its own stem is found in them.
        vec![
            (Searched::Body, text(), 1.0),
            (Searched::Title, text(), 1.0),
            (Searched::Path, text(), 1.0),
            (Searched::Code, text(), 1.0),
        ]
    };
    Concept { lookups, wanted: wanted.clone(), weight, learned: false }
}

/// What is searched in place of a word that no document holds.
#[derive(Debug, Clone)]
pub struct Rescue {
    /// The best replacement.
    pub wanted: Wanted,
    /// Its weight.
    pub weight: f32,
    /// Further completions.
    pub further: Vec<(Searched, String, f32)>,
}

/// Completes or corrects a word that no document of `indexes` holds.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn rescue(
    indexes: &[Arc<LoadedIndex>],
    wanted: &Wanted,
    last: bool,
    tuning: &Tuning,
) -> io::Result<Option<Rescue>> {
    if wanted.identifier || wanted.text.chars().any(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    if last && tuning.prefixes && wanted.text.chars().count() >= SHORTEST_COMPLETED {
        let words = completions(indexes, &wanted.text)?;
        if let Some((best, _)) = words.first() {
            let further = words[1..]
                .iter()
                .flat_map(|(word, _)| [(Searched::Body, word.clone(), 1.0), (Searched::Code, word.clone(), 1.0)]);
            return Ok(Some(Rescue {
                wanted: replaced(indexes, wanted, best),
                weight: 1.0,
                further: further.collect(),
            }));
        }
    }
    if tuning.typos
        && wanted.text.chars().count() >= SHORTEST_CORRECTED
        && let Some(best) = nearest(indexes, &wanted.text)?
    {
        return Ok(Some(Rescue { wanted: replaced(indexes, wanted, &best), weight: 0.8, further: Vec::new() }));
    }
    Ok(None)
}

fn replaced(indexes: &[Arc<LoadedIndex>], wanted: &Wanted, text: &str) -> Wanted {
    let stemmer = indexes.first().and_then(|index| index.lexicon.language.stemmer());
    let stem = stemmer.map_or_else(|| text.to_owned(), |stemmer| stemmer.stem(text).into_owned());
    Wanted { text: text.to_owned(), stem, ..wanted.clone() }
}

/// Words that begin with `prefix`, the most frequent first.
fn completions(indexes: &[Arc<LoadedIndex>], prefix: &str) -> io::Result<Vec<(String, u32)>> {
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    for index in indexes {
        for field in [Searched::Body, Searched::Code] {
            let mut budget = 10_000;
            index.terms(field, prefix, |term, count| {
                *words.entry(term.to_owned()).or_default() += count;
                budget -= 1;
                budget > 0
            })?;
        }
    }
    let mut words: Vec<(String, u32)> = words.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    words.truncate(MOST_COMPLETIONS);
    Ok(words)
}

/// The word of the dictionaries that is fewest edits away, the most frequent of equals.
fn nearest(indexes: &[Arc<LoadedIndex>], word: &str) -> io::Result<Option<String>> {
    let letters: Vec<char> = word.chars().collect();
    let allowed = if letters.len() >= 9 { 2 } else { 1 };
    let mut best: Option<(usize, std::cmp::Reverse<u32>, String)> = None;
    for index in indexes {
        let mut budget = MOST_TERMS;
        index.terms(Searched::Body, "", |term, count| {
            budget -= 1;
            if term.len().abs_diff(word.len()) <= allowed * 2 {
                let other: Vec<char> = term.chars().collect();
                if let Some(distance) = distance(&letters, &other, allowed) {
                    let candidate = (distance, std::cmp::Reverse(count), term.to_owned());
                    if best.as_ref().is_none_or(|best| candidate < *best) {
                        best = Some(candidate);
                    }
                }
            }
            budget > 0
        })?;
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

/// Concepts for acronyms, long forms and the operator's synonyms that the query's words stand for.
#[must_use]
pub fn synonyms(indexes: &[Arc<LoadedIndex>], query: &Query, synonyms: &Synonyms, tuning: &Tuning) -> Vec<Concept> {
    if tuning.synonyms <= 0.0 {
        return Vec::new();
    }
    let words: Vec<&str> =
        query.wanted.iter().filter(|wanted| !wanted.identifier).map(|wanted| wanted.text.as_str()).collect();
    let holds = |phrase: &[&str]| !phrase.is_empty() && words.windows(phrase.len()).any(|window| window == phrase);
    let mut further: Vec<String> = Vec::new();
    for index in indexes {
        for (acronym, long) in &index.lexicon.acronyms {
            let long: Vec<&str> = long.iter().map(String::as_str).collect();
            if words.contains(&acronym.as_str()) {
                further.extend(long.iter().map(|word| (*word).to_owned()));
            } else if holds(&long) {
                further.push(acronym.clone());
            }
        }
    }
    for group in &synonyms.groups {
        let phrases: Vec<Vec<&str>> = group.iter().map(|words| words.split(' ').collect()).collect();
        if phrases.iter().any(|phrase| holds(phrase)) {
            further.extend(phrases.iter().filter(|phrase| !holds(phrase)).flatten().map(|word| (*word).to_owned()));
        }
    }
    further.sort();
    further.dedup();
    further
        .into_iter()
        .filter(|word| !words.contains(&word.as_str()) && !is_function_word(word))
        .take(32)
        .map(|word| Concept { learned: true, ..concept(&plain(indexes, &word), tuning.synonyms, tuning) })
        .collect()
}

fn plain(indexes: &[Arc<LoadedIndex>], text: &str) -> Wanted {
    let wanted =
        Wanted { text: String::new(), stem: String::new(), identifier: false, function_word: false, position: 0 };
    replaced(indexes, &wanted, text)
}

/// Words that the first results share and the query lacks (pseudo-relevance feedback).
///
/// # Errors
/// When the store cannot be read.
pub fn feedback(
    indexes: &[Arc<LoadedIndex>],
    first: &[Scored],
    query: &Query,
    tuning: &Tuning,
) -> Result<Vec<Concept>, OpenFault> {
    let first = &first[..first.len().min(tuning.feedback_sections)];
    let mass: f32 = first.iter().map(|scored| scored.score).sum();
    let mut gains: HashMap<String, f32> = HashMap::new();
    let mut counts: HashMap<String, u32> = HashMap::new();
    for scored in first {
        let chunk = indexes[scored.index].chunk(scored.doc)?;
        let words = tokenizer::tokenize(&chunk.body).words;
        #[expect(clippy::cast_precision_loss, reason = "counts of words in a section are small")]
        let share = scored.score / mass / (words.len().max(20) as f32);
        for word in words {
            if word.text.len() > 2 && !is_function_word(&word.text) {
                *gains.entry(word.text).or_default() += share;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
    let documents = indexes.iter().map(|index| index.len()).sum::<usize>() as f32;
    let mut ranked: Vec<(f32, String)> = Vec::new();
    for (word, gain) in gains {
        let mut count = 0;
        for index in indexes {
            count += index.doc_freq(Searched::Body, &word)?;
        }
        counts.insert(word.clone(), count);
        #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
        let idf = (1.0 + (documents - count as f32 + 0.5).max(0.0) / (count as f32 + 0.5)).ln();
        // A word of a single section cannot bring another one.
        if count > 1 && !query.wanted.iter().any(|wanted| wanted.text == word) {
            ranked.push((gain * idf, word));
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    ranked.truncate(tuning.feedback_words);
    let best = ranked.first().map_or(1.0, |(gain, _)| *gain);
    let learned = ranked.iter().map(|(gain, word)| Concept {
        learned: true,
        ..concept(&plain(indexes, word), tuning.feedback * gain / best, tuning)
    });
    Ok(learned.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_up_to_a_bound() {
        let edits = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), 2);
        assert_eq!(edits("kubernetes", "kubernetes"), Some(0));
        assert_eq!(edits("kuberentes", "kubernetes"), Some(1));
        assert_eq!(edits("kubrnetes", "kubernetes"), Some(1));
        assert_eq!(edits("kubernets", "kubernetes"), Some(1));
        assert_eq!(edits("cluster", "custom"), None);
    }

    #[test]
    fn synonyms_are_read_with_their_lines() {
        assert!(
            Synonyms::parse("# ours\n\nk8s, kubernetes\nlog in, sign in\n").is_ok_and(|read| read.groups.len() == 2)
        );
        assert_eq!(
            Synonyms::parse("a, b\nalone\n").unwrap_err(),
            "line 2: expected at least two words or phrases separated by commas"
        );
    }
}
