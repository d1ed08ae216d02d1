//! Python-Markdown's and Material's own syntax, line by line: what is left is CommonMark.

use serde::Deserialize;

/// What a page says of itself between the `---` lines at its beginning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrontMatter {
    /// Title, instead of the first heading.
    pub title: Option<String>,
    /// Not to be found: `search: {exclude: true}`, `search: exclude`, `draft: true`.
    pub excluded: bool,
    /// Factor on the score: `search: {boost: 2}`.
    pub boost: Option<f32>,
}

#[derive(Deserialize)]
struct Fields {
    title: Option<serde_json::Value>,
    draft: Option<serde_json::Value>,
    search: Option<serde_json::Value>,
}

/// Takes front matter, admonitions, tabs and snippets off.
pub(super) fn preprocess(source: &str) -> (FrontMatter, String) {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let (front_matter, body) = split_front_matter(source);
    (front_matter, plain_blocks(body))
}

fn split_front_matter(source: &str) -> (FrontMatter, &str) {
    let none = || (FrontMatter::default(), source);
    let Some(rest) = source.strip_prefix("---\n").or_else(|| source.strip_prefix("---\r\n")) else { return none() };
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            let yaml = rest.get(..end).unwrap_or_default();
            let body = rest.get(end + line.len()..).unwrap_or_default();
            return (read(yaml), body);
        }
        end += line.len();
        if end > 64 * 1024 {
            break;
        }
    }
    none()
}

/// Front matter that is not YAML is passed over, as MkDocs does.
fn read(yaml: &str) -> FrontMatter {
    let Ok(fields) = serde_saphyr::from_str::<Fields>(yaml) else { return FrontMatter::default() };
    let yes = |value: &serde_json::Value| value.as_bool() == Some(true) || value.as_str() == Some("exclude");
    let search = fields.search.as_ref();
    FrontMatter {
        title: fields
            .title
            .and_then(|title| title.as_str().map(str::to_owned))
            .filter(|title| !title.trim().is_empty()),
        excluded: fields.draft.as_ref().is_some_and(yes)
            || search.is_some_and(yes)
            || search.and_then(|search| search.get("exclude")).is_some_and(yes),
        #[expect(clippy::cast_possible_truncation, reason = "a factor near 1")]
        boost: search
            .and_then(|search| search.get("boost"))
            .and_then(serde_json::Value::as_f64)
            .map(|boost| boost.clamp(0.01, 100.0) as f32),
    }
}

/// Replaces the openers of admonitions and tabs by their title and moves their content to the left. Fenced code is left
/// alone but for that.
fn plain_blocks(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    // Indentations of the blocks that are open, outermost first.
    let mut open: Vec<usize> = Vec::new();
    let mut fence: Option<(char, usize)> = None;
    for line in body.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = line.trim();
        if fence.is_none() && !content.is_empty() {
            while open.last().is_some_and(|block| indent < block + 4) {
                open.pop();
            }
        }
        let shift = open.last().map_or(0, |block| block + 4).min(indent);
        let shifted = line.get(shift..).unwrap_or_default();
        if let Some((mark, length)) = fence {
            let closing = content.chars().take_while(|c| *c == mark).count();
            if closing >= length && content.chars().all(|c| c == mark) {
                fence = None;
            }
        } else if let Some(mark) = content.chars().next().filter(|c| matches!(c, '`' | '~')) {
            let length = content.chars().take_while(|c| *c == mark).count();
            if length >= 3 && !(mark == '`' && content.get(length..).unwrap_or_default().contains('`')) {
                fence = Some((mark, length));
            }
        } else if let Some(title) = opener(content) {
            open.push(indent);
            out.push_str("\n**");
            out.push_str(&title);
            out.push_str("**\n\n");
            continue;
        } else if let Some(title) = block_mark(content) {
            if let Some(title) = title {
                out.push_str("\n**");
                out.push_str(&title);
                out.push_str("**\n\n");
            } else {
                out.push('\n');
            }
            continue;
        } else if is_include(content) {
            continue;
        }
        out.push_str(shifted);
        out.push('\n');
    }
    out
}

/// A line that opens or closes one of PyMdown's generic blocks: three or more slashes, then nothing (a closer, `None`
/// inside) or a kind and perhaps a title (`/// note | Title`). Their content is not indented.
fn block_mark(content: &str) -> Option<Option<String>> {
    let rest = content.strip_prefix("///")?.trim_start_matches('/');
    if rest.is_empty() {
        return Some(None);
    }
    let (kind, title) = rest.strip_prefix(' ')?.split_once('|').unwrap_or((rest.trim_start(), ""));
    let (kind, title) = (kind.trim(), title.trim());
    if kind.is_empty() || !kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        return None;
    }
    let mut letters = kind.chars();
    let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    Some(Some(title.to_owned()).filter(|title| !title.is_empty()).or(capital))
}

/// A line that stands for another file: PyMdown's snippets, and the marks of two include extensions. What it would bring
/// in is not in the page's source.
fn is_include(content: &str) -> bool {
    let whole = |open, close| content.starts_with(open) && content.ends_with(close);
    content.starts_with("--8<--") || content.starts_with("; --8<--") || whole("{*", "*}") || whole("{!", "!}")
}

/// The title of an admonition (`!!! note "Title"`, `??? tip`, `???+ warning`) or of a tab (`=== "Title"`).
fn opener(content: &str) -> Option<String> {
    let rest = ["!!! ", "???+ ", "??? ", "===! ", "===+ ", "=== "]
        .iter()
        .find_map(|mark| content.strip_prefix(mark).map(|rest| (*mark, rest)));
    let (mark, rest) = rest?;
    let quoted = rest.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map(|(title, _)| title.to_owned());
    if mark.starts_with("===") {
        // A line of equals signs with text is a tab only if its title is in quotation marks.
        return quoted;
    }
    let kind = rest.split_whitespace().next()?;
    if !kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        return None;
    }
    let mut letters = kind.chars();
    let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    quoted.filter(|title| !title.is_empty()).or(capital)
}
