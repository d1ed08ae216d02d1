//! The real program: built artifacts, a running server, requests that wait for what they want.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_copilot");
/// Longest wait for anything; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) admin: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn build(folder: &Path, corpus: &str, text: &str, out: &Path) {
    build_with(folder, corpus, text, out, &[]);
}

pub(crate) fn build_with(folder: &Path, corpus: &str, text: &str, out: &Path, extra: &[&str]) {
    let docs = folder.join("docs");
    fs::create_dir_all(&docs).unwrap();
    fs::write(docs.join("index.md"), format!("# Backups\n\n{text}\n")).unwrap();
    let built = Command::new(PROGRAM)
        .args(["index", "build"])
        .arg(&docs)
        .args(["--site-url", "https://docs.example.org/", "--corpus", corpus, "--out"])
        .arg(out)
        .args(extra)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

pub(crate) fn start(folder: &Path, corpus: &Path, extra: &[&str]) -> Server {
    start_with(folder, &corpus.display().to_string(), extra, &[])
}

pub(crate) fn start_with(folder: &Path, source: &str, extra: &[&str], env: &[(&str, String)]) -> Server {
    let ready = folder.join("ready");
    // A server that ran here before has left its own.
    let _ = fs::remove_file(&ready);
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--poll-seconds", "1"])
        .args(if extra.contains(&"--verify-key") { &[][..] } else { &["--allow-unsigned"] })
        .args(["--insecure-no-grant", "--cache-dir"])
        .arg(folder.join("cache"))
        .arg("--ready-file")
        .arg(&ready)
        .args(["--corpus", &format!("public={source}")])
        .args(extra)
        .envs(env.iter().map(|(name, value)| (*name, value.as_str())))
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !ready.exists() {
        assert!(started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "no ready file");
        std::thread::yield_now();
    }
    let text: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
    let address = |name: &str| format!("http://{}", text["listeners"][name].as_str().unwrap());
    Server { child, http: address("http"), admin: address("admin") }
}

pub(crate) async fn get(url: &str) -> (u16, Value) {
    let response = reqwest::get(url).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

/// Asks again until `wanted` holds.
pub(crate) async fn until(url: &str, wanted: impl Fn(u16, &Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let (status, body) = get(url).await;
        if wanted(status, &body) {
            return body;
        }
        assert!(started.elapsed() < PATIENCE, "{url}: {status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Puts a finished artifact in place in one step, as a publisher does.
pub(crate) fn replace(from: &Path, to: &Path) {
    let staged = to.with_extension("staged");
    fs::copy(from, &staged).unwrap();
    fs::rename(staged, to).unwrap();
}

pub(crate) type Seen = Arc<Mutex<BTreeSet<(String, String)>>>;

pub(crate) async fn load(url: String, stop: Arc<AtomicBool>, seen: Seen) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let (status, body) = get(&url).await;
        assert_eq!(status, 200, "{body}");
        let version = body["index_version"].as_str().unwrap().to_owned();
        let snippet = body["hits"][0]["snippet"].as_str().unwrap();
        let edition = if snippet.contains("alpha") { "alpha" } else { "omega" };
        assert!(snippet.contains(edition), "{snippet}");
        seen.lock().unwrap().insert((version, edition.to_owned()));
        count += 1;
    }
    count
}
