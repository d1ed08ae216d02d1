//! Prose → sentences, as the author wrote them: the boundaries are those of Unicode (UAX #29), which know no abbreviations.

use icu_segmenter::{SentenceSegmenter, options::SentenceBreakInvariantOptions};

/// Endings of words that a full stop belongs to, in the languages that are stemmed.
const ABBREVIATIONS: &[&str] = &[
    "e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "resp.", "no.", "fig.", "dr.", "mr.", "ms.", "z.b.", "b.", "d.h.",
    "bzw.", "ca.", "evtl.", "ggf.", "inkl.", "nr.", "vgl.", "p.ex.", "ex.", "env.", "p.ej.", "ej.", "ecc.", "p.es.",
    "es.", "bijv.", "bv.", "t.ex.", "bl.a.", "osv.",
];

/// Longest piece that is offered as one sentence, in bytes; longer ones (tables, lists of words) are left out.
const LONGEST: usize = 600;

/// Sentences of `text`. A line break inside a block is a space; an empty line, a list item or a table row ends a
/// sentence.
#[must_use]
pub fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("\n\n") {
        let mut current = String::new();
        for line in block.lines() {
            let bare = line.trim();
            let item = bare.starts_with(['-', '*', '|', '•']) || numbered(bare);
            if item {
                split(&current, &mut found);
                current.clear();
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(bare.trim_start_matches(['-', '*', '•']).trim_start());
        }
        split(&current, &mut found);
    }
    found
}

fn numbered(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&digits) && line[digits..].starts_with(". ")
}

fn split(block: &str, found: &mut Vec<String>) {
    let segmenter = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
    let mut start = 0;
    for end in segmenter.segment_str(block) {
        let sentence = block.get(start..end).unwrap_or_default();
        let abbreviated = end < block.len() && ends_with_abbreviation(sentence.trim_end());
        if !abbreviated && !sentence.is_empty() {
            keep(sentence, found);
            start = end;
        }
    }
}

fn ends_with_abbreviation(text: &str) -> bool {
    let last = text.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default().to_lowercase();
    ABBREVIATIONS.contains(&last.as_str()) || (last.len() <= 3 && last.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

fn keep(text: &str, found: &mut Vec<String>) {
    let text = text.trim();
    if text.len() <= LONGEST && text.chars().any(char::is_alphabetic) {
        found.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_the_author_ends_them() {
        let text = "Use version 1.27.3 or newer, e.g. Bookworm's. It is free!\nIs it? Yes.\n\n- First item\n- Second\n  goes on\n1. Step one. Done";
        assert_eq!(
            sentences(text),
            [
                "Use version 1.27.3 or newer, e.g. Bookworm's.",
                "It is free!",
                "Is it?",
                "Yes.",
                "First item",
                "Second goes on",
                "1. Step one.",
                "Done"
            ]
        );
        assert_eq!(
            sentences("Das gilt z.B. Schlüsseln. Ja! これは文です。次の文です。 See example.org. Über alles."),
            ["Das gilt z.B. Schlüsseln.", "Ja!", "これは文です。", "次の文です。", "See example.org.", "Über alles."]
        );
        assert!(sentences("\n\n . . . \n").is_empty());
        assert!(sentences(&"word ".repeat(500)).is_empty());
    }
}
