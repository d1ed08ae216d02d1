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
    for (extensions, expected) in [
        ("[toc: {slugify: !!python/name:markdown.extensions.toc.slugify_unicode }]", Slug::Unicode),
        ("[toc: {slugify: !!python/object/apply:pymdownx.slugs.slugify {}}]", Slug::PyMdown),
        ("{toc: {slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}}}", Slug::PyMdownLower),
        ("[toc: {slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: fold}}}]", Slug::Unknown),
        ("[toc: {slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {percent_encode: 1}}}]", Slug::Unknown),
        ("[toc: {slugify: !!python/name:own.slugs.make }]", Slug::Unknown),
        ("[toc, {other: {slugify: !!python/name:own.slugs.make }}]", Slug::Ascii),
    ] {
        let (_folder, file) = project(&format!("markdown_extensions: {extensions}\n"));
        assert_eq!(read(&file).unwrap().slug, expected, "{extensions}");
    }
}

#[test]
fn tags_in_text_and_comments_are_text() {
    let (_folder, file) = project(
        "# slugify: !ENV\nsite_url: 'https://x/!ENV/'\nnav:\n  - \"About !ENV and !!python/x\": about.md\n\
         use_directory_urls: No\ndocs_dir: !ENV [NOT_SET_HERE, NOT_THERE_EITHER, pages]\n",
    );
    let read = read(&file).unwrap();
    assert_eq!(read.site_url.as_deref(), Some("https://x/!ENV/"));
    assert_eq!(read.titles["about.md"], "About !ENV and !!python/x");
    assert!(!read.directory_urls && read.docs_dir.ends_with("pages"));
}

#[test]
fn anchors_and_merges_are_followed_within_a_bound() {
    let (_folder, file) =
        project("base: &base {docs_dir: pages, site_url: https://b/}\n<<: *base\nsite_url: https://own/\n");
    let found = read(&file).unwrap();
    assert!(found.docs_dir.ends_with("pages"));
    assert_eq!(found.site_url.as_deref(), Some("https://own/"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let before = format!("*a{}, ", level - 1).repeat(8);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    bomb.push_str("nav: *a19\n");
    let (_folder, file) = project(&bomb);
    assert!(read(&file).unwrap_err().contains("more than"));
    let (_folder, file) = project(&format!("nav: {}{}\n", "[".repeat(500), "]".repeat(500)));
    let fault = read(&file).unwrap_err();
    assert!(fault.contains("deep") || fault.contains("recursion"), "{fault}");
}
