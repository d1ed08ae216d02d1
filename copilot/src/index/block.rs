//! Blocks: the units that a section is made of and that an answer quotes whole.

use serde::{Deserialize, Serialize};

/// What a block is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// A paragraph.
    #[default]
    Text,
    /// The first paragraph of a list's item.
    Item,
    /// Code, kept as it is.
    Code,
    /// A table: a line for each row, cells separated by ` | `.
    Table,
}

/// One block of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Code as it is; anything else as text in which backticks stand around inline code and nowhere else.
    pub text: String,
    /// Language that a code block names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Title of a code block.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Title of the admonition that it stands in ("Note").
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Label of the tab that it stands in ("Bash").
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tab: String,
    /// Lists around it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u8,
    /// Number of the step that it begins, in an ordered list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(depth: &u8) -> bool {
    *depth == 0
}

impl Block {
    /// A paragraph.
    #[must_use]
    pub fn paragraph(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Whether it is code.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.kind == BlockKind::Code
    }

    /// As text without marks.
    #[must_use]
    pub fn plain(&self) -> String {
        if self.is_code() { self.text.clone() } else { self.text.replace('`', "") }
    }

    /// Whether it announces what follows it.
    #[must_use]
    pub fn introduces(&self) -> bool {
        !self.is_code() && self.text.trim_end().ends_with([':', '：', '…'])
    }
}

/// Prose of blocks as plain text, an empty line between them. What a note or tab is called stands before it.
#[must_use]
pub fn prose(blocks: &[Block]) -> String {
    let mut text = String::new();
    let mut around = ("", "");
    for block in blocks {
        // "Note" alone says nothing.
        let note = if block.note.contains(' ') { block.note.as_str() } else { "" };
        for (title, before) in [(note, around.0), (block.tab.as_str(), around.1)] {
            if title != before {
                paragraph(&mut text, title);
            }
        }
        around = (note, &block.tab);
        if !block.is_code() {
            paragraph(&mut text, &block.plain());
        }
    }
    text
}

/// Code of blocks, an empty line between them.
#[must_use]
pub fn code(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks.iter().filter(|block| block.is_code()) {
        paragraph(&mut text, &block.text);
    }
    text
}

fn paragraph(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

/// Collects blocks while a page is read, whatever it is written in.
#[derive(Debug, Default)]
pub(super) struct Builder {
    blocks: Vec<Block>,
    text: String,
    /// Lists that are open: the next number of an ordered one.
    lists: Vec<Option<u32>>,
    /// An item was begun and has no block yet; its number.
    item: Option<Option<u32>>,
    notes: Vec<String>,
    tabs: Vec<String>,
}

impl Builder {
    /// Adds to the block under way. A backtick of the author's own is no mark.
    pub(super) fn push(&mut self, text: &str) {
        if text.contains('`') {
            self.text.push_str(&text.replace('`', "'"));
        } else {
            self.text.push_str(text);
        }
    }

    /// Adds inline code.
    pub(super) fn push_code(&mut self, code: &str) {
        if code.trim().is_empty() || code.contains('`') {
            return self.push(code);
        }
        self.text.push('`');
        self.text.push_str(code);
        self.text.push('`');
    }

    /// Takes the text under way, as it is.
    pub(super) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Puts text back that was taken.
    pub(super) fn restore(&mut self, text: &str) {
        text.clone_into(&mut self.text);
    }

    /// Ends a paragraph.
    pub(super) fn end_text(&mut self) {
        let text = squeeze(&self.take_text());
        if text.is_empty() {
            return;
        }
        let item = self.item.take();
        let kind = if item.is_some() { BlockKind::Item } else { BlockKind::Text };
        self.add(Block { kind, text, number: item.flatten(), ..Block::default() });
    }

    /// Ends a table: its rows are the lines of the text under way.
    pub(super) fn end_table(&mut self) {
        let text = self.take_text();
        let rows: Vec<String> = text.lines().map(squeeze).filter(|row| !row.is_empty()).collect();
        if !rows.is_empty() {
            let number = self.item.take().flatten();
            self.add(Block { kind: BlockKind::Table, text: rows.join("\n"), number, ..Block::default() });
        }
    }

    /// Adds a code block.
    pub(super) fn add_code(&mut self, text: &str, language: &str, title: &str) {
        let text = text.trim_end().trim_start_matches('\n');
        if text.trim().is_empty() {
            return;
        }
        let number = self.item.take().flatten();
        let (language, title) = (language.to_owned(), title.to_owned());
        self.add(Block { kind: BlockKind::Code, text: text.to_owned(), language, title, number, ..Block::default() });
    }

    fn add(&mut self, block: Block) {
        self.blocks.push(Block {
            note: self.notes.last().cloned().unwrap_or_default(),
            tab: self.tabs.iter().filter(|tab| !tab.is_empty()).cloned().collect::<Vec<_>>().join(", "),
            depth: u8::try_from(self.lists.len()).unwrap_or(u8::MAX),
            ..block
        });
    }

    pub(super) fn start_list(&mut self, first: Option<u32>) {
        self.lists.push(first);
    }

    pub(super) fn end_list(&mut self) {
        self.lists.pop();
        self.item = None;
    }

    pub(super) fn start_item(&mut self) {
        let number = self.lists.last_mut().and_then(|next| {
            let number = *next;
            *next = next.map(|next| next.saturating_add(1));
            number
        });
        self.item = Some(number);
    }

    /// Begins an admonition (`Container::Note`) or a tab.
    pub(super) fn open(&mut self, container: Container, title: &str) {
        let title = squeeze(&title.replace(['`', '*'], ""));
        match container {
            Container::Note => self.notes.push(title),
            Container::Tab => self.tabs.push(title),
        }
    }

    /// Ends it; one that was not begun is passed over.
    pub(super) fn close(&mut self, container: Container) {
        match container {
            Container::Note => self.notes.pop(),
            Container::Tab => self.tabs.pop(),
        };
    }

    /// The blocks so far, at the end of a section.
    pub(super) fn take(&mut self) -> Vec<Block> {
        self.end_text();
        std::mem::take(&mut self.blocks)
    }
}

/// What may stand around blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Note,
    Tab,
}

/// Runs of blanks as one.
pub(super) fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A word with a capital.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
