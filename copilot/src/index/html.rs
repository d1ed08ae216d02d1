//! HTML → the same sections and blocks as from Markdown: pages of a built site, and HTML that stands in Markdown. The ids
//! are those that the page has.

mod walk;

use scraper::{ElementRef, Html, Selector};

use super::{
    block::{Builder, squeeze},
    page::{FrontMatter, Page},
};
use walk::Walk;

/// Where a page's own text may be, best first; what stands around it is on every page.
const CONTENT: [&str; 6] = ["article", "[role=main]", "main", "div.document", "#content", "body"];
/// Deepest nesting that is read: the parser's work grows with its square.
const MAX_DEPTH: usize = 1_000;
/// Elements that end by themselves.
const SELF_ENDING: [&str; 20] = [
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "source", "td", "th", "tr", "wbr",
];

/// Parses a page; `None` when its elements nest deeper than any document's.
pub fn parse(source: &str) -> Option<Page> {
    if depth(source) > MAX_DEPTH {
        return None;
    }
    let document = Html::parse_document(source);
    let content = CONTENT.iter().find_map(|place| {
        let selector = Selector::parse(place).ok()?;
        document.select(&selector).next()
    });
    let mut walk = Walk::default();
    walk.read(content.unwrap_or_else(|| document.root_element()));
    let title = first(&document, "title").map(|element| squeeze(&element.text().collect::<String>()));
    let robots = first(&document, "meta[name=robots]").and_then(|meta| meta.attr("content")).unwrap_or_default();
    // A page's <title> repeats the site's name, so its first heading comes before it.
    let title = title.filter(|title| !title.is_empty() && !walk.has_h1());
    Some(walk.finish(FrontMatter::of_built_page(title, robots.contains("noindex"))))
}

/// Reads HTML that stands in a page of Markdown; its headings are text there. What nests too deep says nothing.
pub(super) fn read_into(html: &str, builder: &mut Builder) {
    if html.trim_start().starts_with("<!--") && html.trim_end().ends_with("-->") && html.matches("<!--").count() == 1 {
        return;
    }
    if depth(html) > MAX_DEPTH {
        return;
    }
    let fragment = Html::parse_fragment(html);
    let mut walk = Walk::inside(std::mem::take(builder));
    walk.read(fragment.root_element());
    *builder = walk.into_builder();
}

/// Text of HTML's character references.
pub(super) fn unescape(text: &str) -> String {
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

/// How deep the elements of a page nest, at the most and roughly.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for tag in source.split('<').skip(1) {
        let ends = tag.starts_with('/');
        let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if name.is_empty() || SELF_ENDING.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        if ends {
            depth = depth.saturating_sub(1);
        } else if !tag.split('>').next().is_some_and(|inside| inside.ends_with('/')) {
            depth += 1;
            deepest = deepest.max(depth);
        }
    }
    deepest
}

fn first<'a>(document: &'a Html, selector: &str) -> Option<ElementRef<'a>> {
    let selector = Selector::parse(selector).ok()?;
    document.select(&selector).next()
}

#[cfg(test)]
mod tests;
