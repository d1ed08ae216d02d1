//! A tree of pages → the chunks of a corpus.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{
    anchor::Slug,
    block::Block,
    chunk::Chunk,
    fault::BuildFault,
    html,
    markdown::{self, Includes, MAX_PAGE_BYTES},
    page::{Page, Section},
    select::{self, Form, Selection},
    site::{Site, is_index},
};

/// Words after which a long section is split before the next block that begins something new.
const SPLIT_WORDS: usize = 320;
/// Words after which it is split before any block.
const LONGEST_WORDS: usize = 800;

/// What to read, and how its site is made.
#[derive(Debug, Clone)]
pub struct Documents<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Where it is published.
    pub site: &'a Site,
    /// Markdown or built HTML.
    pub form: Form,
    /// Which files count.
    pub selection: Selection,
    /// Titles by path, which come before the pages' own.
    pub titles: BTreeMap<String, String>,
    /// How headings get their ids.
    pub slug: Slug,
    /// Folders besides `folder` that hold files which pages bring in.
    pub include_from: Vec<PathBuf>,
}

impl<'a> Documents<'a> {
    /// All Markdown of a folder, with nothing but MkDocs' defaults.
    #[must_use]
    pub fn new(folder: &'a Path, site: &'a Site) -> Self {
        Self {
            folder,
            site,
            form: Form::default(),
            selection: Selection::default(),
            titles: BTreeMap::new(),
            slug: Slug::default(),
            include_from: Vec::new(),
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// Sections, in the order of the pages' paths.
    pub chunks: Vec<Chunk>,
    /// Pages that are in the corpus.
    pub pages: usize,
    /// Bytes of their source.
    pub bytes: u64,
    /// Pages that are not, and why.
    pub skipped: Vec<(String, String)>,
}

/// Reads every page of the documents. `progress` is told of each.
///
/// # Errors
/// [`BuildFault`] for what makes the whole corpus unusable; a single bad page is skipped and named.
pub fn read(documents: &Documents<'_>, mut progress: impl FnMut(usize, usize)) -> Result<Read, BuildFault> {
    let (docs, site) = (documents.folder, documents.site);
    let select::Files { pages: files, left_out } = select::files(docs, documents.form, &documents.selection)?;
    let mut read = Read { skipped: left_out, ..Read::default() };
    let roots: Vec<PathBuf> = std::iter::once(docs)
        .chain(documents.include_from.iter().map(PathBuf::as_path))
        .filter_map(|root| root.canonicalize().ok())
        .collect();
    let mut sources = Sources { documents, roots, urls: HashMap::new() };
    let mut pages: Vec<(PathBuf, String, Page)> = Vec::new();
    for (index, path) in files.iter().enumerate() {
        progress(index, files.len());
        let relative = path.strip_prefix(docs).unwrap_or(path).to_owned();
        let name = relative.to_string_lossy().into_owned();
        let url = match documents.form {
            // Hugo's index is `_index.md`; beside it a README is a page like any other.
            Form::Markdown if is_readme_beside_index(path) => site.page_url(&relative.with_file_name("readme.md")),
            Form::Markdown => site.page_url(&relative),
            Form::Html => site.built_url(&relative),
        };
        match sources.page(path, &name, &url)? {
            Ok((page, bytes)) => {
                read.bytes += bytes;
                pages.push((relative, url, page));
            }
            Err(reason) => read.skipped.push((name, reason)),
        }
    }
    progress(files.len(), files.len());
    let titles = titles(&pages, &documents.titles);
    for ((relative, url, page), title) in pages.iter().zip(titles) {
        let chunks = chunks(relative, url, page, &title);
        if chunks.is_empty() {
            read.skipped.push((relative.to_string_lossy().into_owned(), "it has no text".into()));
        } else {
            read.pages += 1;
        }
        read.chunks.extend(chunks);
    }
    if read.chunks.is_empty() {
        let expected = match documents.form {
            Form::Markdown => "Markdown files (*.md), or --html and a built site",
            Form::Html => "the pages of a built site (*.html)",
        };
        return Err(BuildFault::Empty { folder: docs.display().to_string(), skipped: read.skipped.len(), expected });
    }
    Ok(read)
}

fn is_readme_beside_index(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "README") && path.with_file_name("_index.md").is_file()
}

/// Where pages are read from, and what was read.
struct Sources<'a> {
    documents: &'a Documents<'a>,
    /// Folders of files that pages bring in.
    roots: Vec<PathBuf>,
    /// URLs of the pages so far, with their names.
    urls: HashMap<String, String>,
}

