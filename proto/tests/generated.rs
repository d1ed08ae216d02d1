//! The committed Rust is what the protocol buffers say.

#![allow(clippy::expect_used, reason = "a test ends where its setting-up fails")]

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message as _;

const FILES: [&str; 1] = ["docsgate/copilot/v1/retrieval.proto"];

#[test]
fn the_committed_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root]).expect("the protocol buffers compile");
    let out = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors.clone())
        .expect("code is generated");
    fs::write(out.path().join("descriptors.bin"), descriptors.encode_to_vec()).expect("descriptors are written");
    let committed = root.join("src/generated");
    let fresh = files(out.path());
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&committed).expect("the folder is made");
        for (name, bytes) in &fresh {
            fs::write(committed.join(name), bytes).expect("a file is written");
        }
    }
    let kept = files(&committed);
    let stale: Vec<&String> =
        fresh.keys().chain(kept.keys()).filter(|name| fresh.get(*name) != kept.get(*name)).collect();
    assert!(stale.is_empty(), "run UPDATE=1 cargo test -p docsgate-proto: {stale:?} are not current");
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("a readable file"))
    };
    fs::read_dir(folder).expect("a folder").map(read).collect()
}
