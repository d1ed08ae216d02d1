use super::*;

fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn read_tree(files: &[(&str, &[u8])]) -> Result<Read, BuildFault> {
    let folder = tree(files);
    read(&Documents::new(folder.path(), &Site::new("https://docs.example.org/", true).unwrap()), |_, _| {})
}

#[test]
fn sections_know_where_they_stand() {
    let read = read_tree(&[(
        "guide/a.md",
        b"# Guide\n\nIntro.\n\n## Install\n\n### Linux\n\nUse apt.\n\n```sh\napt install x\n```\n\n## Use\n\nRun it.\n",
    )])
    .unwrap();
    let shown: Vec<String> = read
        .chunks
        .iter()
        .map(|chunk| format!("{} [{}] {} | {}", chunk.url, chunk.heading_path.join(" > "), chunk.body(), chunk.code()))
        .collect();
    assert_eq!(
        shown,
        [
            "https://docs.example.org/guide/a/#guide [Guide] Intro. | ",
            "https://docs.example.org/guide/a/#install [Guide > Install]  | ",
            "https://docs.example.org/guide/a/#linux [Guide > Install > Linux] Use apt. | apt install x",
            "https://docs.example.org/guide/a/#use [Guide > Use] Run it. | ",
        ]
    );
    assert_eq!(read.chunks[0].section.as_deref(), Some("guide"));
}

#[test]
fn long_sections_are_split_between_blocks() {
    let paragraph = "word ".repeat(200);
    let text = format!("# T\n\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n");
    let read = read_tree(&[("a.md", text.as_bytes())]).unwrap();
    assert_eq!(read.chunks.iter().map(|chunk| chunk.body().split_whitespace().count()).collect::<Vec<_>>(), [400, 400]);
    assert_eq!(read.chunks.iter().map(|chunk| chunk.ordinal).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn pages_with_one_title_are_told_apart() {
    let read =
        read_tree(&[("x/README.md", b"# Module\n\na"), ("y/README.md", b"# Module\n\nb"), ("z.md", b"# Other\n\nc")])
            .unwrap();
    let titles: Vec<&str> = read.chunks.iter().map(|chunk| chunk.page_title.as_str()).collect();
    assert_eq!(titles, ["Other", "Module (x)", "Module (y)"]);
}

#[test]
fn bad_pages_are_skipped_by_name_and_the_rest_is_read() {
    let large = vec![b'a'; MAX_PAGE_BYTES + 1];
    let read = read_tree(&[
        ("good.md", b"# Good\n\ntext"),
        ("latin.md", b"# caf\xe9"),
        ("large.md", &large),
        ("draft.md", b"---\ndraft: true\n---\n# Draft"),
        ("a/index.md", b"# Index\n\nx"),
        ("a/README.md", b"# Readme\n\ny"),
        ("empty.md", b""),
        (".hidden/x.md", b"# Hidden\n\nz"),
        ("note.txt", b"not markdown"),
    ])
    .unwrap();
    let mut skipped: Vec<String> = read.skipped.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    skipped.sort();
    assert_eq!(read.pages, 2);
    insta::assert_snapshot!(skipped.join("\n"), @r"
    a/README.md: a/index.md has the same URL https://docs.example.org/a/
    draft.md: it asks to be left out
    empty.md: it has no text
    large.md: 4194305 bytes; a page has 4194304 at the most
    latin.md: byte 5 is not UTF-8
    ");
}

#[test]
fn folders_without_pages_are_refused_in_one_sentence() {
    let site = Site::new("https://docs.example.org/", true).unwrap();
    let fault = |path: &Path| read(&Documents::new(path, &site), |_, _| {}).unwrap_err().to_string();
    let folder = tree(&[("only.txt", b"x")]);
    assert!(fault(&folder.path().join("missing")).ends_with("does not exist"));
    assert!(fault(&folder.path().join("only.txt")).contains("is not a folder"));
    assert!(fault(folder.path()).contains("holds no page"));
}

#[test]
fn a_loop_of_links_ends() {
    let folder = tree(&[("a/x.md", b"# X\n\ntext")]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    let site = Site::new("https://docs.example.org/", true).unwrap();
    assert_eq!(read(&Documents::new(folder.path(), &site), |_, _| {}).unwrap().pages, 1);
}

#[test]
fn a_link_to_a_page_elsewhere_is_not_followed() {
    let member = tree(&[("secret.md", b"# Secret\n\nmembers only")]);
    let public = tree(&[("open.md", b"# Open\n\ntext")]);
    std::os::unix::fs::symlink(member.path().join("secret.md"), public.path().join("secret.md")).unwrap();
    let site = Site::new("https://docs.example.org/", true).unwrap();
    let read = read(&Documents::new(public.path(), &site), |_, _| {}).unwrap();
    assert_eq!((read.pages, read.chunks[0].page_title.as_str()), (1, "Open"));
}
