//! Text → words and identifiers, the same way for documents and for questions.
//!
//! Documents are handed to tantivy already tokenized, so an index does not depend on analyzers that the reader would
//! have to register under the same names; [`VERSION`] says which rules an index was written with.

use std::{borrow::Cow, ops::Range};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Raised with every change of these rules: an index written by other rules is refused.
pub const VERSION: u32 = 1;

/// Longest word or identifier that is indexed, in bytes; longer ones are encoded data, not language.
const MAX_BYTES: usize = 96;

/// A word: letters and digits, or one part of an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Case-folded, without diacritics.
    pub text: String,
    /// Bytes of the source text it was read from.
    pub range: Range<usize>,
    /// Count of words before it. The parts of `camelCase` follow at consecutive positions, the whole is at the first.
    pub position: usize,
}

/// Everything that was found in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Words in order.
    pub words: Vec<Word>,
    /// Identifiers as written (`dry-run`, `foo.bar`, `1.27.3`, `c++`), leading dashes taken off.
    pub identifiers: Vec<Word>,
}

/// Splits `text`. Never fails, whatever the text is.
#[must_use]
pub fn tokenize(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    let mut position = 0;
    let mut start = None;
    for (at, c) in text.char_indices().chain(std::iter::once((text.len(), ' '))) {
        if is_word(c) || is_connector(c) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            run(text, from..at, &mut position, &mut tokens);
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// What may hold the parts of an identifier together.
fn is_connector(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '#' | '+' | '\'' | '’')
}

/// CJK text has no spaces: it is indexed by pairs of characters.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x303F | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x2FA1F)
}

/// One stretch of word characters and connectors.
fn run(text: &str, range: Range<usize>, position: &mut usize, tokens: &mut Tokens) {
    let first = *position;
    let run = &text[range.clone()];
    let mut start = None;
    for (at, c) in run.char_indices().chain(std::iter::once((run.len(), ' '))) {
        if is_word(c) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            let clitic = run[..from].ends_with(['\'', '’']) && from > 0 && at - from <= 2;
            // The `s` of a genitive and the `t` of "don't" say nothing by themselves.
            if !(clitic && run[..from].chars().rev().nth(1).is_some_and(char::is_alphabetic)) {
                word(text, range.start + from..range.start + at, position, tokens);
            }
        }
    }
    identifier(text, range.clone(), first, tokens);
    // `registry/image:1.27` is also findable by its pieces.
    if run.contains(['/', ':', '@']) {
        let mut from = 0;
        for piece in run.split_inclusive(['/', ':', '@']) {
            let at = range.start + from;
            let bare = piece.trim_end_matches(['/', ':', '@']);
            if bare.len() < run.len() {
                identifier(text, at..at + bare.len(), first, tokens);
            }
            from += piece.len();
        }
    }
}

fn word(text: &str, range: Range<usize>, position: &mut usize, tokens: &mut Tokens) {
    let raw = &text[range.clone()];
    if raw.chars().any(is_cjk) {
        return pairs(raw, range.start, position, tokens);
    }
    if raw.len() > MAX_BYTES {
        *position += 1;
        return;
    }
    tokens.words.push(Word { text: fold(raw).into_owned(), range: range.clone(), position: *position });
    let parts = camel_parts(raw);
    if parts.len() > 1 {
        for part in parts {
            let at = range.start + part.start..range.start + part.end;
            tokens.words.push(Word { text: fold(&raw[part]).into_owned(), range: at, position: *position });
            *position += 1;
        }
    } else {
        *position += 1;
    }
}

fn pairs(raw: &str, offset: usize, position: &mut usize, tokens: &mut Tokens) {
    let ends: Vec<(usize, char)> = raw.char_indices().collect();
    let end_of = |index: usize| ends.get(index + 1).map_or(raw.len(), |(at, _)| *at);
    let count = ends.len().saturating_sub(1).max(1);
    for index in 0..count {
        let range = ends[index].0..end_of((index + 1).min(ends.len() - 1));
        let text = fold(&raw[range.clone()]).into_owned();
        tokens.words.push(Word { text, range: offset + range.start..offset + range.end, position: *position });
        *position += 1;
    }
}

fn identifier(text: &str, range: Range<usize>, position: usize, tokens: &mut Tokens) {
    let raw = &text[range.clone()];
    let lead = raw.len() - raw.trim_start_matches(|c: char| !is_word(c)).len();
    let flag = raw[..lead].starts_with('-') && raw.len() > lead;
    let body = &raw[lead..];
    let signed = body.ends_with("++") || (body.ends_with('#') && body.len() > 1);
    let body = if signed { body } else { body.trim_end_matches(|c: char| !is_word(c)) };
    let inner = body.contains(|c| is_connector(c) && !matches!(c, '\'' | '’'));
    if body.is_empty() || body.len() > MAX_BYTES || !(inner || flag) {
        return;
    }
    let at = range.start + lead..range.start + lead + body.len();
    let word = Word { text: fold(body).into_owned(), range: at, position };
    if tokens.identifiers.last() != Some(&word) {
        tokens.identifiers.push(word);
    }
}

/// Parts of `camelCase` and `HTTPServer`; one part when the word has none, or when a part would be a single letter.
fn camel_parts(raw: &str) -> Vec<Range<usize>> {
    let chars: Vec<(usize, char)> = raw.char_indices().collect();
    let mut cuts = vec![0];
    for i in 1..chars.len() {
        let (before, here) = (chars[i - 1].1, chars[i].1);
        let next_is_lower = chars.get(i + 1).is_some_and(|(_, c)| c.is_lowercase());
        if here.is_uppercase()
            && (before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && next_is_lower))
        {
            cuts.push(chars[i].0);
        }
    }
    cuts.push(raw.len());
    let parts: Vec<Range<usize>> = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
    if parts.iter().any(|part| part.len() < 2) { std::iter::once(0..raw.len()).collect() } else { parts }
}

/// Lower case, compatibility forms, no diacritics.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else if text.is_ascii() {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Owned(text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).nfc().collect())
    }
}

#[cfg(test)]
mod tests;
