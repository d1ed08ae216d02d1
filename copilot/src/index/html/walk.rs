//! A tree of elements → sections and blocks, without recursion.

use scraper::{ElementRef, Node, node::Element};

use crate::index::{
    block::{Builder, Container, capital, squeeze},
    page::{FrontMatter, Outline, Page, Section},
};

/// Elements whose text is not the page's.
const PASSED_OVER: [&str; 14] = [
    "script", "style", "nav", "header", "footer", "aside", "form", "button", "template", "noscript", "svg", "head",
    "select", "iframe",
];
/// Elements that end a block and begin another.
const BLOCKS: [&str; 20] = [
    "p",
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
    "body",
    "address",
    "label",
    "fieldset",
    "center",
    "tbody",
];
/// Classes of admonitions.
const NOTES: [&str; 8] =
    ["admonition", "theme-admonition", "alert", "callout", "custom-block", "note", "admonitionblock", "hint"];
/// Classes of what an admonition or tab is called.
const TITLES: [&str; 4] = ["admonition-title", "alert-title", "callout-title", "custom-block-title"];

/// Code under way.
#[derive(Debug, Default)]
struct Code {
    language: String,
    title: String,
    text: String,
}

/// Collects sections from the tree.
#[derive(Debug, Default)]
pub(super) struct Walk {
    outline: Outline,
    builder: Builder,
    heading: Option<(u8, String)>,
    heading_id: Option<String>,
    /// Ids of the elements around, for sites that put a section's id on the element around its heading.
    around: Vec<Option<String>>,
    code: Option<Code>,
    /// Language and file name that stand around a code block or before it.
    code_language: String,
    code_title: String,
    table: usize,
    inline_code: Option<String>,
    /// The title of an admonition under way.
    title: Option<String>,
    /// Admonitions and tabs that are open: the depth of their element.
    containers: Vec<(usize, Container)>,
    depth: usize,
    /// Labels of the tabs of the sets that are open, those of the tabs to come; and the depth of the set.
    labels: Vec<(usize, Vec<String>)>,
    passing_over: usize,
    /// The page is Markdown: headings are text.
    inside: bool,
}

impl Walk {
    /// Goes on with the blocks of a page of Markdown.
    pub(super) fn inside(builder: Builder) -> Self {
        Self { builder, inside: true, ..Self::default() }
    }

    pub(super) fn into_builder(mut self) -> Builder {
        self.end_text();
        self.builder
    }

    pub(super) fn has_h1(&self) -> bool {
        self.outline.has_h1()
    }

