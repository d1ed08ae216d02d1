//! The boundary between reading documents and indexing them.

use serde::{Deserialize, Serialize};

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
    /// Prose as plain text: sentences whole, blocks separated by an empty line.
    pub body: String,
    /// Code blocks as plain text.
    pub code: String,
    /// The section as Markdown, for a language model.
    pub markdown: String,
    /// Path of the source file below the documents' folder.
    pub source_path: String,
    /// Part of the site the page belongs to, when it has parts.
    pub section: Option<String>,
    /// Factor on the score, 1 for a usual page.
    pub boost: f32,
}
