//! What Python-Markdown, PyMdown, Material, Docusaurus and MDX add to CommonMark, line by line: admonitions, tabs,
//! generic blocks, includes, macros, components. What is left is CommonMark, with marks where a note or a tab begins and
//! ends.

use super::{
    include::Includes,
    tag::{self, Attributes},
};
use crate::index::block::capital;

/// Components whose content is a note.
const NOTES: [&str; 9] = ["Note", "Info", "Warning", "Tip", "Caution", "Danger", "Check", "Callout", "Admonition"];
/// Components whose content is one of several alternatives.
const TABS: [&str; 3] = ["TabItem", "Tab", "TabPanel"];
/// Lines that the opening tag of a component may have.
const MAX_TAG_LINES: usize = 20;

/// Something that is open, and how it ends.
enum Open {
    /// Indented content: ends with the indentation. How far in its opener stands.
    Indented(usize),
    /// `///` or `:::`: ends with as many of them.
    Fenced { mark: char, length: usize, marked: bool },
    /// A component: ends with its closing tag. How far in its content stands, once known.
    Component { name: String, marked: bool, shift: Option<usize> },
}

/// Takes a page's dialect off.
pub(super) fn plain(body: &str, includes: &Includes<'_>) -> String {
    let mut pass = Pass { out: String::with_capacity(body.len()), open: Vec::new(), fence: None, includes };
    let mut lines = body.lines().peekable();
    let mut hidden = false;
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        // A component's opening tag may go over several lines.
        if pass.fence.is_none() && is_component(line.trim()) && !line.contains('>') {
            for _ in 0..MAX_TAG_LINES {
                let Some(next) = lines.next() else { break };
                line.push(' ');
                line.push_str(next.trim());
                if next.contains('>') {
                    break;
                }
            }
        }
        if pass.fence.is_none() {
            // `{/* … */}` and `{% raw %}` hide or control, and say nothing.
            if hidden {
                let Some((_, rest)) = line.split_once("*/}") else { continue };
                line = rest.to_owned();
                hidden = false;
            }
            while let Some((before, after)) = line.split_once("{/*").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                match after.split_once("*/}") {
                    Some((_, rest)) => line = before + rest,
                    None => (line, hidden) = (before, true),
                }
            }
        }
        pass.line(&line);
    }
    while pass.open.pop().is_some_and(|open| pass.end(&open)) {}
    pass.out
}

struct Pass<'a> {
    out: String,
    open: Vec<Open>,
    fence: Option<(char, usize)>,
    includes: &'a Includes<'a>,
}

