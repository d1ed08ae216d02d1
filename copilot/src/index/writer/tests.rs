use std::collections::BTreeMap;

use super::*;
use crate::index::block::Block;

fn chunk(url: &str, title: &str, body: &str) -> Chunk {
    Chunk {
        url: url.to_owned(),
        page_url: url.to_owned(),
        page_title: title.to_owned(),
        heading_path: vec![title.to_owned()],
        blocks: vec![Block::paragraph(body)],
        boost: 1.0,
        ..Chunk::default()
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(dir).unwrap().map(read).collect()
}

#[test]
fn the_same_chunks_give_the_same_bytes() {
    let chunks: Vec<Chunk> = (0..300)
        .map(|n| chunk(&format!("https://docs.example/p{n}/"), "Page", &format!("word{n} shared words")))
        .collect();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let summary = write(one.path(), &chunks, Language::English).unwrap();
    write(two.path(), &chunks, Language::English).unwrap();
    assert_eq!((summary.documents, summary.pages), (300, 300));
    assert_eq!(files(one.path()), files(two.path()));
    assert!(Index::open_in_dir(one.path()).is_ok());
}

#[test]
fn an_empty_corpus_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(write(dir.path(), &[], Language::English), Err(WriteFault::Empty)));
}
