use super::*;

fn project(yaml: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("docs")).unwrap();
    let file = folder.path().join("mkdocs.yml");
    fs::write(&file, yaml).unwrap();
    (folder, file)
}

#[test]
fn settings_are_read_past_tags_that_only_python_knows() {
    let (folder, file) = project(
        "site_name: Demo\nsite_url: https://docs.example.org/\nuse_directory_urls: false\n\
         exclude_docs: |\n  drafts/\n  !.well-known\nnav:\n  - Home: index.md\n  - Guides:\n      - Backups: guide/backup.md\n      \
         - guide/other.md\n      - Elsewhere: https://example.org/\nmarkdown_extensions:\n  - pymdownx.emoji:\n      \
         emoji_index: !!python/name:material.extensions.emoji.twemoji\n  - toc:\n      slugify: \
         !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}\nextra: !ENV [NOT_SET_HERE, 'x']\n",
    );
    let read = read(&file).unwrap();
    assert_eq!(read.docs_dir, folder.path().join("docs"));
    assert_eq!(read.site_url.as_deref(), Some("https://docs.example.org/"));
    assert!(!read.directory_urls);
    assert_eq!(read.exclude, ["drafts/", "!.well-known"]);
    let titles: Vec<_> = read.titles.iter().map(|(path, title)| format!("{path}={title}")).collect();
    assert_eq!(titles, ["guide/backup.md=Backups", "index.md=Home"]);
    assert_eq!(read.slug, Slug::PyMdownLower);
}

#[test]
fn it_governs_its_own_documents_only() {
    let (folder, _) = project("site_name: Demo\n");
    assert!(find(folder.path()).unwrap().is_some());
    assert!(find(&folder.path().join("docs")).unwrap().is_some());
    fs::create_dir(folder.path().join("other")).unwrap();
    assert!(find(&folder.path().join("other")).unwrap().is_none());
}

#[test]
fn what_cannot_be_read_is_named() {
    let (_folder, file) = project("site_name: [\n");
    assert!(read(&file).unwrap_err().contains("mkdocs.yml"));
    let (_folder, file) = project("INHERIT: mkdocs.yml\n");
    assert!(read(&file).unwrap_err().contains("circle"));
}

#[test]
fn settings_are_inherited() {
    let (folder, file) = project("INHERIT: base.yml\nsite_name: Own\n");
    fs::write(folder.path().join("base.yml"), "docs_dir: pages\nuse_directory_urls: false\n").unwrap();
    let read = read(&file).unwrap();
    assert_eq!((read.docs_dir, read.directory_urls), (folder.path().join("pages"), false));
}

#[test]
fn an_unknown_slug_function_is_known_to_be_unknown() {
    for (line, expected) in [
        ("slugify: !!python/name:markdown.extensions.toc.slugify_unicode", Slug::Unicode),
        ("slugify: !!python/object/apply:pymdownx.slugs.slugify {}", Slug::PyMdown),
        ("slugify: !!python/name:own.slugs.make", Slug::Unknown),
    ] {
        assert_eq!(slug(line), Some(expected), "{line}");
    }
    assert_eq!(slug("site_name: x"), None);
}