impl Pass<'_> {
    fn line(&mut self, line: &str) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = line.trim();
        if self.fence.is_none() && !content.is_empty() {
            self.end_indented(indent);
        }
        let shift = self.shift(indent, content);
        let shifted = line.get(shift.min(indent)..).unwrap_or_default();
        if let Some((mark, length)) = self.fence {
            let closing = content.chars().take_while(|c| *c == mark).count();
            if closing >= length && content.chars().all(|c| c == mark) {
                self.fence = None;
            } else if let Some(text) = self.includes.line(content) {
                // Inside a fence a file comes as it is.
                self.out.push_str(text.trim_matches('\n').trim_start_matches("```").trim_end_matches("```"));
                self.out.push('\n');
                return;
            }
        } else if let Some(fence) = opens_fence(content) {
            self.fence = Some(fence);
        } else if self.opens_or_ends(indent, shift, content) {
            return;
        } else {
            let text = without_macros(shifted);
            self.out.push_str(&text);
            self.out.push('\n');
            return;
        }
        self.out.push_str(shifted);
        self.out.push('\n');
    }

    /// Ends admonitions and tabs whose content is over, because a line is not indented as far.
    fn end_indented(&mut self, indent: usize) {
        while let Some(Open::Indented(block)) = self.open.last() {
            if indent >= block + 4 {
                break;
            }
            self.open.pop();
            tag::end_marker(&mut self.out);
        }
    }

    /// How far the line moves to the left.
    fn shift(&mut self, indent: usize, content: &str) -> usize {
        let in_fence = self.fence.is_some();
        for open in self.open.iter_mut().rev() {
            match open {
                Open::Indented(block) => return *block + 4,
                Open::Component { shift, .. } => {
                    if shift.is_none() && !content.is_empty() && !in_fence {
                        *shift = Some(indent);
                    }
                    return shift.unwrap_or(0);
                }
                Open::Fenced { .. } => {}
            }
        }
        0
    }

    /// True when the line was an opener, a closer or an include, and is dealt with.
    fn opens_or_ends(&mut self, indent: usize, shift: usize, content: &str) -> bool {
        let lead = " ".repeat(indent.saturating_sub(shift));
        if let Some((kind, title)) = opener(content) {
            self.out.push_str(&lead);
            tag::marker(&mut self.out, kind, &title);
            self.open.push(Open::Indented(indent));
        } else if let Some((mark, length, rest)) = block_mark(content) {
            if rest.is_empty() {
                self.end_fenced(mark, length);
            } else {
                self.out.push_str(&lead);
                let marked = self.begin_block(rest);
                self.open.push(Open::Fenced { mark, length, marked });
            }
        } else if let Some(text) = self.includes.line(content) {
            for line in text.lines() {
                self.out.push_str(&format!("{lead}{line}\n"));
            }
        } else if is_component(content) || content.starts_with("</") {
            return self.component(content);
        } else {
            let module = content.starts_with("import ") && content.contains(" from ")
                || content.starts_with("import '")
                || content.starts_with("export const ")
                || content.starts_with("export default ");
            return module && content.contains(['\'', '"', '=']) && self.open.is_empty() && indent == 0;
        }
        true
    }

    /// `note | Title`, `tab | Title`, `details | Title`, `tip[Title]`, `note Title`. True when a mark was made.
    fn begin_block(&mut self, rest: &str) -> bool {
        let kind_end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
        let (kind, title) = rest.split_at(kind_end);
        let title = title.trim_start_matches(['|', ' ', '[', '{']).trim_end_matches([']', '}']).trim();
        match kind {
            "tab" => tag::marker(&mut self.out, "tab", title),
            "tabs" | "tab-set" | "code-group" | "steps" | "columns" | "card" | "grid" | "caption" | "html" => {
                return false;
            }
            _ if title.is_empty() => tag::marker(&mut self.out, "note", &capital(kind)),
            _ => tag::marker(&mut self.out, "note", title),
        }
        true
    }

    fn end_fenced(&mut self, mark: char, length: usize) {
        let same = |open: &Open| matches!(open, Open::Fenced { mark: m, length: l, .. } if *m == mark && *l == length);
        let nearest = |open: &Open| matches!(open, Open::Fenced { mark: m, .. } if *m == mark);
        let found = self.open.iter().rposition(same).or_else(|| self.open.iter().rposition(nearest));
        if let Some(at) = found {
            for open in self.open.split_off(at).iter().rev() {
                self.end(open);
            }
        }
    }

    fn end(&mut self, open: &Open) -> bool {
        match open {
            Open::Indented(_) | Open::Fenced { marked: true, .. } | Open::Component { marked: true, .. } => {
                tag::end_marker(&mut self.out);
            }
            _ => self.out.push('\n'),
        }
        true
    }

    /// One line that begins with a component's tag. False when it is something else.
    fn component(&mut self, content: &str) -> bool {
        if let Some(rest) = content.strip_prefix("</") {
            let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '.')).next().unwrap_or_default();
            let found = self.open.iter().rposition(|open| matches!(open, Open::Component { name: n, .. } if n == name));
            let Some(at) = found else { return name.starts_with(|c: char| c.is_ascii_uppercase()) };
            for open in self.open.split_off(at).iter().rev() {
                self.end(open);
            }
            return true;
        }
        let Some(end) = content.find('>') else { return false };
        let inside = content.get(1..end).unwrap_or_default();
        let after = content.get(end + 1..).unwrap_or_default();
        let name_end = inside.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(inside.len());
        let (name, attributes) = inside.split_at(name_end);
        let attributes = Attributes::parse(attributes.trim_end_matches('/'));
        let title = attributes.any(&["label", "title", "header", "name", "value"]).unwrap_or_default();
        if inside.ends_with('/') {
            return true;
        }
        let marked = NOTES.contains(&name) || TABS.contains(&name);
        if NOTES.contains(&name) {
            let kind = attributes.any(&["type"]).map_or_else(|| name.to_owned(), capital);
            tag::marker(&mut self.out, "note", if title.is_empty() { &kind } else { title });
        } else if TABS.contains(&name) {
            tag::marker(&mut self.out, "tab", title);
        } else if !title.is_empty() {
            self.out.push_str(&format!("\n{title}\n\n"));
        }
        let closing = format!("</{name}>");
        if let Some((text, _)) = after.split_once(&closing) {
            self.out.push_str(text.trim());
            self.out.push('\n');
            if marked {
                tag::end_marker(&mut self.out);
            }
            return true;
        }
        self.open.push(Open::Component { name: name.to_owned(), marked, shift: None });
        if !after.trim().is_empty() {
            self.out.push_str(after.trim());
            self.out.push('\n');
        }
        true
    }
}

