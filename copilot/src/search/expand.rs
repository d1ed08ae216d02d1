//! Other words than the query's own: completions, corrections, acronyms, synonyms, words of the first results.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use super::{
    budget::Budget,
    correct,
    query::{QueryWord, is_function_word},
    ranking::Scored,
    scope::Scope,
    term::QueryTerm,
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
/// Synonyms of one query that are searched at the most.
const MOST_SYNONYMS: usize = 32;
/// Weight of a word that was corrected.
const CORRECTED: f32 = 0.8;

/// What is searched in place of a word that no document holds.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The best one.
    pub word: QueryWord,
    /// Its weight.
    pub weight: f32,
    /// Further completions.
    pub completions: Vec<(Searched, String, f32)>,
}

/// How a word may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// By words that begin with it.
    pub completion: bool,
    /// By a word that is spelt nearly so.
    pub correction: bool,
}

/// Completes or corrects a word that no document holds.
///
/// # Errors
/// When a dictionary cannot be read.
pub fn replacement(
    scope: &Scope<'_>,
    word: &QueryWord,
    allowed: Allowed,
    budget: &mut Budget,
) -> Result<Option<Replacement>, OpenFault> {
    let indexes = scope.indexes;
    if word.identifier || word.text.chars().any(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    if allowed.completion && scope.tuning().prefixes && word.text.chars().count() >= SHORTEST_COMPLETED {
        let words = completions(indexes, &word.text, budget)?;
        if let [(best, _), further @ ..] = words.as_slice() {
            let lookups =
                |(text, _): &(String, u32)| [(Searched::Body, text.clone(), 1.0), (Searched::Code, text.clone(), 1.0)];
            let completions = further.iter().flat_map(lookups).collect();
            return Ok(Some(Replacement { word: replaced(indexes, word, best), weight: 1.0, completions }));
        }
    }
    if allowed.correction
        && let Some(best) = correct::nearest(indexes, &word.text, budget)?
    {
        let word = replaced(indexes, word, &best);
        return Ok(Some(Replacement { word, weight: CORRECTED, completions: Vec::new() }));
    }
    Ok(None)
}

fn replaced(indexes: &[Arc<LoadedIndex>], word: &QueryWord, text: &str) -> QueryWord {
    let stemmer = indexes.first().and_then(|index| index.lexicon.language.stemmer());
    let stem = stemmer.map_or_else(|| text.to_owned(), |stemmer| stemmer.stem(text).into_owned());
    QueryWord { text: text.to_owned(), stem, ..word.clone() }
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

/// Terms for acronyms, long forms and the operator's synonyms that the query's words stand for.
#[must_use]
pub fn synonyms(scope: &Scope<'_>) -> Vec<QueryTerm> {
    let (indexes, tuning) = (scope.indexes, scope.tuning());
    if tuning.synonyms <= 0.0 {
        return Vec::new();
    }
    let words: Vec<&str> =
        scope.query.words.iter().filter(|word| !word.identifier).map(|word| word.text.as_str()).collect();
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
    for group in &scope.settings.synonyms.groups {
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
        .take(MOST_SYNONYMS)
        .map(|word| QueryTerm::expansion(&plain(indexes, &word), tuning.synonyms, tuning))
        .collect()
}

fn plain(indexes: &[Arc<LoadedIndex>], text: &str) -> QueryWord {
    let word =
        QueryWord { text: String::new(), stem: String::new(), identifier: false, function_word: false, position: 0 };
    replaced(indexes, &word, text)
}

/// Words that the first results share and the query lacks (pseudo-relevance feedback).
///
/// # Errors
/// When the store cannot be read.
pub fn feedback(scope: &Scope<'_>, first: &[Scored], budget: &mut Budget) -> Result<Vec<QueryTerm>, OpenFault> {
    let tuning = scope.tuning();
    let first = &first[..first.len().min(tuning.feedback_sections)];
    let mut gains = shared_words(scope.indexes, first)?;
    // The dictionary is asked for the most promising words only.
    gains.truncate(MOST_CANDIDATES);
    let documents = scope.documents();
    let mut ranked: Vec<(f32, String)> = Vec::new();
    for (word, gain) in gains {
        let mut count = 0;
        for index in scope.indexes {
            if budget.look_up() {
                count += index.doc_freq(Searched::Body, &word)?;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
        let idf = (1.0 + (documents - count as f32 + 0.5).max(0.0) / (count as f32 + 0.5)).ln();
        // A word of a single section cannot bring another one.
        if count > 1 && !scope.query.words.iter().any(|own| own.text == word) {
            ranked.push((gain * idf, word));
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    ranked.truncate(tuning.feedback_words);
    let best = ranked.first().map_or(1.0, |(gain, _)| *gain);
    let term = |(gain, word): &(f32, String)| {
        QueryTerm::expansion(&plain(scope.indexes, word), tuning.feedback * gain / best, tuning)
    };
    Ok(ranked.iter().map(term).collect())
}

/// Words of sections with their share in them, the largest first.
fn shared_words(indexes: &[Arc<LoadedIndex>], sections: &[Scored]) -> Result<Vec<(String, f32)>, OpenFault> {
    let mass: f32 = sections.iter().map(|scored| scored.score).sum();
    let mut gains: HashMap<String, f32> = HashMap::new();
    for scored in sections {
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
    let mut gains: Vec<(String, f32)> = gains.into_iter().collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(gains)
}
