//! Citations land: the same documents built by the real MkDocs, with and without Material, have every page and every
//! heading id that the index names, and the index names every heading that they have.

#![allow(clippy::unwrap_used, reason = "a test ends where its setting-up fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use copilot::index::{
    build::{self, Documents},
    mkdocs,
    select::{Form, Selection},
    site::Site,
};
use docsgate_harness::{
    process::hermetic,
    system_tool::shared_data,
    tools::{self, Tool},
};

const BASE: &str = "https://docs.example.org/base/";

/// Builds the site of `config` with the real MkDocs.
fn build_site(config: &Path, site: &Path) {
    let tool = tools::python_tool(Tool::MkDocs).unwrap();
    let mut command = Command::new(&tool.python);
    let output = hermetic(&mut command)
        .args(["-B", "-m", "mkdocs", "build", "--quiet", "--config-file"])
        .arg(config)
        .arg("--site-dir")
        .arg(site)
        .env("PYTHONPATH", &tool.modules)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ids of one built page: of all its elements, and of its headings.
struct BuiltPage {
    ids: BTreeSet<String>,
    headings: BTreeSet<String>,
}

fn built_page(html: &str) -> BuiltPage {
    let mut page = BuiltPage { ids: BTreeSet::new(), headings: BTreeSet::new() };
    for tag in html.split('<').skip(1) {
        let Some(tag) = tag.split('>').next() else { continue };
        let Some(id) = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()) else { continue };
        let heading = tag.starts_with('h') && tag.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        // Two dialogues of MkDocs' own theme have headings on every page.
        if heading && !id.ends_with("ModalLabel") {
            page.headings.insert(id.to_owned());
        }
        page.ids.insert(id.to_owned());
    }
    page
}

/// Where MkDocs wrote the page of a URL.
fn built_file(site: &Path, url: &str) -> PathBuf {
    let path = percent_encoding::percent_decode_str(url.strip_prefix(BASE).unwrap()).decode_utf8().unwrap();
    let file = site.join(path.as_ref());
    if path.is_empty() || path.ends_with('/') { file.join("index.html") } else { file }
}

/// The documents that a `mkdocs.yml` describes, read as the builder reads them.
fn read_as_settings_say(config: &Path) -> build::Read {
    let settings = mkdocs::read(config).unwrap();
    let site = Site::new(settings.site_url.as_deref().unwrap(), settings.directory_urls).unwrap();
    let documents = Documents {
        selection: Selection::new(&[], &settings.exclude).unwrap(),
        titles: settings.titles,
        slug: settings.slug,
        ..Documents::new(&settings.docs_dir, &site)
    };
    build::read(&documents, |_, _| {}).unwrap()
}

/// Compares what was read with the built site, both ways. Returns how many pages there are.
fn compare(read: &build::Read, site: &Path) -> usize {
    let mut anchors: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for chunk in &read.chunks {
        let of_page = anchors.entry(&chunk.page_url).or_default();
        of_page.extend(chunk.anchor.as_deref());
    }
    let mut wrong = Vec::new();
    for (url, of_page) in &anchors {
        let Ok(html) = fs::read_to_string(built_file(site, url)) else {
            wrong.push(format!("{url} is not built"));
            continue;
        };
        let built = built_page(&html);
        wrong
            .extend(of_page.iter().filter(|id| !built.ids.contains(**id)).map(|id| format!("{url}#{id} is not built")));
        let unknown = built.headings.iter().filter(|id| !of_page.contains(id.as_str()));
        wrong.extend(unknown.map(|id| format!("{url}#{id} is built and not in the index")));
    }
    assert!(wrong.is_empty(), "{} of {} pages:\n{}", wrong.len(), anchors.len(), wrong.join("\n"));
    anchors.len()
}

fn config(folder: &Path, docs: &Path, rest: &str) -> PathBuf {
    let file = folder.join("mkdocs.yml");
    fs::write(&file, format!("site_name: Truth\nsite_url: {BASE}\ndocs_dir: {}\n{rest}", docs.display())).unwrap();
    file
}

#[test]
fn a_material_site_has_every_page_and_heading_of_the_index() {
    let Some(data) = shared_data("fastapi-docs") else { return };
    let docs = data.join("docs/en/docs");
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let config = config(folder.path(), &docs, include_str!("mkdocs/material.yml"));
    build_site(&config, &site);
    let pages = compare(&read_as_settings_say(&config), &site);
    assert!(pages > 100, "only {pages} pages were compared");

    // The built site itself as the source: the same pages and ids once more.
    let base = Site::new(BASE, true).unwrap();
    let selection = Selection::new(&[], &["/404.html".to_owned()]).unwrap();
    let documents = Documents { form: Form::Html, selection, ..Documents::new(&site, &base) };
    assert_eq!(compare(&build::read(&documents, |_, _| {}).unwrap(), &site), pages);
}

#[test]
fn a_plain_site_has_every_page_and_heading_of_the_index() {
    let Some(docs) = shared_data("hybridops-docs") else { return };
    for directory_urls in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        let rest = format!("use_directory_urls: {directory_urls}\n");
        let config = config(folder.path(), &docs, &rest);
        build_site(&config, &site);
        let pages = compare(&read_as_settings_say(&config), &site);
        assert!(pages > 100, "only {pages} pages were compared");
    }
}

#[test]
fn a_sites_own_settings_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let pages = [
        ("index.md", "# Überblick & Start\n\ntext\n\n## Größe  und Form\n\nx\n\n## What's New?\n\nx\n"),
        ("guide/backup.md", "# Backup\n\ntext\n\n## Use\n\nx\n\n## Use\n\nx\n"),
        ("drafts/soon.md", "# Soon\n\ntext\n"),
        ("templates/page.md", "# Template\n\ntext\n"),
        ("guide/templates/kept.md", "# Kept\n\ntext\n"),
        (".well-known/about.md", "# About\n\ntext\n"),
        (".hidden/x.md", "# Hidden\n\ntext\n"),
    ];
    for (name, text) in pages {
        let file = folder.path().join("pages").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    for (slugify, urls) in [
        ("!!python/name:markdown.extensions.toc.slugify_unicode", true),
        ("!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}", false),
        ("!!python/object/apply:pymdownx.slugs.slugify {}", true),
    ] {
        let rest = format!(
            "use_directory_urls: {urls}\nexclude_docs: |\n  drafts/\n  !.well-known\nnav:\n  - Home: index.md\n  \
             - Keeping data: guide/backup.md\nmarkdown_extensions:\n  - toc:\n      slugify: {slugify}\n"
        );
        let config = config(folder.path(), Path::new("pages"), &rest);
        let site = tempfile::tempdir().unwrap();
        build_site(&config, site.path());
        let read = read_as_settings_say(&config);
        assert_eq!(compare(&read, site.path()), 4, "{slugify}");
        let titles: BTreeSet<&str> = read.chunks.iter().map(|chunk| chunk.page_title.as_str()).collect();
        assert!(titles.contains("Keeping data") && titles.contains("Home"), "{titles:?}");
        for left_out in ["drafts/soon", "templates/page", ".hidden/x"] {
            let built =
                built_file(site.path(), &Site::new(BASE, urls).unwrap().page_url(Path::new(&format!("{left_out}.md"))));
            assert!(!built.exists(), "MkDocs builds {left_out} after all");
        }
    }
}
