//! CommonMark's events → sections with their blocks.

use pulldown_cmark::{BlockQuoteKind, CodeBlockKind, Event, HeadingLevel, Tag, TagEnd};

use super::tag::{self, Attributes, Mark};
use crate::index::{
    anchor::Anchors,
    block::{Builder, Container, squeeze},
    html,
    page::{FrontMatter, Outline, Page, Section},
};

/// Collects sections. Nothing here recurses, however deep the page nests.
#[derive(Debug, Default)]
pub(super) struct Reader {
    anchors: Anchors,
    outline: Outline,
    builder: Builder,
    heading: Option<String>,
    heading_id: Option<String>,
    /// Language and title of the code block under way, and its text.
    code: Option<(String, String, String)>,
    tables: usize,
    /// HTML under way.
    html: Option<String>,
    /// Quotations that are open, and whether each is a note.
    quotes: Vec<bool>,
    /// Marks that are open.
    marks: Vec<Container>,
}

impl Reader {
    pub(super) fn new(anchors: Anchors) -> Self {
        Self { anchors, ..Self::default() }
    }

    pub(super) fn see(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.push(&text),
            Event::Code(text) => match &mut self.heading {
                Some(heading) => heading.push_str(&text),
                None => self.builder.push_code(&text),
            },
            Event::SoftBreak | Event::HardBreak => self.push(if self.code.is_some() { "\n" } else { " " }),
            Event::Html(html) => match &mut self.html {
                Some(text) => text.push_str(&html),
                None => self.html_block(&html),
            },
            Event::InlineHtml(html) if html.get(..3).is_some_and(|tag| tag.eq_ignore_ascii_case("<br")) => {
                self.push(" ");
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { id, .. } => {
                self.builder.end_text();
                self.heading_id = id.map(pulldown_cmark::CowStr::into_string);
                self.heading = Some(String::new());
            }
            Tag::CodeBlock(kind) => {
                self.builder.end_text();
                let (language, title) = match kind {
                    CodeBlockKind::Fenced(info) => info_of(&info),
                    CodeBlockKind::Indented => Default::default(),
                };
                self.code = Some((language, title, String::new()));
            }
            Tag::Table(_) => {
                self.builder.end_text();
                self.tables += 1;
            }
            Tag::List(first) => {
                if self.tables == 0 {
                    self.builder.end_text();
                }
                self.builder.start_list(first.map(|first| u32::try_from(first).unwrap_or(u32::MAX)));
            }
            Tag::Item => {
                if self.tables == 0 {
                    self.builder.end_text();
                }
                self.builder.start_item();
            }
            Tag::BlockQuote(kind) => {
                self.builder.end_text();
                if let Some(kind) = kind {
                    self.builder.open(Container::Note, alert(kind));
                }
                self.quotes.push(kind.is_some());
            }
            Tag::HtmlBlock => {
                self.builder.end_text();
                self.html = Some(String::new());
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.end_heading(level),
            TagEnd::CodeBlock => {
                if let Some((language, title, text)) = self.code.take() {
                    let text = if language == "console" || language == "bash" { without_styles(&text) } else { text };
                    self.builder.add_code(&without_annotations(&text), &language, &title);
                }
            }
            TagEnd::Table => {
                self.tables = self.tables.saturating_sub(1);
                self.builder.end_table();
            }
            TagEnd::TableCell => self.builder.push(" | "),
            TagEnd::TableRow | TagEnd::TableHead => {
                let text = self.builder.take_text();
                self.builder.restore(text.trim_end_matches([' ', '|']));
                self.builder.push("\n");
            }
            TagEnd::Paragraph | TagEnd::FootnoteDefinition | TagEnd::Item if self.tables == 0 => {
                self.builder.end_text();
            }
            TagEnd::List(_) => {
                if self.tables == 0 {
                    self.builder.end_text();
                }
                self.builder.end_list();
            }
            TagEnd::BlockQuote(_) => {
                self.builder.end_text();
                if self.quotes.pop() == Some(true) {
                    self.builder.close(Container::Note);
                }
            }
            TagEnd::HtmlBlock => {
                let html = self.html.take().unwrap_or_default();
                self.html_block(&html);
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if let Some((_, _, code)) = &mut self.code {
            code.push_str(text);
        } else if let Some(heading) = &mut self.heading {
            heading.push_str(text);
        } else {
            self.builder.push(text);
        }
    }

    /// HTML between blocks: a mark, a comment, or text in elements.
    fn html_block(&mut self, html: &str) {
        match tag::read_mark(html) {
            Some(Mark::Note(title)) => self.open(Container::Note, title),
            Some(Mark::Tab(title)) => self.open(Container::Tab, title),
            Some(Mark::End) => {
                self.builder.end_text();
                if let Some(container) = self.marks.pop() {
                    self.builder.close(container);
                }
            }
            None => html::read_into(html, &mut self.builder),
        }
    }

    fn open(&mut self, container: Container, title: &str) {
        self.builder.end_text();
        self.builder.open(container, title);
        self.marks.push(container);
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        let heading = squeeze(&self.heading.take().unwrap_or_default());
        let anchor = match self.heading_id.take() {
            Some(id) => Some(self.anchors.explicit(&id)),
            None => self.anchors.of_text(&heading),
        };
        let next = Section { level: level as u8, heading, anchor, blocks: Vec::new() };
        self.outline.begin(next, &mut self.builder);
    }

    pub(super) fn finish(self, front_matter: FrontMatter) -> Page {
        self.outline.finish(front_matter, self.builder)
    }
}

/// Language and title from what stands behind a fence: `bash title="run"`, `{.python title='x'}`, `yaml:file.yml`.
fn info_of(info: &str) -> (String, String) {
    let info = info.trim().trim_start_matches('{').trim_end_matches('}').trim_start();
    let end = info.find([' ', ',', '{', ':', '}']).unwrap_or(info.len());
    let language = info.get(..end).unwrap_or_default().trim_start_matches('.').to_owned();
    // A word with `=` is an attribute of a fence without a language.
    let language = if language.contains('=') { String::new() } else { language };
    let attributes = Attributes::parse(info.get(end..).unwrap_or_default().trim_start_matches([',', '{', ':', ' ']));
    let title = attributes.any(&["title", "filename", "file"]).unwrap_or_default().trim_matches('}').to_owned();
    (language, title)
}

fn alert(kind: BlockQuoteKind) -> &'static str {
    match kind {
        BlockQuoteKind::Note => "Note",
        BlockQuoteKind::Tip => "Tip",
        BlockQuoteKind::Important => "Important",
        BlockQuoteKind::Warning => "Warning",
        BlockQuoteKind::Caution => "Caution",
    }
}

/// Terminal sessions that a theme colours: `<font color="#4E9A06">text</font>`.
fn without_styles(code: &str) -> String {
    const STYLES: [&str; 6] = ["font", "span", "b", "u", "i", "em"];
    if !code.contains("</") {
        return code.to_owned();
    }
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find('<') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let name_at = if tail.starts_with("</") { 2 } else { 1 };
        let name = tail.get(name_at..).unwrap_or_default();
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let end = tail.find('>').filter(|end| *end < 200 && STYLES.contains(&name));
        if end.is_none() {
            out.push('<');
        }
        rest = tail.get(end.unwrap_or(0) + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    html::unescape(&out)
}

/// Material's annotations, `# (1)!` at the end of a line, are marks and not code.
fn without_annotations(code: &str) -> String {
    if !code.contains(")!") && !code.contains("--8<--") {
        return code.to_owned();
    }
    let clean = |line: &str| {
        let bare = line.trim_end();
        let number = bare.strip_suffix(")!").and_then(|rest| rest.rsplit_once('('));
        match number {
            Some((before, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                before.trim_end().trim_end_matches(['#', '/', ';', '<', '!', '-']).trim_end().to_owned()
            }
            _ => line.to_owned(),
        }
    };
    code.lines().filter(|line| !line.contains("--8<--")).map(|line| clean(line) + "\n").collect()
}
