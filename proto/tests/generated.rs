//! The committed Rust is what the protocol buffers say.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends where its setting-up fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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
    fs::write(out.path().join("external_auth.bin"), external_auth()).expect("descriptors are written");
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

/// Descriptors of Envoy's `external_auth.proto` and all that it imports, from the files that `envoy-types` was made from.
fn external_auth() -> Vec<u8> {
    let protos = envoy_types().join("proto");
    let folders = fs::read_dir(&protos).expect("envoy-types carries its protocol buffers");
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.expect("an entry").path()).collect();
    folders.push(protos.join("cel-spec/proto"));
    folders.sort();
    let mut set =
        protox::compile(["envoy/service/auth/v3/external_auth.proto"], folders).expect("Envoy's files compile");
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set.encode_to_vec()
}

/// Where cargo keeps the sources of `envoy-types`.
fn envoy_types() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "envoy-types").expect("envoy-types is used");
    let manifest = package["manifest_path"].as_str().expect("a path");
    Path::new(manifest).parent().expect("a folder").to_path_buf()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("a readable file"))
    };
    fs::read_dir(folder).expect("a folder").map(read).collect()
}
