//! Pieces → blocks as plain text, and the answer as Markdown. Text of the documents stays text: what Markdown or HTML
//! would read as a mark is escaped, code stands in fences that it cannot close.

use std::fmt::Write as _;

use super::{
    AnswerBlock, Citation,
    atom::Form,
    parts::{Composed, Part, Source},
};
use crate::index::block::{Block, BlockKind};

/// Puts pieces together; neighbouring text of one section becomes one block.
pub(super) fn render(parts: &[Part<'_>], sources: &[Source]) -> Composed {
    let mut composed = Composed::default();
    let mut numbers: Vec<Option<usize>> = vec![None; sources.len()];
    let mut before: Option<&Part<'_>> = None;
    let mut context: Option<(usize, String)> = None;
    for part in parts {
        let Some(source) = sources.get(part.section) else { continue };
        let chunk = &source.hit.chunk;
        let blocks = chunk.blocks.get(part.atom.blocks.clone()).unwrap_or_default();
        let first = blocks.first();
        let note = first.is_some_and(|block| !block.note.is_empty());
        let tab = first.map(|block| block.tab.clone()).unwrap_or_default();
        let n = *numbers[part.section].get_or_insert_with(|| {
            composed.citations.push(Citation::of(composed.citations.len() + 1, &source.hit, String::new()));
            composed.sections.push(part.section);
            composed.citations.len()
        });
        let (plain, markdown) = forms(part, blocks);
        if let Some(citation) = composed.citations.get_mut(n - 1) {
            append(&mut citation.quote, &plain, " ");
        }
        // "In Bash": what stands in a tab says in which.
        if !tab.is_empty() && context.as_ref() != Some(&(part.section, tab.clone())) {
            end_citation(&mut composed, before);
            append(&mut composed.markdown, &format!("**{}**", escape(&tab)), "\n\n");
            before = None;
        }
        context = Some((part.section, tab.clone()));
        let kind = part.kind(note);
        let continues = before.is_some_and(|before| joins(before, part))
            && composed
                .blocks
                .last()
                .is_some_and(|last| last.kind == kind && last.citation == n && last.context == tab);
        if continues {
            let same_paragraph = before.is_some_and(|before| before.atom.blocks == part.atom.blocks);
            let gap = if same_paragraph { " " } else { "\n" };
            let tight = same_paragraph
                || part.atom.form == Form::Item && before.is_some_and(|b| b.atom.form == Form::Item)
                || part.atom.form == Form::Steps;
            if let Some(last) = composed.blocks.last_mut() {
                append(&mut last.text, &plain, gap);
            }
            append(&mut composed.markdown, &markdown, if tight { gap } else { "\n\n" });
        } else {
            end_citation(&mut composed, before);
            append(&mut composed.markdown, &markdown, "\n\n");
            let language = first.filter(|_| kind == super::Kind::Code).map(|block| block.language.clone());
            composed.blocks.push(AnswerBlock {
                kind,
                text: plain,
                language: language.filter(|language| !language.is_empty()),
                context: tab,
                citation: n,
            });
        }
        if part.lines.is_some() {
            let _ = write!(composed.markdown, "\n\n[…](<{}>)", chunk.url.replace(['<', '>', '\n'], ""));
        }
        before = Some(part);
    }
    end_citation(&mut composed, before);
    composed
}

/// Text that has ended gets the number of what it quotes; anything else gets it where the block before has another.
fn end_citation(composed: &mut Composed, before: Option<&Part<'_>>) {
    let (Some(before), [.., last]) = (before, composed.blocks.as_slice()) else { return };
    let quoted_before = composed.blocks.len().checked_sub(2).and_then(|at| composed.blocks.get(at));
    if matches!(before.atom.form, Form::Text | Form::Item) {
        let _ = write!(composed.markdown, " [{}]", last.citation);
    } else if quoted_before.is_none_or(|block| block.citation != last.citation) {
        let _ = write!(composed.markdown, "\n\n[{}]", last.citation);
    }
}

fn joins(before: &Part<'_>, part: &Part<'_>) -> bool {
    let text = |form| matches!(form, Form::Text | Form::Item);
    before.section == part.section
        && ((text(before.atom.form) && text(part.atom.form))
            || (before.atom.form == Form::Steps && part.atom.form == Form::Steps))
}

fn append(text: &mut String, more: &str, gap: &str) {
    if !text.is_empty() {
        text.push_str(gap);
    }
    text.push_str(more);
}

/// A piece as plain text, and as Markdown.
fn forms(part: &Part<'_>, blocks: &[Block]) -> (String, String) {
    let atom = part.atom;
    match atom.form {
        Form::Text => (plain(&atom.text), escape(&atom.text)),
        Form::Item => (format!("- {}", plain(&atom.text)), format!("- {}", escape(&atom.text))),
        Form::Code => {
            let code: String = match part.lines {
                Some(lines) => atom.text.lines().take(lines).collect::<Vec<_>>().join("\n"),
                None => atom.text.clone(),
            };
            let language = blocks.first().map_or("", |block| block.language.as_str());
            let fenced = fence(&code, language, "");
            (code, fenced)
        }
        Form::Table => (plain(&atom.text), table(&atom.text)),
        Form::Steps => steps(blocks),
    }
}

/// Items with their numbers; what belongs to an item stands indented below it.
fn steps(blocks: &[Block]) -> (String, String) {
    let (mut text, mut markdown) = (String::new(), String::new());
    for block in blocks {
        let depth = usize::from(block.depth.saturating_sub(1)).min(6);
        let starts = block.number.is_some() || block.kind == BlockKind::Item;
        let mark = match block.number {
            Some(number) => format!("{number}. "),
            None if block.kind == BlockKind::Item => "- ".to_owned(),
            None => String::new(),
        };
        let outer = " ".repeat(depth * 3);
        let inner = if starts { outer.clone() } else { format!("{outer}   ") };
        let (plain_text, marked) = match block.kind {
            BlockKind::Code => {
                let inside = format!("{outer}   ");
                let indented: Vec<String> = block.text.lines().map(|line| format!("{inside}{line}")).collect();
                let lead = if starts { format!("{inner}{}\n", mark.trim_end()) } else { String::new() };
                (
                    format!("{lead}{}", indented.join("\n")),
                    format!("{lead}{}", fence(&block.text, &block.language, &inside)),
                )
            }
            BlockKind::Table => {
                let rows: Vec<String> = table(&block.text).lines().map(|row| format!("{inner}{row}")).collect();
                (format!("{inner}{mark}{}", plain(&block.text).replace('\n', &format!("\n{inner}"))), rows.join("\n"))
            }
            _ => (format!("{inner}{mark}{}", plain(&block.text)), format!("{inner}{mark}{}", escape(&block.text))),
        };
        append(&mut text, &plain_text, "\n");
        append(&mut markdown, &marked, if starts && block.kind != BlockKind::Code { "\n" } else { "\n\n" });
    }
    (text, markdown)
}

/// Code in a fence that is longer than any in it.
fn fence(code: &str, language: &str, indent: &str) -> String {
    let longest =
        code.lines().map(|line| line.trim_start().chars().take_while(|c| *c == '`').count()).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let language: String =
        language.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '+' | '#' | '.')).collect();
    let lines: Vec<String> = code.lines().map(|line| format!("{indent}{line}")).collect();
    format!("{indent}{fence}{language}\n{}\n{indent}{fence}", lines.join("\n"))
}

