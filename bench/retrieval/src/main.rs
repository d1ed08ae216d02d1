//! Measures copilot on real documents: the build of an index, a cold start, and searches on one core.
//!
//! ```text
//! cargo build --release -p copilot -p docsgate-bench-retrieval
//! target/release/docsgate-bench-retrieval
//! ```
//!
//! The documents are those of Kubernetes, beside the repository (`../shared/data/kubernetes-docs`, or `DOCSGATE_TEST_DATA`).

#![allow(clippy::print_stdout, reason = "a program that measures speaks on standard output")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with a few digits")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use copilot::corpus::artifact;
use copilot::index::reader::LoadedIndex;
use copilot::search::{self, Request, Settings};
use docsgate_harness::process::Launch;
use docsgate_harness::{http, paths, ready};
use serde_json::Value;

const ROUNDS: usize = 5;
/// Pages of the large corpus.
const PAGES: usize = 10_000;
const MIB: f64 = 1024.0 * 1024.0;

fn main() -> Result<()> {
    let docs = paths::test_data("kubernetes-docs")?.join("docs");
    let folder = tempfile::tempdir()?;
    println!(
        "| index build | pages | sections | source, MB | time, s | pages/s | MB/s | artifact, MB | of the source |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let small = build("Kubernetes", &docs, folder.path(), ROUNDS)?;
    let many = folder.path().join("many");
    multiply(&docs, &many)?;
    let large = build("the same, copied", &many, folder.path(), 1)?;
    println!(
        "\n| cold start to ready | artifact, MB | median of {ROUNDS}, s | slowest | resident, MiB | after searches |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, artifact) in [("Kubernetes", &small), ("10,000 pages", &large)] {
        start(name, artifact, folder.path())?;
    }
    println!("\n| searches, one thread | questions | p50 µs | p90 µs | p99 µs | searches/s |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, artifact) in [("Kubernetes", &small), ("10,000 pages", &large)] {
        let index = open(artifact, folder.path())?;
        queries(&format!("{name}: sentences"), &index, &sentences()?)?;
        queries(&format!("{name}: keywords"), &index, &keywords(&docs)?)?;
    }
    Ok(())
}

/// Builds an index and prints its row; tells where the artifact is.
fn build(name: &str, docs: &Path, folder: &Path, rounds: usize) -> Result<PathBuf> {
    let artifact = folder.join(format!("{}.docsgate", name.replace([' ', ','], "-")));
    let mut times = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        let output = Command::new(paths::binary("copilot")?)
            .args(["index", "build"])
            .arg(docs)
            .args(["--site-url", "https://docs.example.org/", "--corpus", "public", "--out"])
            .arg(&artifact)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let time = times[times.len() / 2];
    let output = Command::new(paths::binary("copilot")?).args(["index", "inspect"]).arg(&artifact).output()?;
    let manifest: Value = serde_json::from_slice(&output.stdout)?;
    let pages = manifest["pages"].as_f64().context("pages")?;
    let (source, size) = (bytes(docs)? as f64 / 1e6, fs::metadata(&artifact)?.len() as f64 / 1e6);
    println!(
        "| {name} | {pages:.0} | {} | {source:.1} | {time:.2} | {:.0} | {:.1} | {size:.1} | {:.2} |",
        manifest["chunks"],
        pages / time,
        source / time,
        size / source
    );
    Ok(artifact)
}

/// Starts copilot on an empty cache several times; asks the last one.
fn start(name: &str, artifact: &Path, folder: &Path) -> Result<()> {
    let (mut times, mut fresh, mut used) = (Vec::new(), 0.0, 0.0);
    for round in 0..ROUNDS {
        let place = folder.join(format!("serve-{round}"));
        fs::create_dir_all(&place)?;
        let launch = Launch::new("copilot", &paths::binary("copilot")?, place.join("log"))
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--admin-listen=127.0.0.1:0",
                "--insecure-no-grant",
                "--allow-unsigned",
            ])
            .arg(format!("--corpus=public={}", artifact.display()))
            .arg(format!("--cache-dir={}", place.join("cache").display()));
        let started = Instant::now();
        let (process, ready) = ready::start(launch, &place.join("ready"))?;
        ready::wait_until_serving(&process, &ready.url("admin")?)?;
        times.push(started.elapsed().as_secs_f64());
        fresh = resident(process.pid())?;
        for question in sentences()? {
            let words: Vec<&str> = question.split_whitespace().collect();
            let url = format!("{}/api/docs-search?q={}", ready.url("http")?, words.join("+"));
            let (status, body) = http::get(&url)?;
            ensure!(status == 200, "{status} {body}");
        }
        used = resident(process.pid())?;
        drop(process);
        fs::remove_dir_all(&place)?;
    }
    times.sort_by(f64::total_cmp);
    let size = fs::metadata(artifact)?.len() as f64 / 1e6;
    println!("| {name} | {size:.1} | {:.2} | {:.2} | {fresh:.0} | {used:.0} |", times[ROUNDS / 2], times[ROUNDS - 1]);
    Ok(())
}

fn open(artifact: &Path, folder: &Path) -> Result<[Arc<LoadedIndex>; 1]> {
    let cache = folder.join("in-process");
    fs::create_dir_all(&cache)?;
    let expected = artifact::Expected { corpus: Some("public"), most_bytes: u64::MAX, ..Default::default() };
    let unpacked = artifact::open(artifact, &cache, expected)?;
    let index = LoadedIndex::open(&unpacked.dir, "public", &unpacked.manifest.version())?;
    index.warm()?;
    Ok([Arc::new(index)])
}

/// All questions in turn, the first round unmeasured.
fn queries(name: &str, index: &[Arc<LoadedIndex>; 1], questions: &[String]) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..=ROUNDS {
        for text in questions {
            let request = Request { text, limit: 10, offset: 0, per_page: 3, section: None, snippets: true };
            let started = Instant::now();
            let found = search::search(index, &request, &Settings::default())?;
            if round > 0 {
                times.push(started.elapsed());
            }
            ensure!(found.hits.len() <= 10);
        }
    }
    let whole: Duration = times.iter().sum();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let rate = times.len() as f64 / whole.as_secs_f64();
    println!("| {name} | {} | {:.0} | {:.0} | {:.0} | {rate:.0} |", questions.len(), at(50), at(90), at(99));
    Ok(())
}

/// Questions as readers ask them: the paraphrases of our own test set.
fn sentences() -> Result<Vec<String>> {
    let file = paths::repository()?.join("copilot/eval/kubernetes-paraphrases/queries.jsonl");
    let text = fs::read_to_string(file)?;
    let question = |line: &str| -> Result<String> {
        let line: Value = serde_json::from_str(line)?;
        Ok(line["text"].as_str().context("text")?.to_owned())
    };
    text.lines().map(question).collect()
}

/// What readers type into a search box: titles of pages, their first three words.
fn keywords(docs: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for file in files(docs)?.iter().step_by(4) {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some(title) = text.lines().find_map(|line| line.strip_prefix("title: ")) {
            all.push(title.trim_matches('"').split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(all)
}

/// As many copies of the documents as make [`PAGES`] pages.
fn multiply(docs: &Path, into: &Path) -> Result<()> {
    let files = files(docs)?;
    for number in 0..PAGES {
        let from = &files[number % files.len()];
        let to = into.join(format!("copy-{}", number / files.len())).join(from.strip_prefix(docs)?);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn bytes(folder: &Path) -> Result<u64> {
    files(folder)?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}

/// Resident memory of a process, in MiB.
fn resident(pid: i32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / MIB)
}
