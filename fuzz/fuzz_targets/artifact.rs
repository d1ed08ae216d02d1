//! Artifacts as somebody who can write to a source puts them there: the archive itself, and what is around it.
#![no_main]

use std::{fs, path::PathBuf};

use copilot::corpus::artifact::{self, VerifyKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder: PathBuf = std::env::temp_dir().join(format!("docsgate-fuzz-{}", std::process::id()));
    let into = folder.join("into");
    fs::create_dir_all(&into).expect("a temporary folder");
    // The archive without its compression, which a fuzzer cannot make up.
    if let Ok(manifest) = artifact::unpack_tar(bytes, &into, None) {
        let written: u64 = fs::read_dir(&into)
            .expect("the folder")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len())
            .sum();
        assert!(written <= manifest.bytes, "more than its manifest admits");
    }
    let key = VerifyKey::parse("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=").expect("a key");
    assert!(artifact::unpack_tar(bytes, &folder, Some(&key)).is_err(), "signed by nobody");
    let file = folder.join("artifact");
    fs::write(&file, bytes).expect("a file");
    let _ = artifact::inspect(&file, None);
    fs::remove_dir_all(&folder).expect("the folder goes");
});