fn is_component(content: &str) -> bool {
    content.strip_prefix('<').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        && !content.starts_with("<http")
        && !content.contains("://")
}

fn opens_fence(content: &str) -> Option<(char, usize)> {
    let mark = content.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = content.chars().take_while(|c| *c == mark).count();
    let info = content.get(length..).unwrap_or_default();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

/// A line that opens or closes one of PyMdown's generic blocks (`/// note | Title`) or a directive (`:::tip Title`): the
/// mark, its length, and what follows. Their content is not indented.
fn block_mark(content: &str) -> Option<(char, usize, &str)> {
    let mark = content.chars().next().filter(|c| matches!(c, '/' | ':'))?;
    let length = content.chars().take_while(|c| *c == mark).count();
    if length < 3 {
        return None;
    }
    let rest = content.get(length..).unwrap_or_default();
    let kind = rest.trim_start().split(['|', '[', '{', ' ']).next().unwrap_or_default();
    let words = rest.split('|').next().unwrap_or_default().split_whitespace().count();
    let plain = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    // `/// is a path` is text: only a title in its place may have several words.
    let spaced = mark == ':' || (rest.starts_with(' ') && words == 1);
    (rest.trim().is_empty() || (plain && spaced)).then_some((mark, length, rest.trim()))
}

/// Kind and title of an admonition (`!!! note "Title"`, `??? tip`, `???+ warning`) or of a tab (`=== "Title"`).
fn opener(content: &str) -> Option<(&'static str, String)> {
    let rest = ["!!! ", "???+ ", "??? ", "===! ", "===+ ", "=== "]
        .iter()
        .find_map(|mark| content.strip_prefix(mark).map(|rest| (*mark, rest)));
    let (mark, rest) = rest?;
    let quoted = rest.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map(|(title, _)| title.to_owned());
    if mark.starts_with("===") {
        // A line of equals signs with text is a tab only if its title is in quotation marks.
        return quoted.map(|title| ("tab", title));
    }
    let kind = rest.split_whitespace().next()?;
    if !kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        return None;
    }
    Some(("note", quoted.filter(|title| !title.is_empty()).unwrap_or_else(|| capital(kind))))
}

/// A line without macros (`{{ … }}`, `{% … %}`, `{# … #}`), lists of attributes (`{ .class }`) and icons
/// (`:material-check:`). Inline code keeps what it shows.
fn without_macros(line: &str) -> String {
    if !line.contains('{')
        && !line.contains(":material-")
        && !line.contains(":octicons-")
        && !line.contains(":fontawesome-")
    {
        return line.to_owned();
    }
    let heading = line.trim_start().starts_with('#');
    let mut out = String::with_capacity(line.len());
    for (at, part) in line.split('`').enumerate() {
        if at > 0 {
            out.push('`');
        }
        if at % 2 == 1 {
            out.push_str(part);
            continue;
        }
        let mut rest = part;
        while let Some(open) = rest.find(['{', ':']) {
            let (before, tail) = rest.split_at(open);
            out.push_str(before);
            let attributes = ["{: ", "{:.", "{:#", "{ .", "{.", "{ #"].iter().any(|mark| tail.starts_with(mark));
            let end = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
                .iter()
                .filter(|(opens, _)| tail.starts_with(opens))
                .find_map(|(_, closes)| tail.find(closes).map(|at| at + 2))
                .or_else(|| tail.find('}').filter(|_| attributes && !heading).map(|at| at + 1))
                .or_else(|| icon(tail));
            let length = end.unwrap_or(1);
            if end.is_none() {
                out.push_str(tail.get(..1).unwrap_or_default());
            }
            rest = tail.get(length..).unwrap_or_default();
        }
        out.push_str(rest);
    }
    out
}

/// Length of an icon's name between colons.
fn icon(text: &str) -> Option<usize> {
    let known = [":material-", ":octicons-", ":fontawesome-", ":simple-"].iter().any(|set| text.starts_with(set));
    let length = text.get(1..)?.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map(|at| at + 1)?;
    (known && text.get(length..)?.starts_with(':')).then_some(length + 1)
}
