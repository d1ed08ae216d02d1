//! Hugo's shortcodes, `{{< name … >}}` and `{{% name … %}}`: resolved where the source says enough, else dropped. Their
//! names never reach a reader.

use super::{
    front_matter::split_front_matter,
    include::{self, Includes},
    tag::{self, Attributes},
};
use crate::index::{block::capital, page::FrontMatter};

/// Shortcodes that set a note apart.
const NOTES: [&str; 15] = [
    "note",
    "warning",
    "caution",
    "alert",
    "info",
    "tip",
    "important",
    "danger",
    "callout",
    "admonition",
    "hint",
    "notice",
    "success",
    "error",
    "attention",
];
/// Shortcodes whose content is not for readers.
const HIDDEN: [&str; 4] = ["mermaid", "comment", "plantuml", "details-hidden"];
/// Shortcodes that bring in a file as code.
const CODE_FILES: [&str; 5] = ["code_sample", "codenew", "code", "codefile", "readfile"];
/// Shortcodes that stand for a value of the site's own settings. What it is is not in the documents.
const VALUES: [&str; 6] =
    ["param", "skew", "latest-version", "latest-semver", "release-branch", "latest-release-notes"];
/// Stands where such a value would.
const UNKNOWN_VALUE: &str = "…";

/// One shortcode as it stands in the text.
struct Shortcode<'a> {
    name: &'a str,
    attributes: Attributes,
    closes: bool,
    /// Bytes up to its end.
    length: usize,
}

/// What its closing tag ends.
enum Open {
    Nothing,
    Marker,
    CodeInTab,
    Fence,
}

/// Text without shortcodes. `depth` bounds files that include each other.
pub(super) fn resolve(text: &str, front: &FrontMatter, includes: &Includes<'_>, depth: usize) -> String {
    if !text.contains("{{<") && !text.contains("{{%") {
        return text.to_owned();
    }
    let out = String::with_capacity(text.len());
    let mut resolver = Resolver { front, includes, depth, open: Vec::new(), out };
    let mut rest = text;
    while let Some(at) = next(rest) {
        let (before, tail) = rest.split_at(at);
        resolver.out.push_str(before);
        if let Some((literal, length)) = escaped(tail) {
            resolver.out.push_str(&literal);
            rest = tail.get(length..).unwrap_or_default();
            continue;
        }
        let Some(code) = read(tail) else {
            resolver.out.push_str(tail.get(..3).unwrap_or_default());
            rest = tail.get(3..).unwrap_or_default();
            continue;
        };
        rest = tail.get(code.length..).unwrap_or_default();
        if code.closes {
            resolver.close(code.name);
        } else if HIDDEN.contains(&code.name) {
            rest = after_closing(rest, code.name);
        } else {
            resolver.begin(&code, rest);
        }
    }
    resolver.out.push_str(rest);
    resolver.out
}

/// A text under way.
struct Resolver<'a> {
    front: &'a FrontMatter,
    includes: &'a Includes<'a>,
    depth: usize,
    /// Shortcodes that wait for their closing tag.
    open: Vec<(String, Open)>,
    out: String,
}

