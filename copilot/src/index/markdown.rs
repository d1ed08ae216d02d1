//! One Markdown page as MkDocs renders it → its title and sections.
//!
//! Python-Markdown's extensions (front matter, admonitions, tabs, snippets) are taken off line by line first; what is
//! left is CommonMark with tables, and goes through a real parser. Headings inside code fences are no headings, text in
//! HTML is text, and every heading gets the id that the site gives it.

mod preprocess;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::anchor::{Anchors, Slug};

pub use preprocess::FrontMatter;

/// Longest page that is read.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most headings of a page that start a section of their own; the rest belongs to the last one.
const MAX_HEADINGS: usize = 5_000;

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What stands between the `---` lines at its beginning.
    pub front_matter: FrontMatter,
    /// Text of the first heading of level 1, if it has one.
    pub heading: Option<String>,
    /// Sections in order; the first is what stands before any heading.
    pub sections: Vec<Section>,
}

/// What stands under one heading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Level of the heading, 1 to 6; 0 for what stands before any.
    pub level: u8,
    /// Text of the heading.
    pub heading: String,
    /// Id of the heading.
    pub anchor: Option<String>,
    /// Blocks in order.
    pub blocks: Vec<Block>,
}

/// One block of a section, as plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A paragraph, a list item, a table: kept whole.
    Prose(String),
    /// A code block: kept whole.
    Code {
        /// The language that its fence names.
        language: String,
        /// The code.
        text: String,
    },
}

/// Parses a page of a site that makes ids as `slug` says. Never fails, whatever the text is.
pub fn parse(source: &str, slug: Slug) -> Page {
    let (front_matter, text) = preprocess::preprocess(source);
    let mut reader = Reader { anchors: Anchors::new(slug), ..Reader::default() };
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        // A box to tick is not text.
        | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&text, options) {
        reader.see(event);
    }
    reader.finish(front_matter)
}

/// Collects sections from the parser's events. Nothing here recurses, however deep the page nests.
#[derive(Debug, Default)]
struct Reader {
    anchors: Anchors,
    done: Vec<Section>,
    current: Section,
    headings: usize,
    text: String,
    heading_id: Option<String>,
    code: Option<String>,
    in_heading: bool,
    in_table: usize,
    first_h1: Option<String>,
    /// Inside a tag whose text is not for readers: `script` or `style`.
    hidden: bool,
}

impl Reader {
    fn see(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { id, .. }) => {
                self.end_block();
                self.heading_id = id.map(pulldown_cmark::CowStr::into_string);
                self.in_heading = true;
            }
            Event::End(TagEnd::Heading(level)) => self.end_heading(level),
            Event::Start(Tag::CodeBlock(kind)) => {
                self.end_block();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => {
                        info.split([' ', ',', '{']).next().unwrap_or_default().trim_start_matches('.').to_owned()
                    }
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some(language);
            }
            Event::End(TagEnd::CodeBlock) => {
                let language = self.code.take().unwrap_or_default();
                let text = std::mem::take(&mut self.text);
                if !text.trim().is_empty() {
                    self.current.blocks.push(Block::Code { language, text: text.trim_end().to_owned() });
                }
            }
            Event::Start(Tag::Table(_)) => {
                self.end_block();
                self.in_table += 1;
            }
            Event::End(TagEnd::Table) => {
                self.in_table = self.in_table.saturating_sub(1);
                self.end_block();
            }
            Event::End(TagEnd::TableCell) => self.text.push_str(" | "),
            Event::End(TagEnd::TableRow | TagEnd::TableHead) => {
                let trimmed = self.text.trim_end_matches([' ', '|']).len();
                self.text.truncate(trimmed);
                self.text.push('\n');
            }
            Event::Start(Tag::Item)
            | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::List(_) | TagEnd::FootnoteDefinition)
                if self.in_table == 0 =>
            {
                self.end_block();
            }
            Event::Text(text) => self.push(&text),
            Event::Code(text) => self.push(&text),
            Event::SoftBreak | Event::HardBreak => self.push(if self.code.is_some() { "\n" } else { " " }),
            Event::Html(html) => self.push_html(&html),
            Event::InlineHtml(html) => {
                let tag = html.to_ascii_lowercase();
                if tag.starts_with("<br") {
                    self.push(" ");
                }
            }
            Event::End(TagEnd::HtmlBlock) => self.end_block(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A block of HTML: its text counts, its tags do not.
    fn push_html(&mut self, html: &str) {
        let mut rest = html;
        while let Some(open) = rest.find('<') {
            let (text, tail) = rest.split_at(open);
            if !self.hidden {
                self.text.push_str(&unescape(text));
            }
            let Some(close) = tail.find('>') else { return };
            let tag = tail.get(1..close).unwrap_or_default().to_ascii_lowercase();
            if tag.starts_with("script") || tag.starts_with("style") {
                self.hidden = true;
            } else if tag.starts_with("/script") || tag.starts_with("/style") {
                self.hidden = false;
            }
            self.text.push(' ');
            rest = tail.get(close + 1..).unwrap_or_default();
        }
        if !self.hidden {
            self.text.push_str(&unescape(rest));
        }
    }

    fn end_block(&mut self) {
        if self.code.is_some() || self.in_heading {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let text = if text.contains('\n') {
            text.lines().map(squeeze).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        } else {
            squeeze(&text)
        };
        if !text.is_empty() {
            self.current.blocks.push(Block::Prose(text));
        }
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        self.in_heading = false;
        let heading = squeeze(&std::mem::take(&mut self.text));
        let anchor = match self.heading_id.take() {
            Some(id) => Some(self.anchors.explicit(&id)),
            None => self.anchors.of_text(&heading),
        };
        if level == HeadingLevel::H1 && self.first_h1.is_none() && !heading.is_empty() {
            self.first_h1 = Some(heading.clone());
        }
        self.headings += 1;
        if self.headings > MAX_HEADINGS {
            self.current.blocks.push(Block::Prose(heading));
            return;
        }
        let next = Section { level: level as u8, heading, anchor, blocks: Vec::new() };
        self.done.push(std::mem::replace(&mut self.current, next));
    }

    fn finish(mut self, front_matter: FrontMatter) -> Page {
        self.end_block();
        self.done.push(self.current);
        Page { front_matter, heading: self.first_h1, sections: self.done }
    }
}

/// Runs of blanks as one.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The entities that stand in HTML blocks of documentation.
fn unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&nbsp;", " ")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests;
