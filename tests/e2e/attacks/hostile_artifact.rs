//! Artifacts of kilobytes that make their reader take gigabytes, before anybody has looked at a signature: long names,
//! PAX records, sparse files and links that a tar reader follows in memory, bombs, and huge windows.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use docsgate_harness::copilot::{Copilot, Docs, Options, verify_key};
use docsgate_harness::paths;
use tar::EntryType;

use crate::gate::{SITE, client, data, eventually, open_folder};

/// Most memory that `index verify` and `serve` may ever have taken.
const MOST_KIB: u64 = 200 * 1024;
/// What the hostile entries announce.
const ANNOUNCED: u64 = 2 << 30;

#[test]
fn hostile_artifacts_cost_little_memory_and_the_last_good_one_is_served() {
    let folder = open_folder();
    let public = Docs { corpus: "public".to_owned(), folder: data().join("docs/public"), site_url: SITE.to_owned() };
    let (good, _) = public.index(folder.path()).unwrap();
    let key = verify_key(folder.path());
    let live = folder.path().join("live.docsgate");
    put(&fs::read(&good).unwrap(), &live);
    let grant_key = folder.path().join("grant.keys");
    fs::write(&grant_key, format!("k1:{}\n", "0123456789abcdef".repeat(4))).unwrap();
    let copilot = Copilot::start(&Options {
        folder: folder.path().to_path_buf(),
        corpora: vec![("public".to_owned(), live.clone())],
        grant_key,
        verify_key: key.clone(),
        extra: vec!["--poll-seconds=1".to_owned()],
        env: Vec::new(),
    })
    .unwrap();
    let version = metric_line(&copilot, "docsgate_copilot_index_info{");

    let hostile = folder.path().join("hostile.docsgate");
    for (name, artifact, expected) in artifacts(&next_edition(folder.path())) {
        assert!(artifact.len() < 4 << 20, "{name} has {} bytes", artifact.len());
        fs::write(&hostile, &artifact).unwrap();
        for with_key in [true, false] {
            let key = with_key.then_some(key.as_path());
            let (code, peak, said) = verify(&hostile, key);
            assert!(code == 1 && said.contains(expected), "{name}: exit code {code}: {said}");
            assert!(peak < MOST_KIB, "{name}: index verify took {peak} KiB");
        }
        let before = refusals(&copilot);
        put(&artifact, &live);
        eventually(&format!("the refusal of {name}"), || (refusals(&copilot) > before).then_some(()));
        let state = client().get(format!("{}/readyz", copilot.admin_url)).send().unwrap();
        assert_eq!(state.status(), 200, "{name}: the last good artifact is served");
        let state: serde_json::Value = state.json().unwrap();
        let fault = state["corpora"][0]["fault"].as_str().unwrap();
        assert!(fault.contains(expected), "{name}: {fault}");
        assert_eq!(metric_line(&copilot, "docsgate_copilot_index_info{"), version, "{name}");
        let peak = peak_of(copilot.process.pid());
        assert!(peak < MOST_KIB, "{name}: serve took {peak} KiB");
    }
    put(&fs::read(&good).unwrap(), &live);
    eventually("the good artifact again", || {
        let state: serde_json::Value =
            client().get(format!("{}/readyz", copilot.admin_url)).send().ok()?.json().ok()?;
        state["corpora"][0]["fault"].is_null().then_some(())
    });
}

/// Another artifact with the same key: one that copilot does not have yet, so that it has to be read.
fn next_edition(folder: &Path) -> PathBuf {
    let other = folder.join("other");
    fs::create_dir(&other).unwrap();
    for name in ["index.key", "index.key.pub"] {
        fs::copy(folder.join(name), other.join(name)).unwrap();
    }
    let docs = Docs { corpus: "public".to_owned(), folder: data().join("docs/member"), site_url: SITE.to_owned() };
    docs.index(&other).unwrap().0
}