impl Sources<'_> {
    /// Reads one page, or says why it is skipped.
    fn page(&mut self, path: &Path, name: &str, url: &str) -> Result<Result<(Page, u64), String>, BuildFault> {
        let unreadable = |cause| BuildFault::Unreadable { path: path.display().to_string(), cause };
        let size = fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_PAGE_BYTES as u64 {
            return Ok(Err(format!("{size} bytes; a page has {MAX_PAGE_BYTES} at the most")));
        }
        let text = match String::from_utf8(fs::read(path).map_err(unreadable)?) {
            Ok(text) => text,
            Err(error) => return Ok(Err(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))),
        };
        let page = match self.documents.form {
            Form::Markdown => {
                markdown::parse_with(&text, self.documents.slug, &Includes::new(&self.roots, path.parent()))
            }
            Form::Html => match html::parse(&text) {
                Some(page) => page,
                None => return Ok(Err("its elements nest too deep".into())),
            },
        };
        if page.front_matter.excluded {
            return Ok(Err("it asks to be left out".into()));
        }
        if let Some(other) = self.urls.get(url) {
            return Ok(Err(format!("{other} has the same URL {url}")));
        }
        self.urls.insert(url.to_owned(), name.to_owned());
        Ok(Ok((page, size)))
    }
}

/// Titles that tell pages apart: where several pages have one title, each says where it lies.
fn titles(pages: &[(PathBuf, String, Page)], given: &BTreeMap<String, String>) -> Vec<String> {
    let plain: Vec<String> = pages
        .iter()
        .map(|(relative, _, page)| {
            let given = given.get(relative.to_string_lossy().as_ref());
            given.cloned().unwrap_or_else(|| title(relative, page))
        })
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for title in &plain {
        *counts.entry(title).or_default() += 1;
    }
    let distinct = |(title, (relative, _, _)): (&String, &(PathBuf, String, Page))| {
        let folder = relative.with_extension("");
        let place = if is_index(&folder.file_name().unwrap_or_default().to_string_lossy()) {
            relative.parent()
        } else {
            Some(folder.as_path())
        };
        match place.map(|place| place.to_string_lossy().into_owned()).filter(|place| !place.is_empty()) {
            Some(place) if counts.get(title.as_str()).is_some_and(|count| *count > 1) => format!("{title} ({place})"),
            _ => title.clone(),
        }
    };
    plain.iter().zip(pages).map(distinct).collect()
}

/// Front matter, else the first heading, else the name of the file or (of an index) its folder.
fn title(relative: &Path, page: &Page) -> String {
    let from_path = || {
        let stem = relative.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = relative.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let name = if is_index(&stem) { folder.unwrap_or_else(|| "Home".to_owned()) } else { stem };
        name.replace(['-', '_'], " ")
    };
    page.front_matter.title.clone().or_else(|| page.heading.clone()).unwrap_or_else(from_path)
}

/// A page's sections as chunks.
fn chunks(relative: &Path, url: &str, page: &Page, title: &str) -> Vec<Chunk> {
    let mut out = Vec::new();
    let mut path: Vec<(u8, String)> = Vec::new();
    let mut ordinal = 0;
    for section in &page.sections {
        if section.level > 0 {
            while path.last().is_some_and(|(level, _)| *level >= section.level) {
                path.pop();
            }
            path.push((section.level, section.heading.clone()));
        }
        // Every path begins with the page's title, which is its own heading unless the site gives another.
        let is_title = |level: u8, heading: &str| {
            let rest = title.strip_prefix(heading).filter(|rest| rest.is_empty() || rest.starts_with(" ("));
            level == 1 && page.heading.as_deref() == Some(heading) && rest.is_some()
        };
        let own = path.iter().filter(|(level, heading)| !is_title(*level, heading));
        let heading_path: Vec<String> =
            std::iter::once(title.to_owned()).chain(own.map(|(_, heading)| heading.clone())).collect();
        for blocks in parts(section) {
            let chunk = Chunk {
                url: section.anchor.as_ref().map_or_else(|| url.to_owned(), |anchor| format!("{url}#{anchor}")),
                page_url: url.to_owned(),
                page_title: title.to_owned(),
                heading_path: heading_path.clone(),
                anchor: section.anchor.clone(),
                ordinal,
                blocks: blocks.to_vec(),
                source_path: relative.to_string_lossy().into_owned(),
                section: relative
                    .parent()
                    .and_then(|parent| parent.iter().next())
                    .map(|part| part.to_string_lossy().into_owned()),
                boost: page.front_matter.boost.unwrap_or(1.0),
            };
            ordinal += 1;
            out.push(chunk);
        }
    }
    out
}

/// A section in one piece, or, when it is long, in several; blocks stay whole, and so do a list and what its
/// introduction announces. A heading without text of its own is kept when it says more than its place does: it can be
/// what a reader looks for.
fn parts(section: &Section) -> Vec<&[Block]> {
    if section.blocks.is_empty() {
        return if section.level > 0 { vec![&[]] } else { Vec::new() };
    }
    let mut parts = Vec::new();
    let (mut start, mut words) = (0, 0);
    for (index, block) in section.blocks.iter().enumerate() {
        words += block.text.split_whitespace().count();
        let Some(next) = section.blocks.get(index + 1) else { break };
        let belongs = next.depth > 0 || next.is_code() || block.introduces();
        if words > LONGEST_WORDS || (words > SPLIT_WORDS && !belongs) {
            parts.extend(section.blocks.get(start..=index));
            (start, words) = (index + 1, 0);
        }
    }
    parts.extend(section.blocks.get(start..));
    parts
}

#[cfg(test)]
mod tests;
