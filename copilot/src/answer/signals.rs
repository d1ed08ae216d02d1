//! What an answer leaves open of its question: how many of the question's words the quoted sections hold, whether one that is
//! written like a name is missing, and whether neighbouring words stand together there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::parts::{Composed, Source};
use crate::{
    index::{language::Language, reader::LoadedIndex, tokenizer},
    search::{Intent, Query, SearchResults},
};

/// Words between two that still stand together.
const NEAR: usize = 6;
/// Sections whose text is looked at, in the order of their citations.
const SECTIONS: usize = 4;
/// Text of a section that is looked at, in bytes.
const LOOKED_AT: usize = 8 * 1024;
/// Words of content that make a long question.
const LONG: usize = 12;

/// Each is between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Signals {
    /// Share of the question's words that the quoted sections hold.
    pub words: f32,
    /// Share of neighbouring words of the question that stand near each other in a quoted section, by their information.
    pub pairs: f32,
    /// Information of the most telling word that is written like a name and that no quoted section holds, relative to the
    /// most that a word can have.
    pub missing_name: f32,
    /// Words of content: a long question is seldom covered as a short one is.
    pub length: f32,
    /// Whether the question asks how.
    pub how: f32,
}

/// A word of content of the question.
struct Word {
    stem: String,
    information: f32,
    /// Written like a name: with a capital in the midst of a sentence, or with a digit.
    name: bool,
}

/// Looks at what was put together for a question.
pub(super) fn signals(
    indexes: &[Arc<LoadedIndex>],
    question: &str,
    found: &SearchResults,
    (composed, sources): (&Composed, &[Source]),
) -> Signals {
    let language = indexes.first().map(|index| index.lexicon.language).unwrap_or_default();
    let words = words(most(indexes), question, found, language);
    let vocabulary = Vocabulary::of(&words);
    let cited = composed.sections.iter().filter_map(|at| sources.get(*at)).take(SECTIONS);
    let texts: Vec<Vec<Option<usize>>> = cited.map(|source| vocabulary.read(&text_of(source), language)).collect();
    let held: HashSet<usize> = texts.iter().flatten().flatten().copied().collect();
    let missing = (0..).zip(&words).filter(|(at, word)| word.name && !held.contains(at));
    let missing = missing.map(|(_, word)| word.information).fold(0.0, f32::max);
    let (mut near, mut all) = (0.0_f32, 0.0_f32);
    for (at, pair) in words.windows(2).enumerate() {
        let information = pair.iter().map(|word| word.information).fold(f32::MAX, f32::min);
        all += information;
        if texts.iter().any(|text| stand_near(text, at)) {
            near += information;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a question has few words")]
    let share = |part: usize, of: usize| (part as f32 / of.max(1) as f32).min(1.0);
    Signals {
        words: share(held.len(), words.len()),
        pairs: if all > 0.0 { near / all } else { 1.0 },
        missing_name: (missing / most(indexes)).min(1.0),
        length: share(words.len(), LONG),
        how: f32::from(u8::from(found.intent == Intent::HowTo)),
    }
}

/// The most information that a word can have: that of one which a single section holds.
#[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
fn most(indexes: &[Arc<LoadedIndex>]) -> f32 {
    let documents = indexes.iter().map(|index| index.len()).sum::<usize>().max(2) as f32;
    (1.0 + (documents - 0.5) / 1.5).ln()
}

/// The distinct words of content of a question; of what was corrected, the word that was searched. One that no document holds
/// has the most information.
fn words(most: f32, question: &str, found: &SearchResults, language: Language) -> Vec<Word> {
    let stemmer = language.stemmer();
    let corrected: HashMap<&str, &str> =
        found.corrections.iter().map(|word| (word.from.as_str(), word.to.as_str())).collect();
    let names = names(question);
    let mut words: Vec<Word> = Vec::new();
    for word in Query::parse(question, language).words {
        if word.identifier || word.function_word {
            continue;
        }
        let name = names.contains(&word.text);
        let stem = corrected.get(word.text.as_str()).map_or(word.stem, |to| {
            stemmer.as_ref().map_or_else(|| (*to).to_owned(), |stemmer| stemmer.stem(to).into_owned())
        });
        let known = found.matchers.stems.get(&stem).copied().filter(|information| *information > 0.0);
        if !words.iter().any(|word| word.stem == stem) {
            words.push(Word { stem, information: known.unwrap_or(most), name });
        }
    }
    words
}

/// Words that are written like names: with a capital where no sentence begins, or with a digit.
fn names(question: &str) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut begins = true;
    for word in question.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let inner = bare.chars().skip(1).any(char::is_uppercase);
        let capital = bare.chars().next().is_some_and(char::is_uppercase) && bare != "I";
        if inner || (capital && !begins) || bare.contains(|c: char| c.is_ascii_digit()) {
            names.extend(tokenizer::tokenize(bare).words.into_iter().map(|part| part.text));
        }
        begins = word.ends_with(['.', '?', '!']);
    }
    names
}

