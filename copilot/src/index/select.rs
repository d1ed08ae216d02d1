//! Which files of a folder are pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::fault::BuildFault;

/// Most pages of a corpus.
const MAX_PAGES: usize = 200_000;
/// What MkDocs leaves out unless `exclude_docs` takes it in again.
const USUALLY_LEFT_OUT: [&str; 2] = [".*", "/templates/"];

/// What the pages are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Markdown, as MkDocs reads it.
    #[default]
    Markdown,
    /// A built site.
    Html,
}

impl Form {
    fn is_page(self, path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match self {
            Self::Markdown => matches!(extension, "md" | "markdown" | "mdx"),
            Self::Html => matches!(extension, "html" | "htm"),
        }
    }
}

/// Patterns in the form of `.gitignore`, as MkDocs takes them for `exclude_docs`.
#[derive(Debug, Clone)]
pub struct Selection {
    exclude: Gitignore,
    include: Option<Gitignore>,
    /// Something hidden may have been taken in again.
    hidden: bool,
}

impl Default for Selection {
    fn default() -> Self {
        // The usual patterns are well-formed; an empty matcher leaves nothing out.
        let exclude = patterns(&USUALLY_LEFT_OUT).unwrap_or_else(|_| Gitignore::empty());
        Self { exclude, include: None, hidden: false }
    }
}

impl Selection {
    /// Leaves out what `exclude` matches and, when `include` has any, what none of it matches.
    ///
    /// # Errors
    /// The pattern that is not one.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        let all: Vec<&str> = USUALLY_LEFT_OUT.into_iter().chain(exclude.iter().map(String::as_str)).collect();
        let include: Vec<&str> = include.iter().map(String::as_str).collect();
        Ok(Self {
            exclude: patterns(&all)?,
            include: if include.is_empty() { None } else { Some(patterns(&include)?) },
            hidden: exclude.iter().any(|pattern| pattern.starts_with('!')),
        })
    }

    /// Why a file is left out, if it is.
    fn refuses(&self, relative: &Path) -> Option<&'static str> {
        if self.exclude.matched_path_or_any_parents(relative, false).is_ignore() {
            return Some("a pattern excludes it");
        }
        let included = |include: &Gitignore| include.matched_path_or_any_parents(relative, false).is_ignore();
        (!self.include.as_ref().is_none_or(included)).then_some("no --include matches it")
    }
}

fn patterns(lines: &[&str]) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(|error| format!("`{line}`: {error}"))?;
    }
    builder.build().map_err(|error| error.to_string())
}

/// The pages of a folder, and what looks like one and is left out.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) pages: Vec<PathBuf>,
    pub(super) left_out: Vec<(String, String)>,
}

/// Every page below a folder, by path; `index.md` before `README.md`, which MkDocs then leaves out. Links to folders are
/// not followed, so a loop cannot trap the walk.
pub(super) fn files(docs: &Path, form: Form, selection: &Selection) -> Result<Files, BuildFault> {
    if !docs.exists() {
        return Err(BuildFault::Missing(docs.display().to_string()));
    }
    if !docs.is_dir() {
        return Err(BuildFault::NotFolder(docs.display().to_string()));
    }
    let mut files = Files::default();
    let mut folders = vec![docs.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |cause| BuildFault::Unreadable { path: folder.display().to_string(), cause };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden && !selection.hidden {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if form.is_page(&path) && is_own_file(&path, kind, docs) {
                let relative = path.strip_prefix(docs).unwrap_or(&path);
                match selection.refuses(relative) {
                    None => files.pages.push(path),
                    // Nobody asks why a hidden file is missing.
                    Some(_) if hidden => {}
                    Some(reason) => {
                        files.left_out.push((relative.to_string_lossy().into_owned(), reason.to_owned()));
                    }
                }
            }
        }
        if files.pages.len() > MAX_PAGES {
            return Err(BuildFault::TooMany(docs.display().to_string(), MAX_PAGES));
        }
    }
    files.pages.sort_by_key(|path| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        (path.parent().map(Path::to_owned), stem == "README", path.clone())
    });
    files.left_out.sort();
    Ok(files)
}

/// Whether this is a file of the folder itself. A link to a file elsewhere is not: it could carry a member's page into the
/// public corpus.
fn is_own_file(path: &Path, kind: fs::FileType, docs: &Path) -> bool {
    if !kind.is_symlink() {
        return kind.is_file();
    }
    let (Ok(target), Ok(docs)) = (path.canonicalize(), docs.canonicalize()) else { return false };
    target.is_file() && target.starts_with(docs)
}
