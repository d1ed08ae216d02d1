//! A page as its sections, and how they are collected.

use super::block::{Block, Builder};

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What it says of itself.
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

/// What a page says of itself: between the `---` lines at its beginning, or in the head of its HTML.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrontMatter {
    /// Title, instead of the first heading.
    pub title: Option<String>,
    /// Not to be found: `search: {exclude: true}`, `search: exclude`, `draft: true`.
    pub excluded: bool,
    /// Factor on the score: `search: {boost: 2}`.
    pub boost: Option<f32>,
    /// Everything as it was written, for shortcodes that show a value of it.
    pub(super) values: serde_json::Map<String, serde_json::Value>,
}

impl FrontMatter {
    /// What a page of a built site says of itself.
    pub(super) fn of_built_page(title: Option<String>, excluded: bool) -> Self {
        Self { title, excluded, ..Self::default() }
    }

    /// A value as text.
    pub(in crate::index) fn value(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// Most headings of a page that start a section of their own; the rest belongs to the last one.
pub(super) const MAX_HEADINGS: usize = 5_000;

/// The sections of a page while it is read, whatever it is written in.
#[derive(Debug, Default)]
pub(super) struct Outline {
    done: Vec<Section>,
    current: Section,
    headings: usize,
    first_h1: Option<String>,
}

impl Outline {
    /// Ends the section under way, which gets the blocks so far, and begins that of a heading. Past the bound a heading is text.
    pub(super) fn begin(&mut self, next: Section, builder: &mut Builder) {
        if next.level == 1 && self.first_h1.is_none() && !next.heading.is_empty() {
            self.first_h1 = Some(next.heading.clone());
        }
        self.headings += 1;
        if self.headings > MAX_HEADINGS {
            builder.push(&next.heading);
            builder.end_text();
            return;
        }
        self.current.blocks = builder.take();
        self.done.push(std::mem::replace(&mut self.current, next));
    }

    /// Whether a heading of level 1 was seen.
    pub(super) fn has_h1(&self) -> bool {
        self.first_h1.is_some()
    }

    /// The page, with the blocks so far in its last section.
    pub(super) fn finish(mut self, front_matter: FrontMatter, mut builder: Builder) -> Page {
        self.current.blocks = builder.take();
        self.done.push(self.current);
        Page { front_matter, heading: self.first_h1, sections: self.done }
    }
}