/// Name, bytes, and what the refusal says; the manifest is a good one where it comes first.
fn artifacts(good: &Path) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let [manifest, signature] = signed_manifest(good);
    let after_manifest = [
        plain("manifest.json", manifest.len() as u64),
        padded(&manifest),
        plain("manifest.sig", signature.len() as u64),
        padded(&signature),
    ]
    .concat();
    let announcing = |kind| entry("././@LongLink", kind, ANNOUNCED);
    let mut many = Vec::new();
    for _ in 0..16 {
        many.extend(frame(&entry("directory", EntryType::Directory, 0).repeat(64 * 1024)));
    }
    vec![
        ("a long name", with_zeros(&announcing(EntryType::GNULongName)), "but a long name"),
        ("a long link", with_zeros(&announcing(EntryType::GNULongLink)), "but a long name"),
        ("a PAX record", with_zeros(&pax(EntryType::XHeader)), "but PAX records"),
        ("global PAX records", with_zeros(&pax(EntryType::XGlobalHeader)), "but PAX records"),
        ("a sparse file", with_zeros(&announcing(EntryType::GNUSparse)), "but a sparse file"),
        ("a hard link", frame(&entry("manifest.json", EntryType::Link, 0)), "but a link"),
        ("a symbolic link", frame(&entry("manifest.json", EntryType::Symlink, 0)), "but a link"),
        ("a bomb for a manifest", with_zeros(&plain("manifest.json", ANNOUNCED)), "may have 1048576"),
        (
            "a bomb after the manifest",
            with_zeros(&[&after_manifest[..], &plain("meta.json", ANNOUNCED)].concat()),
            "more than the",
        ),
        (
            "a long name after the manifest",
            with_zeros(&[after_manifest, announcing(EntryType::GNULongName)].concat()),
            "but a long name",
        ),
        ("many entries", many, "not a plain file"),
        ("a huge window", huge_window(), "too much memory"),
    ]
}

/// Manifest and signature of an artifact, as they are.
fn signed_manifest(artifact: &Path) -> [Vec<u8>; 2] {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(artifact).unwrap()).unwrap());
    let mut entries = archive.entries().unwrap();
    ["manifest.json", "manifest.sig"].map(|name| {
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some(name));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// One header, with the size that it announces.
fn entry(name: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn plain(name: &str, size: u64) -> Vec<u8> {
    entry(name, EntryType::Regular, size)
}

/// A header of PAX records, and the beginning of one as long as all of it.
fn pax(kind: EntryType) -> Vec<u8> {
    [entry("pax", kind, ANNOUNCED), format!("{ANNOUNCED} path=").into_bytes()].concat()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// `bytes` and what they announce, in zeros: kilobytes when it is compressed.
fn with_zeros(bytes: &[u8]) -> Vec<u8> {
    const AT_A_TIME: u64 = 64 << 20;
    let zeros = frame(&vec![0; usize::try_from(AT_A_TIME).unwrap()]);
    let mut all = frame(bytes);
    for _ in 0..ANNOUNCED / AT_A_TIME {
        all.extend(&zeros);
    }
    all
}

/// A frame whose header says that decoding it takes a window of 2 GiB (RFC 8878, section 3.1.1.1.2), and one raw block.
fn huge_window() -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3];
    bytes.extend([0x01 | (5 << 3), 0, 0]);
    bytes.extend(b"hello");
    bytes
}

/// Exit code of the real `copilot index verify`, the most memory that it ever had in KiB, and what it said. Python waits
/// for it, because its `wait4` tells the memory of one process.
fn verify(artifact: &Path, key: Option<&Path>) -> (i32, u64, String) {
    const SCRIPT: &str = "import os, sys\n\
        pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n\
        _, status, used = os.wait4(pid, 0)\n\
        print(os.waitstatus_to_exitcode(status), used.ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(paths::binary("copilot").unwrap()).args(["index", "verify"]).arg(artifact);
    if let Some(key) = key {
        command.arg("--verify-key").arg(key);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let (code, peak) = told.trim().split_once(' ').unwrap_or_else(|| panic!("{told} {said}"));
    (code.parse().unwrap(), peak.parse().unwrap(), said)
}

/// The most memory that a running process ever had, in KiB.
fn peak_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Puts an artifact in place in one step, as a publisher does.
fn put(bytes: &[u8], live: &Path) {
    let staged: PathBuf = live.with_extension("staged");
    fs::write(&staged, bytes).unwrap();
    fs::rename(staged, live).unwrap();
}

fn metrics(copilot: &Copilot) -> String {
    client().get(format!("{}/metrics", copilot.admin_url)).send().unwrap().text().unwrap()
}

fn metric_line(copilot: &Copilot, name: &str) -> String {
    metrics(copilot).lines().find(|line| line.starts_with(name)).unwrap().to_owned()
}

fn refusals(copilot: &Copilot) -> u64 {
    let text = metrics(copilot);
    let lines = text.lines().filter(|line| line.starts_with("docsgate_copilot_artifact_refusals_total{"));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}