    pub(super) fn read(&mut self, content: ElementRef<'_>) {
        use ego_tree::iter::Edge;
        for edge in content.traverse() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Element(element) => {
                        self.depth += 1;
                        if let Some(labels) = ElementRef::wrap(node).and_then(tab_labels) {
                            self.labels.push((self.depth, labels));
                        }
                        self.open(element);
                    }
                    Node::Text(text) if self.passing_over == 0 => self.push(text),
                    _ => {}
                },
                Edge::Close(node) => {
                    if let Node::Element(element) = node.value() {
                        self.close(element);
                        if self.labels.last().is_some_and(|(depth, _)| *depth == self.depth) {
                            self.labels.pop();
                        }
                        self.depth -= 1;
                    }
                }
            }
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            code.text.push_str(text);
        } else if let Some((_, heading)) = &mut self.heading {
            heading.push_str(text);
        } else if let Some(title) = &mut self.title {
            title.push_str(text);
        } else if let Some(code) = &mut self.inline_code {
            code.push_str(text);
        } else if self.table > 0 {
            // The lines of a table are its rows.
            self.builder.push(&text.replace('\n', " "));
        } else {
            self.builder.push(text);
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
                self.end_text();
                let level = name.as_bytes().get(1).map_or(1, |digit| digit - b'0');
                if !self.inside {
                    self.heading = Some((level, String::new()));
                    self.heading_id = id.or_else(|| self.around.last().cloned().flatten());
                }
            }
            "pre" => {
                self.end_text();
                let language = language(element).unwrap_or_else(|| std::mem::take(&mut self.code_language));
                self.code = Some(Code { language, title: std::mem::take(&mut self.code_title), text: String::new() });
            }
            "code" | "a" | "kbd" | "samp" => {
                if let Some(code) = &mut self.code {
                    if let Some(language) = language(element) {
                        code.language = language;
                    }
                } else if name != "a" && self.heading.is_none() && self.title.is_none() {
                    self.inline_code = Some(String::new());
                }
                if self.heading.is_some() && self.heading_id.is_none() {
                    self.heading_id = id.or_else(|| element.attr("name").map(str::to_owned));
                }
            }
            "br" => self.push(if self.code.is_some() { "\n" } else { " " }),
            "table" if self.code.is_none() => {
                self.end_text();
                self.table += 1;
            }
            "ul" | "ol" if self.table == 0 => {
                self.end_text();
                let first = element.attr("start").and_then(|start| start.parse().ok()).unwrap_or(1);
                self.builder.start_list((name == "ol").then_some(first));
            }
            "li" if self.table == 0 => {
                self.end_text();
                self.builder.start_item();
            }
            "span" if element.classes().any(|class| class == "filename") => {
                self.end_text();
                self.title = Some(String::new());
            }
            _ if BLOCKS.contains(&name) => self.open_block(element, id),
            _ => {}
        }
    }

    fn open_block(&mut self, element: &Element, id: Option<String>) {
        let name = element.name();
        self.end_text();
        if matches!(name, "section" | "div") {
            self.around.push(id);
        }
        let classes: Vec<&str> = element.classes().collect();
        let is = |known: &[&str]| classes.iter().any(|class| known.contains(class));
        if let Some(language) = language(element) {
            self.code_language = language;
        }
        let is_title =
            is(&TITLES) || name == "summary" || classes.iter().any(|class| class.starts_with("admonitionHeading"));
        if is_title {
            self.title = Some(String::new());
        } else if matches!(name, "div" | "section" | "blockquote" | "details") && is(&NOTES) || name == "details" {
            let kind = classes.iter().find(|class| !NOTES.contains(class) || **class == "note");
            let kind = kind.map_or_else(String::new, |kind| capital(kind.trim_start_matches("alert-")));
            self.builder.open(Container::Note, &kind);
            self.containers.push((self.depth, Container::Note));
        } else if is(&["tabbed-block", "tab-pane"]) || element.attr("role") == Some("tabpanel") {
            let labels = self.labels.last_mut().map(|(_, labels)| labels);
            let label = labels.filter(|labels| !labels.is_empty()).map(|labels| labels.remove(0));
            self.builder.open(Container::Tab, &label.unwrap_or_default());
            self.containers.push((self.depth, Container::Tab));
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
                if let Some(code) = self.code.take() {
                    self.builder.add_code(&code.text, &code.language, &code.title);
                }
            }
            "code" | "kbd" | "samp" => {
                if let Some(code) = self.inline_code.take() {
                    self.builder.push_code(&code);
                }
            }
            "td" | "th" if self.code.is_none() => self.builder.push(" | "),
            "tr" if self.code.is_none() => {
                let text = self.builder.take_text();
                self.builder.restore(text.trim_end_matches([' ', '|', '\n']));
                self.builder.push("\n");
            }
            "table" if self.code.is_none() => {
                self.table = self.table.saturating_sub(1);
                if self.table == 0 {
                    self.builder.end_table();
                }
            }
            "ul" | "ol" if self.table == 0 => {
                self.end_text();
                self.builder.end_list();
            }
            "li" => self.end_text(),
            "span" if element.classes().any(|class| class == "filename") => {
                self.code_title = squeeze(&self.title.take().unwrap_or_default());
            }
            _ if BLOCKS.contains(&name) => {
                if let Some(title) = self.title.take().filter(|title| !title.trim().is_empty()) {
                    self.builder.close(Container::Note);
                    self.builder.open(Container::Note, &title);
                }
                self.end_text();
                if matches!(name, "section" | "div") {
                    self.around.pop();
                }
                if self.containers.last().is_some_and(|(depth, _)| *depth == self.depth)
                    && let Some((_, container)) = self.containers.pop()
                {
                    self.builder.close(container);
                }
            }
            _ => {}
        }
    }

    fn end_text(&mut self) {
        if self.code.is_some() || self.heading.is_some() {
            return;
        }
        if self.table > 0 {
            // Inside a table, a cell's blocks are part of its row.
            return self.builder.push(" ");
        }
        self.builder.end_text();
    }

    fn end_heading(&mut self) {
        let Some((level, text)) = self.heading.take() else { return self.end_text() };
        // Signs that link a heading to itself stand at its end.
        let heading = squeeze(&text).trim_end_matches(['¶', '#', '\u{f0c1}', '🔗']).trim_end().to_owned();
        let anchor = self.heading_id.take().filter(|id| !id.is_empty());
        self.outline.begin(Section { level, heading, anchor, blocks: Vec::new() }, &mut self.builder);
    }

    pub(super) fn finish(mut self, front_matter: FrontMatter) -> Page {
        self.end_text();
        self.outline.finish(front_matter, self.builder)
    }
}

/// Labels of a set of tabs, when this element is one: they stand before or after the tabs themselves.
fn tab_labels(element: ElementRef<'_>) -> Option<Vec<String>> {
    let set = element.value().classes().any(|class| matches!(class, "tabbed-set" | "tabs-container" | "tab-content"));
    if !set {
        return None;
    }
    let is_label = |child: &ElementRef<'_>| {
        let value = child.value();
        value.attr("role") == Some("tab")
            || (value.name() == "label"
                && child.parent().and_then(ElementRef::wrap).is_some_and(|parent| {
                    parent.value().classes().any(|class| matches!(class, "tabbed-labels" | "tabbed-set"))
                }))
    };
    let labels = element.descendants().filter_map(ElementRef::wrap).filter(is_label);
    Some(labels.map(|label| squeeze(&label.text().collect::<String>())).collect())
}

/// The language that a code block's classes name.
fn language(element: &Element) -> Option<String> {
    let named = |class: &str| {
        let name = ["language-", "highlight-", "lang-"].iter().find_map(|prefix| class.strip_prefix(prefix))?;
        Some(name.to_owned()).filter(|name| !name.is_empty())
    };
    element.classes().find_map(named).or_else(|| element.attr("data-lang").map(str::to_owned))
}

fn passed_over(element: &Element) -> bool {
    let hidden = || {
        element.attr("data-search-exclude").is_some()
            || element.attr("hidden").is_some() && element.attr("role") != Some("tabpanel")
            || element.attr("role") == Some("tab")
            || element.classes().any(|class| {
                matches!(class, "headerlink" | "linenos" | "md-source-file" | "tabbed-labels" | "hash-link" | "sr-only")
            })
    };
    PASSED_OVER.contains(&element.name()) || hidden()
}