fn table(text: &str) -> String {
    let rows: Vec<&str> = text.lines().collect();
    let width = rows.iter().map(|row| row.split(" | ").count()).max().unwrap_or(1);
    let line = |row: &str| {
        let mut cells: Vec<String> = row.split(" | ").map(|cell| escape(cell).replace('|', "\\|")).collect();
        cells.resize(width, String::new());
        format!("| {} |", cells.join(" | "))
    };
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        append(&mut out, &line(row), "\n");
        if at == 0 {
            let _ = write!(out, "\n|{}", " --- |".repeat(width));
        }
    }
    out
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// Text as Markdown that shows just it; between backticks stands code.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            out.push('`');
        }
        if at % 2 == 1 {
            out.push_str(part);
            continue;
        }
        let chars: Vec<char> = part.chars().collect();
        for (place, c) in chars.iter().enumerate() {
            let word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
            let inside = word(place.checked_sub(1)) && word(Some(place + 1));
            let mark = match c {
                '<' | '[' | ']' | '\\' | '~' => true,
                '&' => chars.get(place + 1).is_some_and(|next| next.is_ascii_alphabetic() || *next == '#'),
                '*' => true,
                '_' => !inside,
                '#' | '>' | '+' | '-' | '=' => at == 0 && place == 0,
                _ => false,
            };
            if mark {
                out.push('\\');
            }
            out.push(*c);
        }
    }
    // A stretch of code that a sentence ends in the midst of is closed.
    if text.matches('`').count() % 2 == 1 {
        out.push('`');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_documents_is_shown_and_never_read_as_markup() {
        assert_eq!(
            escape("a <b> *c* snake_case _d_ [1](x) `<e>*`"),
            "a \\<b> \\*c\\* snake_case \\_d\\_ \\[1\\](x) `<e>*`"
        );
        assert_eq!(escape("# no heading"), "\\# no heading");
        assert_eq!(escape("open `code"), "open `code`");
        assert_eq!(fence("a\n```\nb", "sh x<", ""), "````shx\na\n```\nb\n````");
        assert_eq!(table("a | b\n1 | 2 | 3"), "| a | b |  |\n| --- | --- | --- |\n| 1 | 2 | 3 |");
    }

    #[test]
    fn steps_keep_numbers_and_code_below_them() {
        let block =
            |kind, text: &str, depth, number| Block { kind, text: text.into(), depth, number, ..Block::default() };
        let (plain, markdown) = steps(&[
            block(BlockKind::Item, "Run `it`:", 1, Some(1)),
            block(BlockKind::Code, "run it", 1, None),
            block(BlockKind::Item, "Wait.", 1, Some(2)),
            block(BlockKind::Item, "long", 2, None),
        ]);
        assert_eq!(plain, "1. Run it:\n   run it\n2. Wait.\n   - long");
        assert_eq!(markdown, "1. Run `it`:\n\n   ```\n   run it\n   ```\n2. Wait.\n   - long");
    }
}
