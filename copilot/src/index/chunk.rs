//! The boundary between reading documents and indexing them.

use serde::{Deserialize, Serialize};

use super::block::{self, Block};

/// One section of one page: what is indexed, found and cited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Absolute URL of the page with the section's anchor.
    pub url: String,
    /// Absolute URL of the page.
    pub page_url: String,
    /// Title of the page.
    pub page_title: String,
    /// Headings from the page's title down to this section's own.
    pub heading_path: Vec<String>,
    /// Id of this section's heading, when it has one.
    pub anchor: Option<String>,
    /// Position of the section in its page, from 0; the parts of a split section count on.
    pub ordinal: u32,
    /// What the section is made of, in order.
    pub blocks: Vec<Block>,
    /// Path of the source file below the documents' folder.
    pub source_path: String,
    /// Part of the site the page belongs to, when it has parts.
    pub section: Option<String>,
    /// Factor on the score, 1 for a usual page.
    pub boost: f32,
}

impl Chunk {
    /// Prose as plain text: sentences whole, blocks separated by an empty line.
    #[must_use]
    pub fn body(&self) -> String {
        block::prose(&self.blocks)
    }

    /// Code blocks as plain text.
    #[must_use]
    pub fn code(&self) -> String {
        block::code(&self.blocks)
    }

    /// The section's own heading.
    #[must_use]
    pub fn heading(&self) -> &str {
        self.heading_path.last().map_or(self.page_title.as_str(), String::as_str)
    }
}