impl Resolver<'_> {
    fn opened(&mut self, code: &Shortcode<'_>, state: Open) {
        self.open.push((code.name.to_owned(), state));
    }

    /// A text that this one brings in.
    fn nested(&self, text: &str) -> String {
        resolve(text, self.front, self.includes, self.depth + 1)
    }

    /// Puts what stands for a shortcode; `rest` is the text behind it.
    fn begin(&mut self, code: &Shortcode<'_>, rest: &str) {
        let attributes = &code.attributes;
        let has_end = || after_closing(rest, code.name).len() < rest.len();
        match code.name {
            name if NOTES.contains(&name) && has_end() => {
                let title = attributes.any(&["title", "name"]).map_or_else(|| capital(name), str::to_owned);
                tag::marker(&mut self.out, "note", &title);
                self.opened(code, Open::Marker);
            }
            "tab" | "tab-item" if has_end() => {
                let title = attributes.any(&["name", "header", "title", "label", "0"]).unwrap_or_default();
                tag::marker(&mut self.out, "tab", title);
                match attributes.any(&["codelang", "lang"]) {
                    Some(language) => {
                        self.out.push_str(&format!("\n```{language}\n"));
                        self.opened(code, Open::CodeInTab);
                    }
                    None => self.opened(code, Open::Marker),
                }
            }
            "highlight" if has_end() => {
                self.out.push_str(&format!("\n```{}\n", attributes.any(&["lang", "0"]).unwrap_or_default()));
                self.opened(code, Open::Fence);
            }
            "heading" => self.out.push_str(heading(attributes.any(&["0"]).unwrap_or_default())),
            "glossary_definition" => {
                if self.depth < include::MAX_DEPTH
                    && let Some(term) = attributes.any(&["term_id"])
                    && let Some(definition) = glossary(term, attributes.any(&["length"]), self.includes)
                {
                    let prepend =
                        attributes.any(&["prepend"]).map(|text| format!("{} ", text.trim())).unwrap_or_default();
                    let definition = self.nested(&definition);
                    self.out.push_str(&format!("{prepend}{}", definition.trim()));
                }
            }
            "feature-state" => {
                if let (Some(version), Some(state)) =
                    (attributes.any(&["for_k8s_version", "version"]), attributes.any(&["state"]))
                {
                    self.out.push_str(&format!("FEATURE STATE: {version} [{state}]"));
                }
            }
            name if CODE_FILES.contains(&name) && !has_end() => {
                if let Some(file) = attributes.any(&["file", "0"])
                    && let Some(text) = self.includes.read(file)
                {
                    let language = attributes.any(&["language"]).map_or_else(|| include::language(file), str::to_owned);
                    self.out.push_str(&format!("\n```{language}\n{}\n```\n", text.trim_end()));
                }
            }
            "include" | "include-md" | "readmarkdown" => {
                if self.depth < include::MAX_DEPTH
                    && let Some(text) = attributes.any(&["file", "0"]).and_then(|file| self.includes.read(file))
                {
                    let (_, body) = split_front_matter(&text);
                    self.out.push_str(&self.nested(body));
                }
            }
            name if VALUES.contains(&name) => {
                let given = attributes.any(&["0"]).and_then(|name| self.front.value(name));
                self.out.push_str(given.as_deref().unwrap_or(UNKNOWN_VALUE));
            }
            _ => {
                // Whatever else it is, words that it was given to show are text.
                self.out.push_str(attributes.any(&["text"]).unwrap_or_default());
                if attributes.any(&["text"]).is_none() && code.name == "glossary_tooltip" {
                    self.out.push_str(&attributes.any(&["term_id", "0"]).unwrap_or_default().replace('-', " "));
                }
                if has_end() {
                    self.opened(code, Open::Nothing);
                }
            }
        }
    }

    fn close(&mut self, name: &str) {
        let Some(at) = self.open.iter().rposition(|(opened, _)| opened == name) else { return };
        for (_, state) in self.open.drain(at..).rev() {
            match state {
                Open::Nothing => {}
                Open::Marker => tag::end_marker(&mut self.out),
                Open::Fence => self.out.push_str("\n```\n"),
                Open::CodeInTab => {
                    self.out.push_str("\n```\n");
                    tag::end_marker(&mut self.out);
                }
            }
        }
    }
}

/// Where the next shortcode begins.
fn next(text: &str) -> Option<usize> {
    [text.find("{{<"), text.find("{{%")].into_iter().flatten().min()
}

/// `{{</* name */>}}` shows a shortcode instead of being one.
fn escaped(text: &str) -> Option<(String, usize)> {
    let inside = text.get(3..)?;
    let content = inside.trim_start().strip_prefix("/*")?;
    let end = content.find("*/")?;
    let after = content.get(end + 2..)?;
    let length = text.len() - after.len() + after.find("}}")? + 2;
    let (opens, closes) = if text.starts_with("{{<") { ("{{<", ">}}") } else { ("{{%", "%}}") };
    (length < 4096).then(|| (format!("{opens} {} {closes}", content.get(..end).unwrap_or_default().trim()), length))
}

fn read(text: &str) -> Option<Shortcode<'_>> {
    let end = if text.starts_with("{{<") { ">}}" } else { "%}}" };
    let inside = text.get(3..)?;
    let length = inside.find(end).filter(|length| *length < 4096)?;
    let content = inside.get(..length)?.trim().trim_end_matches('/').trim_end();
    let (closes, content) = content.strip_prefix('/').map_or((false, content), |rest| (true, rest.trim_start()));
    let name = content.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
    let attributes = Attributes::parse(content.get(name.len()..).unwrap_or_default());
    Some(Shortcode { name, attributes, closes, length: 3 + length + end.len() })
}

/// The text after the closing tag of `name`; all of it when there is none.
fn after_closing<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = next(rest) {
        let tail = rest.get(at..).unwrap_or_default();
        match read(tail) {
            Some(code) if code.closes && code.name == name => return tail.get(code.length..).unwrap_or_default(),
            Some(code) if code.name == name => return text,
            Some(code) => rest = tail.get(code.length..).unwrap_or_default(),
            None => rest = tail.get(3..).unwrap_or_default(),
        }
    }
    text
}

/// Headings that a site translates by name.
fn heading(name: &str) -> &'static str {
    match name {
        "whatsnext" => "What's next",
        "prerequisites" => "Before you begin",
        "objectives" => "Objectives",
        "cleanup" => "Cleaning up",
        "synopsis" => "Synopsis",
        "options" => "Options",
        "seealso" => "See Also",
        _ => "",
    }
}

/// The definition of a term: the text of its page in a folder `glossary`, up to the mark `<!--more-->` when it is to be
/// short.
fn glossary(term: &str, length: Option<&str>, includes: &Includes<'_>) -> Option<String> {
    if !term.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        return None;
    }
    let file = format!("glossary/{term}.md");
    let text = includes.read(&format!("reference/{file}")).or_else(|| includes.read(&file))?;
    let (_, body) = split_front_matter(&text);
    let (first, more) = body.split_once("<!--more-->").unwrap_or((body, ""));
    Some(match length {
        Some("short") => first.trim().to_owned(),
        Some("long") => more.trim().to_owned(),
        _ => format!("{}\n\n{}", first.trim(), more.trim()),
    })
}
