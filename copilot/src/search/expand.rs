//! Other forms of a query's words: stems, completions, corrections, acronyms, synonyms, words of the first results.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use super::{
    Query, Tuning,
    budget::Budget,
    correct,
    query::{Wanted, is_function_word},
    rank::{Concept, Scored},
};
use crate::index::{
    reader::{LoadedIndex, OpenFault},
    schema::Searched,
    tokenizer,
};

/// Shortest beginning that is completed.
const SHORTEST_COMPLETED: usize = 3;
/// Most words that a beginning is completed to.
const MOST_COMPLETIONS: usize = 32;
/// Most terms of one dictionary that a beginning is compared with.
const MOST_COMPARED: u64 = 10_000;

/// Words of the first results that are weighed for feedback.
const MOST_CANDIDATES: usize = 60;

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

/// Completes or corrects a word that no document of `indexes` holds. `last` words may be completed, others are corrected
/// when the caller says so.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn rescue(
    indexes: &[Arc<LoadedIndex>],
    wanted: &Wanted,
    last: bool,
    correct: bool,
    tuning: &Tuning,
    budget: &mut Budget,
) -> Result<Option<Rescue>, OpenFault> {
    if wanted.identifier || wanted.text.chars().any(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    if last && tuning.prefixes && wanted.text.chars().count() >= SHORTEST_COMPLETED {
        let words = completions(indexes, &wanted.text, budget)?;
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
    if correct && let Some(best) = correct::nearest(indexes, &wanted.text, budget)? {
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
fn completions(indexes: &[Arc<LoadedIndex>], prefix: &str, budget: &mut Budget) -> io::Result<Vec<(String, u32)>> {
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    for index in indexes {
        for field in [Searched::Body, Searched::Code] {
            let (mut steps, most) = (0, budget.steps().min(MOST_COMPARED));
            if most == 0 {
                budget.truncate();
                continue;
            }
            index.terms(field, prefix, |term, count| {
                *words.entry(term.to_owned()).or_default() += count;
                steps += 1;
                steps < most
            })?;
            budget.walked(steps, true);
        }
    }
    let mut words: Vec<(String, u32)> = words.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    words.truncate(MOST_COMPLETIONS);
    Ok(words)
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
    budget: &mut Budget,
) -> Result<Vec<Concept>, OpenFault> {
    let first = &first[..first.len().min(tuning.feedback_sections)];
    let mass: f32 = first.iter().map(|scored| scored.score).sum();
    let mut gains: HashMap<String, f32> = HashMap::new();
    for scored in first {
        let chunk = indexes[scored.index].chunk(scored.doc)?;
        let words = tokenizer::tokenize(&chunk.body()).words;
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
    // The dictionary is asked for the most promising words only.
    let mut gains: Vec<(String, f32)> = gains.into_iter().collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    gains.truncate(MOST_CANDIDATES);
    let mut ranked: Vec<(f32, String)> = Vec::new();
    for (word, gain) in gains {
        let mut count = 0;
        for index in indexes {
            if budget.look_up() {
                count += index.doc_freq(Searched::Body, &word)?;
            }
        }
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
