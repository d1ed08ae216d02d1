//! Prose → sentences, as the author wrote them.

/// Endings of words that a full stop belongs to.
const ABBREVIATIONS: &[&str] =
    &["e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "resp.", "no.", "fig.", "dr.", "mr.", "ms."];

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
    let mut start = 0;
    let bytes = block.as_bytes();
    for (at, c) in block.char_indices() {
        let end = at + c.len_utf8();
        let full_width = matches!(c, '。' | '！' | '？');
        if !(matches!(c, '.' | '!' | '?') || full_width) {
            continue;
        }
        let followed = full_width || bytes.get(end).is_none_or(u8::is_ascii_whitespace);
        let next = block[end..].trim_start().chars().next();
        if followed && !ends_with_abbreviation(&block[start..end]) && !next.is_some_and(char::is_lowercase) {
            keep(&block[start..end], found);
            start = end;
        }
    }
    keep(&block[start..], found);
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
        assert!(sentences("\n\n . . . \n").is_empty());
        assert!(sentences(&"word ".repeat(500)).is_empty());
    }
}
