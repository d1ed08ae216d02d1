//! What the site generators' tags have in common: attributes, and the marks that stand for them until the page is
//! parsed. A mark is an HTML comment on a line of its own, so CommonMark keeps it between blocks, inside lists too.

/// Begins every mark.
const MARK: &str = "docsgate:";

/// Attributes of a tag: named ones, and the others by their position (`"0"`, `"1"`, …).
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// Reads `name="a" b='c' d=e f`. Never fails.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Vec::new();
        let mut position = 0;
        let mut rest = text.trim_start();
        while !rest.is_empty() && found.len() < 32 {
            let name_end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\'' | '`'));
            let name = rest.get(..name_end.unwrap_or(rest.len())).unwrap_or_default();
            let after = rest.get(name.len()..).unwrap_or_default();
            let (key, value) = match after.trim_start().strip_prefix('=') {
                Some(value) if !name.is_empty() => (name.to_owned(), value.trim_start()),
                _ => {
                    position += 1;
                    ((position - 1).to_string(), rest)
                }
            };
            let (value, tail) = value_of(value);
            found.push((key, value.to_owned()));
            if tail.len() == rest.len() {
                break;
            }
            rest = tail.trim_start();
        }
        Self(found)
    }

    /// The first of `names` that is there.
    pub(super) fn any(&self, names: &[&str]) -> Option<&str> {
        let value = |name: &&str| self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        names.iter().find_map(value)
    }
}

/// A value and what follows it.
fn value_of(text: &str) -> (&str, &str) {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`' | '{'));
    if let Some(quote) = quote {
        let inside = text.get(1..).unwrap_or_default();
        let end = inside.find(if quote == '{' { '}' } else { quote }).unwrap_or(inside.len());
        let value = inside.get(..end).unwrap_or_default();
        // JSX: `{"text"}`.
        let value = if quote == '{' { value.trim_matches(['"', '\'', '`']) } else { value };
        return (value, inside.get(end + 1..).unwrap_or_default());
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at(end)
}

/// Puts a mark that begins a note or a tab on a line of its own, as far in as the line that it is found on.
pub(super) fn marker(out: &mut String, kind: &str, title: &str) {
    // A title cannot end the comment that it stands in.
    let title: String = title.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\r')).collect();
    line(out, &format!("<!--{MARK}{kind} {}-->", title.replace("--", "-").trim()));
}

/// Puts a mark that ends the innermost one.
pub(super) fn end_marker(out: &mut String) {
    line(out, &format!("<!--{MARK}end-->"));
}

fn line(out: &mut String, mark: &str) {
    let start = out.rfind('\n').map_or(0, |at| at + 1);
    let current = out.get(start..).unwrap_or_default();
    let indent: String = current.chars().take_while(|c| *c == ' ').collect();
    if !current.trim().is_empty() {
        out.push('\n');
        out.push_str(&indent);
    }
    out.push_str(mark);
    out.push('\n');
    out.push_str(&indent);
}

/// What a comment says if it is one of the marks.
pub(super) enum Mark<'a> {
    Note(&'a str),
    Tab(&'a str),
    End,
}

/// Reads a mark.
pub(super) fn read_mark(html: &str) -> Option<Mark<'_>> {
    let inside = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?.strip_prefix(MARK)?;
    let (kind, title) = inside.split_once(' ').unwrap_or((inside, ""));
    match kind {
        "note" => Some(Mark::Note(title)),
        "tab" => Some(Mark::Tab(title)),
        "end" => Some(Mark::End),
        _ => None,
    }
}
