//! What `mkdocs.yml` says about where pages are, what they are called and how their headings get ids.

mod yaml;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use super::anchor::Slug;
use yaml::Node;

/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 20;
/// Longest chain of `INHERIT`.
const MAX_INHERITED: usize = 8;

/// The settings that an index depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MkDocs {
    /// The file.
    pub file: PathBuf,
    /// The folder that holds the pages.
    pub docs_dir: PathBuf,
    /// Where the site is published.
    pub site_url: Option<String>,
    /// Pages are published as `a/b/`, not `a/b.html`.
    pub directory_urls: bool,
    /// Titles from `nav`, by the page's path.
    pub titles: BTreeMap<String, String>,
    /// Patterns of `exclude_docs` and `draft_docs`, a line each.
    pub exclude: Vec<String>,
    /// How headings get their ids.
    pub slug: Slug,
}

/// The `mkdocs.yml` that governs `docs`: in the folder itself, or one above when its `docs_dir` is that folder.
///
/// # Errors
/// What is wrong with the file.
pub fn find(docs: &Path) -> Result<Option<MkDocs>, String> {
    let in_folder = |folder: &Path| ["mkdocs.yml", "mkdocs.yaml"].map(|name| folder.join(name));
    if let Some(file) = in_folder(docs).into_iter().find(|file| file.is_file()) {
        return read(&file).map(Some);
    }
    let Some(docs) = docs.canonicalize().ok() else { return Ok(None) };
    let Some(file) = docs.parent().and_then(|above| in_folder(above).into_iter().find(|file| file.is_file())) else {
        return Ok(None);
    };
    let found = read(&file)?;
    Ok(Some(found).filter(|found| found.docs_dir.canonicalize().is_ok_and(|governed| governed == docs)))
}

/// Reads a `mkdocs.yml`.
///
/// # Errors
/// A sentence with the file's name.
pub fn read(file: &Path) -> Result<MkDocs, String> {
    let settings = inherited(file, MAX_INHERITED)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let text = |name: &str| settings.get(name).and_then(text_of).filter(|text| !text.is_empty());
    let lines = |name: &str| text(name).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut titles = BTreeMap::new();
    nav_titles(settings.get("nav"), &mut titles);
    Ok(MkDocs {
        docs_dir: folder.join(text("docs_dir").unwrap_or_else(|| "docs".to_owned())),
        site_url: text("site_url"),
        directory_urls: text("use_directory_urls").is_none_or(|value| !is_no(&value)),
        titles,
        exclude: ["exclude_docs", "draft_docs"].into_iter().filter_map(lines).flatten().collect(),
        slug: slug(&settings).unwrap_or_default(),
        file: file.to_owned(),
    })
}

/// The settings of a file over those that it inherits.
fn inherited(file: &Path, depth: usize) -> Result<Node, String> {
    let wrong = |error: String| format!("{}: {error}", file.display());
    let size = fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(wrong(format!("{size} bytes; {MAX_BYTES} are read at the most")));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let own = yaml::parse(&text).map_err(wrong)?;
    if !own.is_map() {
        return Err(wrong("expected settings such as `site_name: …`".to_owned()));
    }
    let Some(base) = own.get("INHERIT").and_then(text_of) else { return Ok(own) };
    if depth == 0 {
        return Err(wrong("INHERIT leads in a circle, or too far".to_owned()));
    }
    let base = inherited(&file.parent().unwrap_or(Path::new("")).join(base), depth - 1)?;
    Ok(own.over(base))
}

/// A setting as text; of `!ENV NAME` and `!ENV [NAME, default]`, the variable's value or the default.
fn text_of(node: &Node) -> Option<String> {
    if node.tag() != "!ENV" {
        return node.text().map(str::to_owned);
    }
    let listed: Vec<&str> = node.items().filter_map(Node::text).collect();
    let (names, default) = match listed.split_last() {
        Some((default, names)) if !names.is_empty() => (names, Some((*default).to_owned())),
        _ => (listed.as_slice(), None),
    };
    let named = node.text().into_iter().chain(names.iter().copied()).find_map(|name| env::var(name).ok());
    named.or(default)
}

/// A false of YAML 1.1, which MkDocs reads.
fn is_no(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "false" | "no" | "off")
}

/// The slug function that the table of contents is told to use. Its name is a tag, not a value.
fn slug(settings: &Node) -> Option<Slug> {
    let extensions = settings.get("markdown_extensions")?;
    // Either a map, or a list of names and maps.
    let maps = std::iter::once(extensions).chain(extensions.items());
    let toc = maps.filter_map(|map| map.get("toc").or_else(|| map.get("markdown.extensions.toc"))).last()?;
    let function = toc.get("slugify")?;
    let name = function.tag().rsplit(':').next().unwrap_or_default();
    let arguments: Vec<(&str, &Node)> = function.get("kwds").into_iter().flat_map(Node::entries).collect();
    Some(match (name, arguments.as_slice()) {
        ("markdown.extensions.toc.slugify_unicode", _) => Slug::Unicode,
        ("pymdownx.slugs.slugify", []) => Slug::PyMdown,
        ("pymdownx.slugs.slugify", [("case", case)]) if case.text() == Some("lower") => Slug::PyMdownLower,
        _ => Slug::Unknown,
    })
}

/// Titles of the pages in a `nav`, however deep.
fn nav_titles(nav: Option<&Node>, titles: &mut BTreeMap<String, String>) {
    let mut open: Vec<&Node> = nav.into_iter().collect();
    while let Some(node) = open.pop() {
        open.extend(node.items());
        for (title, target) in node.entries() {
            match target.text() {
                Some(path) if !path.contains("://") => {
                    titles.insert(path.trim_start_matches("./").to_owned(), title.to_owned());
                }
                Some(_) => {}
                None => open.push(target),
            }
        }
    }
}

#[cfg(test)]
mod tests;
