//! Files that pages bring in: PyMdown's snippets, mdx-include's `{* … *}` and `{!> … !}`, Hugo's includes. Only files
//! below the folders that were named are read, so no page can carry anything else into a corpus.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use super::MAX_PAGE_BYTES;

/// Files that include files, at most.
pub(super) const MAX_DEPTH: usize = 3;
/// Bytes that one page may bring in.
const MAX_BYTES: u64 = MAX_PAGE_BYTES as u64;

/// Where included files may lie.
#[derive(Debug, Default)]
pub struct Includes<'a> {
    /// Folders, in the order in which they are tried. Canonical paths.
    roots: &'a [PathBuf],
    /// Folder of the page.
    page: Option<PathBuf>,
    read: Cell<u64>,
}

impl<'a> Includes<'a> {
    /// Below `roots` (canonical paths), for a page of the folder `page`.
    #[must_use]
    pub fn new(roots: &'a [PathBuf], page: Option<&Path>) -> Self {
        Self { roots, page: page.map(Path::to_owned), read: Cell::new(0) }
    }

    /// The text of a file by the name that a page gives it.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        let name = name.trim();
        if name.is_empty() || name.len() > 512 || self.roots.is_empty() || name.contains("://") {
            return None;
        }
        // Some extensions count from their own folder: `../../src/a.py` is also looked for as `src/a.py`.
        let inner = name.trim_start_matches("../").trim_start_matches("./").trim_start_matches('/');
        let beside = self.page.iter().map(|page| page.join(name));
        let below = self.roots.iter().flat_map(|root| {
            [
                root.join(name.trim_start_matches('/')),
                root.join(inner),
                root.join("includes").join(inner),
                root.join("examples").join(inner),
            ]
        });
        let path = beside.chain(below).find_map(|path| {
            let path = path.canonicalize().ok()?;
            (path.is_file() && self.roots.iter().any(|root| path.starts_with(root))).then_some(path)
        })?;
        let size = fs::metadata(&path).ok()?.len();
        let total = self.read.get().saturating_add(size);
        if total > MAX_BYTES {
            return None;
        }
        self.read.set(total);
        fs::read_to_string(path).ok()
    }

    /// What an include line stands for: `None` if it is no such line, an empty text if the file is not to be had.
    pub(super) fn line(&self, content: &str) -> Option<String> {
        if let Some(inside) = content.strip_prefix("{*").and_then(|rest| rest.strip_suffix("*}")) {
            return Some(self.fenced(inside));
        }
        let inside = content.strip_prefix("{!>").or_else(|| content.strip_prefix("{!"));
        if let Some(inside) = inside.and_then(|rest| rest.strip_suffix("!}")) {
            return Some(self.read(inside).unwrap_or_default());
        }
        let rest = content.strip_prefix("--8<--").or_else(|| content.strip_prefix("; --8<--"))?;
        let name = rest.trim().trim_matches(['"', '\'']);
        Some(self.snippet(name).unwrap_or_default())
    }

    /// `path ln[1:5] hl[2]`: code in a fence.
    fn fenced(&self, inside: &str) -> String {
        let mut words = inside.split_whitespace();
        let name = words.next().unwrap_or_default();
        let Some(text) = self.read(name) else { return String::new() };
        let ranges = words.find_map(|word| word.strip_prefix("ln[").and_then(|rest| rest.strip_suffix(']')));
        let text = ranges.map_or_else(|| text.clone(), |ranges| lines(&text, ranges));
        format!("\n```{}\n{}\n```\n", language(name), text.trim_end())
    }

    /// `path`, `path:2:9` (lines) or `path:name` (between `--8<-- [start:name]` and `[end:name]`).
    fn snippet(&self, name: &str) -> Option<String> {
        if let Some(text) = self.read(name) {
            return Some(without_section_marks(&text));
        }
        let (file, part) = name.split_once(':')?;
        let text = self.read(file)?;
        if part.starts_with(|c: char| c.is_ascii_digit() || c == ':') {
            return Some(lines(&text, part));
        }
        let mut inside = false;
        let mut kept = String::new();
        for line in text.lines() {
            if line.contains(&format!("[end:{part}]")) || line.contains(&format!("[end: {part}]")) {
                break;
            }
            if inside && !line.contains("--8<--") {
                kept.push_str(line);
                kept.push('\n');
            }
            inside |= line.contains(&format!("[start:{part}]")) || line.contains(&format!("[start: {part}]"));
        }
        Some(kept)
    }
}

fn without_section_marks(text: &str) -> String {
    text.lines().filter(|line| !line.contains("--8<-- [")).map(|line| format!("{line}\n")).collect()
}

/// Lines by ranges such as `2:9,12`, counted from 1.
fn lines(text: &str, ranges: &str) -> String {
    let mut kept = String::new();
    for range in ranges.split(',') {
        let mut ends = range.split(':').map(|end| end.trim().parse::<usize>().ok());
        let first = ends.next().flatten().unwrap_or(1).max(1);
        let last = ends.next().map_or(first, |end| end.unwrap_or(usize::MAX));
        for line in text.lines().skip(first - 1).take(last.saturating_sub(first).saturating_add(1)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The language of a file, by its name.
pub(super) fn language(file: &str) -> String {
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    let known = match extension {
        "py" => "python",
        "js" | "mjs" => "javascript",
        "ts" => "typescript",
        "rs" => "rust",
        "sh" | "bash" => "bash",
        "yml" => "yaml",
        "tf" => "terraform",
        "ps1" => "powershell",
        "md" => "markdown",
        other if other.len() <= 10 && other.bytes().all(|b| b.is_ascii_alphanumeric()) => other,
        _ => "",
    };
    known.to_owned()
}
