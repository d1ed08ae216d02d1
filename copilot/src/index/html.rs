//! A page of a built site → the same sections as from Markdown. The ids are those that the page has.

use scraper::{ElementRef, Html, Node, Selector, node::Element};

use super::markdown::{Block, FrontMatter, Page, Section};

/// Where a page's own text may be, best first; what stands around it is on every page.
const CONTENT: [&str; 6] = ["article", "[role=main]", "main", "div.document", "#content", "body"];
/// Elements whose text is not the page's.
const PASSED_OVER: [&str; 14] = [
    "script", "style", "nav", "header", "footer", "aside", "form", "button", "template", "noscript", "svg", "head",
    "select", "iframe",
];
/// Elements that end a block and begin another.
const BLOCKS: [&str; 22] = [
    "p",
    "li",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "div",
    "section",
    "article",
    "main",
    "blockquote",
    "figure",
    "figcaption",
    "details",
    "summary",
    "hr",
    "table",
    "body",
    "address",
    "label",
    "fieldset",
];
/// Most headings of a page that start a section of their own.
const MAX_HEADINGS: usize = 5_000;

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
    let mut reader = Reader::default();
    reader.read(content.unwrap_or_else(|| document.root_element()));
    let title = first(&document, "title").map(|element| squeeze(&element.text().collect::<String>()));
    let robots = first(&document, "meta[name=robots]").and_then(|meta| meta.attr("content")).unwrap_or_default();
    let front_matter = FrontMatter {
        // A page's <title> repeats the site's name, so its first heading comes before it.
        title: title.filter(|title| !title.is_empty() && reader.first_h1.is_none()),
        excluded: robots.contains("noindex"),
        boost: None,
    };
    Some(reader.finish(front_matter))
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

/// Collects sections from the tree, which is walked without recursion.
#[derive(Debug, Default)]
struct Reader {
    done: Vec<Section>,
    current: Section,
    text: String,
    heading: Option<u8>,
    heading_id: Option<String>,
    /// Ids of the elements around, for sites that put a section's id on the element around its heading.
    around: Vec<Option<String>>,
    code: Option<String>,
    table: usize,
    passing_over: usize,
    headings: usize,
    first_h1: Option<String>,
}

impl Reader {
    fn read(&mut self, content: ElementRef<'_>) {
        use ego_tree::iter::Edge;
        for edge in content.traverse() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Element(element) => self.open(element),
                    Node::Text(text) if self.passing_over == 0 => self.text.push_str(text),
                    _ => {}
                },
                Edge::Close(node) => {
                    if let Node::Element(element) = node.value() {
                        self.close(element);
                    }
                }
            }
        }
    }

    fn open(&mut self, element: &Element) {
        let name = element.name();
        if passed_over(element) {
            self.passing_over += 1;
        }
        if self.passing_over > 0 {
            return;
        }
        let id = element.id().map(str::to_owned);
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if self.code.is_none() => {
                self.end_block();
                self.heading = name.as_bytes().get(1).map(|digit| digit - b'0');
                self.heading_id = id.or_else(|| self.around.last().cloned().flatten());
            }
            "pre" => {
                self.end_block();
                self.code = Some(String::new());
            }
            "code" | "a" => {
                let language = element.classes().find_map(|class| class.strip_prefix("language-"));
                if let (Some(code), Some(language)) = (&mut self.code, language) {
                    language.clone_into(code);
                }
                if self.heading.is_some() && self.heading_id.is_none() {
                    self.heading_id = id.or_else(|| element.attr("name").map(str::to_owned));
                }
            }
            "br" => self.text.push(if self.code.is_some() { '\n' } else { ' ' }),
            "table" => {
                self.end_block();
                self.table += 1;
            }
            _ if BLOCKS.contains(&name) => {
                self.end_block();
                if matches!(name, "section" | "div") {
                    self.around.push(id);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, element: &Element) {
        let name = element.name();
        if self.passing_over > 0 {
            if passed_over(element) {
                self.passing_over -= 1;
            }
            return;
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.end_heading(),
            "pre" => {
                let language = self.code.take().unwrap_or_default();
                let text = std::mem::take(&mut self.text);
                if !text.trim().is_empty() {
                    self.current.blocks.push(Block::Code { language, text: text.trim_end().to_owned() });
                }
            }
            "td" | "th" => self.text.push_str(" | "),
            "tr" => {
                let trimmed = self.text.trim_end_matches([' ', '|', '\n']).len();
                self.text.truncate(trimmed);
                self.text.push('\n');
            }
            "table" => {
                self.table = self.table.saturating_sub(1);
                self.end_block();
            }
            _ if BLOCKS.contains(&name) => {
                self.end_block();
                if matches!(name, "section" | "div") {
                    self.around.pop();
                }
            }
            _ => {}
        }
    }

    fn end_block(&mut self) {
        if self.code.is_some() || self.heading.is_some() || self.table > 0 {
            // Inside a table, a cell's blocks are part of its row.
            self.text.push_str(if self.table > 0 { " " } else { "" });
            return;
        }
        let text = std::mem::take(&mut self.text);
        // Only the rows of a table keep their lines: a cell ends with a bar.
        let text = if text.contains(" | ") {
            text.lines().map(squeeze).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        } else {
            squeeze(&text)
        };
        if !text.is_empty() {
            self.current.blocks.push(Block::Prose(text));
        }
    }

    fn end_heading(&mut self) {
        let Some(level) = self.heading.take() else { return };
        // Signs that link a heading to itself stand at its end.
        let text = squeeze(&std::mem::take(&mut self.text));
        let heading = text.trim_end_matches(['¶', '#', '\u{f0c1}', '🔗']).trim_end().to_owned();
        let anchor = self.heading_id.take().filter(|id| !id.is_empty());
        if level == 1 && self.first_h1.is_none() && !heading.is_empty() {
            self.first_h1 = Some(heading.clone());
        }
        self.headings += 1;
        if self.headings > MAX_HEADINGS {
            self.current.blocks.push(Block::Prose(heading));
            return;
        }
        let next = Section { level, heading, anchor, blocks: Vec::new() };
        self.done.push(std::mem::replace(&mut self.current, next));
    }

    fn finish(mut self, front_matter: FrontMatter) -> Page {
        self.end_block();
        self.done.push(self.current);
        Page { front_matter, heading: self.first_h1, sections: self.done }
    }
}

fn passed_over(element: &Element) -> bool {
    let hidden = || {
        element.attr("data-search-exclude").is_some()
            || element.attr("hidden").is_some()
            || element.classes().any(|class| matches!(class, "headerlink" | "linenos" | "md-source-file"))
    };
    PASSED_OVER.contains(&element.name()) || hidden()
}

/// Runs of blanks as one.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
