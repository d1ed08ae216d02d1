//! The passage of a section that shows why it was found.

use super::ranking::Matchers;
use crate::index::{chunk::Chunk, language::Language, tokenizer};

/// Length of a snippet in bytes of source text, roughly two lines of a result list.
const LENGTH: usize = 220;
/// Text of a section that is looked at.
const LOOKED_AT: usize = 32 * 1024;

/// Words of `text` that the query asks for: byte range and information content.
#[must_use]
pub fn marks(text: &str, matchers: &Matchers, language: Language) -> Vec<(std::ops::Range<usize>, f32, String)> {
    let stemmer = language.stemmer();
    let tokens = tokenizer::tokenize(text);
    let mut marks = Vec::new();
    for word in tokens.words {
        let stem = stemmer.as_ref().map_or_else(|| word.text.clone(), |stemmer| stemmer.stem(&word.text).into_owned());
        let found = matchers.stems.get(&stem).or_else(|| matchers.stems.get(&word.text));
        if let Some(information) = found {
            marks.push((word.range, *information, stem));
        }
    }
    for word in tokens.identifiers {
        if let Some(information) = matchers.identifiers.get(&word.text) {
            marks.push((word.range, *information, word.text));
        }
    }
    marks.sort_by(|a, b| a.0.start.cmp(&b.0.start).then(b.0.end.cmp(&a.0.end)));
    marks
}

/// HTML-escaped passage with the found words in `<mark>`.
#[must_use]
pub fn snippet(chunk: &Chunk, matchers: &Matchers, language: Language) -> String {
    let body = chunk.body();
    let source = if body.trim().is_empty() { chunk.code() } else { body };
    let text = cut(&source, LOOKED_AT);
    let marks = marks(text, matchers, language);
    let window = best_window(text, &marks);
    let mut html = String::with_capacity(LENGTH * 2);
    if window.start > 0 {
        html.push('…');
    }
    let mut at = window.start;
    for (range, _, _) in &marks {
        if range.start >= at && range.end <= window.end {
            escape(&text[at..range.start], &mut html);
            html.push_str("<mark>");
            escape(&text[range.clone()], &mut html);
            html.push_str("</mark>");
            at = range.end;
        }
    }
    escape(text[at..window.end].trim_end(), &mut html);
    if window.end < text.len() {
        html.push('…');
    }
    html
}

/// The window with the most distinct information, on word boundaries.
fn best_window(text: &str, marks: &[(std::ops::Range<usize>, f32, String)]) -> std::ops::Range<usize> {
    let mut best = (0.0, 0);
    for (first, (range, _, _)) in marks.iter().enumerate() {
        let mut seen: Vec<&str> = Vec::new();
        let mut value = 0.0;
        for (other, information, stem) in &marks[first..] {
            if other.end > range.start + LENGTH {
                break;
            }
            if !seen.contains(&stem.as_str()) {
                seen.push(stem);
                value += information;
            }
        }
        if value > best.0 {
            best = (value, range.start);
        }
    }
    // Begin at the sentence or line when it is near, else at a word.
    let lead = text[..best.1].rfind(['\n', '.', '!', '?']).map_or(0, |at| at + 1);
    let mut start = if best.1 - lead <= 80 { lead } else { best.1 };
    start += text[start..].len() - text[start..].trim_start().len();
    let mut end = start + cut(&text[start..], LENGTH).len();
    if end < text.len()
        && let Some(space) = text[start..end].rfind(char::is_whitespace)
    {
        end = start + space;
    }
    start..end.max(start)
}

/// At most `bytes` of `text`, ending between characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Appends `text` so that it is text in HTML, within elements and attributes.
pub fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push(' '),
            c => html.push(c),
        }
    }
}
