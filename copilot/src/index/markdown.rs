//! One Markdown page → its title and sections.
//!
//! What the site's generator adds to CommonMark (front matter, Hugo's shortcodes, Python-Markdown's and Material's
//! blocks, Docusaurus' components) is resolved or taken off first; what is left is CommonMark with tables, and goes
//! through a real parser. Headings inside code fences are no headings, text in HTML is text, and every heading gets the id
//! that the site gives it.

mod dialect;
mod front_matter;
mod include;
mod reader;
mod shortcode;
mod tag;

use pulldown_cmark::{Options, Parser};

use super::{
    anchor::{Anchors, Slug},
    page::Page,
};
use reader::Reader;

pub use include::Includes;

/// Longest page that is read.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Parses a page that brings in no files, of a site that makes ids as `slug` says. Never fails, whatever the text is.
#[must_use]
pub fn parse(source: &str, slug: Slug) -> Page {
    parse_with(source, slug, &Includes::default())
}

/// Parses a page; files that it brings in are read from `includes`.
#[must_use]
pub fn parse_with(source: &str, slug: Slug, includes: &Includes<'_>) -> Page {
    let (front_matter, body) = front_matter::split_front_matter(source);
    let text = shortcode::resolve(body, &front_matter, includes, 0);
    let text = dialect::plain(&text, includes);
    let mut reader = Reader::new(Anchors::new(slug));
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        // `> [!NOTE]`.
        | Options::ENABLE_GFM
        // A box to tick is not text.
        | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&text, options) {
        reader.see(event);
    }
    reader.finish(front_matter)
}

#[cfg(test)]
mod tests;