/// Headings and text of a section.
fn text_of(source: &Source) -> String {
    let chunk = &source.hit.chunk;
    let mut text = chunk.heading_path.join(" \n ");
    for block in &chunk.blocks {
        for part in [block.tab.as_str(), block.text.as_str()] {
            text.push('\n');
            text.push_str(&part[..part.floor_char_boundary(LOOKED_AT.saturating_sub(text.len()))]);
        }
        if text.len() >= LOOKED_AT {
            break;
        }
    }
    text
}

/// The stems of a question, to read texts with.
struct Vocabulary<'a> {
    places: HashMap<&'a str, usize>,
    /// How they begin: stemming changes endings, and most words of a text need none.
    beginnings: HashSet<char>,
}

impl<'a> Vocabulary<'a> {
    fn of(words: &'a [Word]) -> Self {
        Self {
            places: words.iter().map(|word| word.stem.as_str()).zip(0..).collect(),
            beginnings: words.iter().filter_map(|word| word.stem.chars().next()).collect(),
        }
    }

    /// The words of a text: which of the question's each is, if any.
    fn read(&self, text: &str, language: Language) -> Vec<Option<usize>> {
        let stemmer = language.stemmer();
        let place = |word: &str| {
            if !word.starts_with(|c| self.beginnings.contains(&c)) {
                return None;
            }
            let exact = self.places.get(word);
            let stemmed = || self.places.get(stemmer.as_ref()?.stem(word).as_ref());
            exact.or_else(stemmed).copied()
        };
        tokenizer::tokenize(text).words.iter().map(|word| place(&word.text)).collect()
    }
}

/// Whether the question's word at `left` and the next one stand near each other, in whichever order.
fn stand_near(text: &[Option<usize>], left: usize) -> bool {
    let mut last: Option<(usize, usize)> = None;
    for (at, place) in text.iter().enumerate() {
        let Some(place) = place.filter(|place| *place == left || *place == left + 1) else { continue };
        if last.is_some_and(|(before, other)| other != place && at - before <= NEAR) {
            return true;
        }
        last = Some((at, place));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_how_they_are_written() {
        let names = names("How do I install RKE2 on Alpine? Which iPhone is it");
        for name in ["rke2", "alpine", "iphone"] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        for word in ["how", "i", "install", "which", "is"] {
            assert!(!names.contains(word), "{word}");
        }
    }

    #[test]
    fn words_stand_near_each_other_within_a_window() {
        let far: Vec<Option<usize>> = [Some(0)].into_iter().chain([None; NEAR]).chain([Some(1)]).collect();
        assert!(stand_near(&[Some(1), None, Some(0)], 0));
        assert!(!stand_near(&far, 0));
        assert!(!stand_near(&[Some(0), Some(0), Some(2)], 0));
    }
}
