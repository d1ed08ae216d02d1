//! What `mkdocs.yml` says about where pages are, what they are called and how their headings get ids.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::anchor::Slug;

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
    let (settings, slug) = inherited(file, MAX_INHERITED)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let text = |name: &str| settings.get(name).and_then(value_text).filter(|text| !text.is_empty());
    let lines = |name: &str| text(name).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut titles = BTreeMap::new();
    nav_titles(settings.get("nav"), &mut titles);
    Ok(MkDocs {
        docs_dir: folder.join(text("docs_dir").unwrap_or_else(|| "docs".to_owned())),
        site_url: text("site_url"),
        directory_urls: settings.get("use_directory_urls").and_then(Value::as_bool).unwrap_or(true),
        titles,
        exclude: ["exclude_docs", "draft_docs"].into_iter().filter_map(lines).flatten().collect(),
        slug: slug.unwrap_or_default(),
        file: file.to_owned(),
    })
}

/// The settings of a file over those that it inherits.
fn inherited(file: &Path, depth: usize) -> Result<(Value, Option<Slug>), String> {
    let wrong = |error: String| format!("{}: {error}", file.display());
    let size = fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(wrong(format!("{size} bytes; {MAX_BYTES} are read at the most")));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let own: Value = serde_saphyr::from_str(&without_tags(&text)).map_err(|error| wrong(error.to_string()))?;
    if !own.is_object() {
        return Err(wrong("expected settings such as `site_name: …`".to_owned()));
    }
    let slug = slug(&text);
    let Some(base) = own.get("INHERIT").and_then(Value::as_str) else { return Ok((own, slug)) };
    if depth == 0 {
        return Err(wrong("INHERIT leads in a circle, or too far".to_owned()));
    }
    let (mut merged, base_slug) = inherited(&file.parent().unwrap_or(Path::new("")).join(base), depth - 1)?;
    if let (Some(merged), Value::Object(own)) = (merged.as_object_mut(), own) {
        merged.extend(own);
    }
    Ok((merged, slug.or(base_slug)))
}

/// A setting as text; of `!ENV [NAME, default]`, which becomes a list, the variable's value or the default.
fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => {
            let named = list.iter().filter_map(Value::as_str).find_map(|name| std::env::var(name).ok());
            named.or_else(|| list.last().filter(|_| list.len() > 1).and_then(Value::as_str).map(str::to_owned))
        }
        _ => None,
    }
}

/// The tags that MkDocs' extensions need (`!!python/name:…`, `!ENV`) mean nothing here, and no YAML reader knows them.
fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some(at) = ["!!python/", "!ENV", "!relative"].iter().filter_map(|tag| rest.find(tag)).min() {
            let (before, tagged) = rest.split_at(at);
            out.push_str(before);
            let end = tagged.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(tagged.len());
            rest = tagged.get(end..).unwrap_or_default();
        }
        out.push_str(rest);
    }
    out
}

/// The slug function that the table of contents is told to use. Only its name tells: it is a tag, not a value.
fn slug(text: &str) -> Option<Slug> {
    let mut lines = text.lines().skip_while(|line| !line.trim_start().trim_start_matches("- ").starts_with("slugify:"));
    let line = lines.next()?;
    let following: String = lines.take(4).collect();
    if line.contains("slugify_unicode") {
        return Some(Slug::Unicode);
    }
    let lower = following.contains("case: lower") || line.contains("case: lower");
    let pymdown = line.contains("pymdownx.slugs.slugify");
    Some(match (pymdown, lower, line.contains("pymdownx.slugs.uslugify")) {
        (true, true, _) => Slug::PyMdownLower,
        (true, false, _) if !following.contains("case:") && !line.contains("case:") => Slug::PyMdown,
        _ => Slug::Unknown,
    })
}

/// Titles of the pages in a `nav`, however deep.
fn nav_titles(nav: Option<&Value>, titles: &mut BTreeMap<String, String>) {
    let mut open: Vec<&Value> = nav.into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(entries) => {
                for (title, target) in entries {
                    match target.as_str() {
                        Some(path) if !path.contains("://") => {
                            titles.insert(path.trim_start_matches("./").to_owned(), title.clone());
                        }
                        Some(_) => {}
                        None => open.push(target),
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
