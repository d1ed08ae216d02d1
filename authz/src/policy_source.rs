//! The policy on disk, in force: loaded, followed, swapped as a whole. A bad file never replaces a good snapshot.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use authz_core::policy::{Overrides, PolicyText, Snapshot, compile, diagnostic};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde::Serialize;
use tokio::sync::{Notify, watch};

/// How often the files are looked at. Reading a few files is cheaper than following every way in which Kubernetes,
/// editors and `kubectl cp` replace them, and misses none of them.
const EVERY: Duration = Duration::from_millis(200);
/// For how long a file that is written in place must look alike before it counts as written.
const STILL: Duration = Duration::from_millis(250);
/// Most files of one directory.
const MAX_FILES: usize = 256;
/// Most bytes of all files together.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The policy in force and where it comes from.
#[derive(Debug)]
pub struct PolicySource {
    path: PathBuf,
    overrides: Overrides,
    current: ArcSwap<Snapshot>,
    status: Mutex<PolicyStatus>,
    loaded_from: Mutex<OnDisk>,
    reloads: Counter,
    rejections: Counter,
    loaded_at: Gauge,
    info: Family<InfoLabels, Gauge>,
    asked: Notify,
    looked: watch::Sender<u64>,
}

/// The files of one look.
#[derive(Debug)]
struct OnDisk {
    files: Vec<PolicyText>,
    /// Where links lead to, if every file is one; `None` too when that changed during the look.
    places: Option<Vec<PathBuf>>,
}

impl OnDisk {
    fn look(path: &Path) -> Result<Self, String> {
        // Before and after: what was read in between is of one swap of links, or it is not known of which.
        let before = places(path);
        let files = read(path)?;
        let places = before.filter(|before| places(path).as_ref() == Some(before));
        Ok(Self { files, places })
    }

    /// Whether every link leads elsewhere than in `other`, as after a swap of a ConfigMap: these files were written before
    /// anybody could see them.
    fn is_swapped_since(&self, other: &Self) -> bool {
        let (Some(now), Some(then)) = (&self.places, &other.places) else { return false };
        !now.iter().any(|place| then.contains(place))
    }
}

/// Where the files that [`read`] would read lead to, if every one is a link.
fn places(path: &Path) -> Option<Vec<PathBuf>> {
    let led_to = |file: &PathBuf| file.is_symlink().then(|| file.canonicalize().ok()).flatten();
    paths(path).ok()?.iter().map(led_to).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    version: String,
}

/// What `/policy` shows.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyStatus {
    /// Version in force.
    pub version: String,
    /// Since when, in seconds since the epoch.
    pub since: u64,
    /// Names of the files.
    pub files: Vec<String>,
    /// The last rejection since then, if the files on disk are not the ones in force.
    pub last_rejection: Option<Rejection>,
}

/// Why the files on disk are not in force.
#[derive(Debug, Clone, Serialize)]
pub struct Rejection {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// The findings, as `authz check` prints them.
    pub findings: String,
}

/// What the environment adds, where the policy permits it: the same for `serve` and for every command that reads a policy.
pub fn overrides_of_environment() -> Overrides {
    Overrides {
        allow_origins: std::env::var("CORS_ALLOW_ORIGIN").ok(),
        trusted_proxies: std::env::var("FORWARDED_ALLOW_IPS").ok(),
    }
}

impl PolicySource {
    /// Loads the policy for the first time.
    ///
    /// # Errors
    /// The findings, rendered; or why the files cannot be read.
    pub fn load(path: &Path, registry: &mut Registry) -> Result<Arc<Self>, String> {
        let overrides = overrides_of_environment();
        let found = OnDisk::look(path)?;
        let compiled = compile(&found.files, &overrides).map_err(|findings| diagnostic::render(&findings))?;
        for warning in &compiled.warnings {
            tracing::warn!(file = warning.file, line = warning.position.line, "policy: {}", warning.message);
        }
        let (reloads, rejections, loaded_at) = (Counter::default(), Counter::default(), Gauge::default());
        registry.register("docsgate_authz_policy_reloads", "Policies swapped in", reloads.clone());
        registry.register(
            "docsgate_authz_policy_rejections",
            "Policies that did not compile and were not swapped in",
            rejections.clone(),
        );
        registry.register(
            "docsgate_authz_policy_loaded_timestamp_seconds",
            "When the policy in force was loaded",
            loaded_at.clone(),
        );
        let info = Family::<InfoLabels, Gauge>::default();
        registry.register("docsgate_authz_policy_info", "The policy in force; always 1", info.clone());
        let source = Self {
            path: path.to_owned(),
            overrides,
            status: Mutex::new(status(&compiled.snapshot, &found.files)),
            current: ArcSwap::from_pointee(compiled.snapshot),
            loaded_from: Mutex::new(found),
            reloads,
            rejections,
            loaded_at,
            info,
            asked: Notify::new(),
            looked: watch::channel(0).0,
        };
        source.tell_version(&source.current());
        source.loaded_at.set(i64::try_from(now()).unwrap_or(i64::MAX));
        Ok(Arc::new(source))
    }

    /// The policy in force. A decision takes it once and keeps it to its end.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Version, age and last rejection.
    pub fn status(&self) -> PolicyStatus {
        self.status.lock().clone()
    }

    /// Asks [`watch`](Self::watch) to look at the files now, and waits until it has.
    pub async fn reload(&self) {
        let mut looked = self.looked.subscribe();
        self.asked.notify_one();
        // A watch that has ended will not look; a minute is longer than any look takes.
        let _ = tokio::time::timeout(Duration::from_secs(60), looked.changed()).await;
    }

    /// Follows the files for ever, and looks at them at once when a [`reload`](Self::reload) is asked for. `on_swap` sees
    /// every snapshot before the first decision with it.
    pub async fn watch(self: &Arc<Self>, on_swap: impl Fn(&Snapshot)) {
        let (mut pending, mut refused) = (None::<OnDisk>, None::<OnDisk>);
        loop {
            let pause = if pending.is_some() { STILL } else { EVERY };
            let forced = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                () = self.asked.notified() => true,
            };
            let _done = ReloadDone { looked: &self.looked, forced };
            let source = Arc::clone(self);
            let Ok(found) = tokio::task::spawn_blocking(move || OnDisk::look(&source.path)).await else { continue };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    refused = None;
                    self.reject(&error);
                    continue;
                }
            };
            let swapped = {
                let loaded = self.loaded_from.lock();
                if found.files == loaded.files {
                    (pending, refused) = (None, None);
                    self.is_current_again();
                    if forced {
                        tracing::info!("policy unchanged");
                    }
                    continue;
                }
                found.is_swapped_since(&loaded)
            };
            let same = |before: &OnDisk| before.files == found.files;
            if !forced && refused.as_ref().is_some_and(same) {
                continue;
            }
            // A file that is being written looks different each time: wait until it looks the same twice.
            if !forced && !swapped && !pending.as_ref().is_some_and(same) {
                pending = Some(found);
                continue;
            }
            pending = None;
            refused = self.adopt(found, &on_swap).await;
        }
    }

    /// Gives back what does not compile.
    async fn adopt(&self, found: OnDisk, on_swap: &impl Fn(&Snapshot)) -> Option<OnDisk> {
        // Not on a thread that decides: ten thousand origins take a while.
        let overrides = self.overrides.clone();
        let compiling = tokio::task::spawn_blocking(move || (compile(&found.files, &overrides), found));
        let Ok((compiled, found)) = compiling.await else {
            self.reject("the policy could not be compiled: the compiler ended");
            return None;
        };
        match compiled {
            Ok(compiled) => {
                on_swap(&compiled.snapshot);
                *self.status.lock() = status(&compiled.snapshot, &found.files);
                tracing::info!(version = &*compiled.snapshot.version, "policy swapped");
                for warning in &compiled.warnings {
                    tracing::warn!(file = warning.file, line = warning.position.line, "policy: {}", warning.message);
                }
                self.tell_version(&compiled.snapshot);
                self.current.store(Arc::new(compiled.snapshot));
                self.reloads.inc();
                self.loaded_at.set(i64::try_from(now()).unwrap_or(i64::MAX));
                *self.loaded_from.lock() = found;
                None
            }
            Err(findings) => {
                self.reject(&diagnostic::render(&findings));
                Some(found)
            }
        }
    }

    /// The files on disk are the ones in force: what was refused meanwhile is over.
    fn is_current_again(&self) {
        let mut status = self.status.lock();
        if status.last_rejection.take().is_some() {
            tracing::info!(version = status.version, "the policy on disk is the one in force again");
        }
    }

    fn tell_version(&self, snapshot: &Snapshot) {
        // One series at a time: old versions are not kept.
        self.info.clear();
        self.info.get_or_create(&InfoLabels { version: snapshot.version.to_string() }).set(1);
    }

    /// Reports a rejection once, not at every look.
    fn reject(&self, findings: &str) {
        let mut status = self.status.lock();
        if status.last_rejection.as_ref().is_some_and(|last| last.findings == findings) {
            return;
        }
        self.rejections.inc();
        tracing::error!(findings, in_force = status.version, "the policy on disk is refused; the one in force stays");
        status.last_rejection = Some(Rejection { at: now(), findings: findings.to_owned() });
    }
}

/// Tells whoever waits that a look that was asked for is over, however it ended.
struct ReloadDone<'a> {
    looked: &'a watch::Sender<u64>,
    forced: bool,
}

impl Drop for ReloadDone<'_> {
    fn drop(&mut self) {
        if self.forced {
            self.looked.send_modify(|count| *count += 1);
        }
    }
}

fn status(snapshot: &Snapshot, files: &[PolicyText]) -> PolicyStatus {
    PolicyStatus {
        version: snapshot.version.to_string(),
        since: now(),
        files: files.iter().map(|file| file.name.clone()).collect(),
        last_rejection: None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether a file holds the cases of a policy, which lie beside it.
pub fn is_cases(name: &str) -> bool {
    name == "cases.yaml" || name.ends_with(".cases.yaml") || name.ends_with(".cases.yml")
}

/// Reads a policy file, or the `*.yaml` and `*.yml` files of a directory in the order of their names. Hidden entries
/// are passed over: `..data` and its like are how Kubernetes swaps a ConfigMap. So are the policy's cases.
///
/// # Errors
/// A sentence that names the path and what is wrong with it.
pub fn read(path: &Path) -> Result<Vec<PolicyText>, String> {
    let paths = paths(path)?;
    let mut bytes = 0;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        bytes += std::fs::metadata(&path).map_err(|error| failed(&path, &error))?.len();
        if bytes > MAX_BYTES {
            return Err(failed(&path, &format!("more than {MAX_BYTES} bytes of policy")));
        }
        let content = std::fs::read(&path).map_err(|error| failed(&path, &error))?;
        let text = String::from_utf8(content).map_err(|error| {
            let line = error
                .as_bytes()
                .get(..error.utf8_error().valid_up_to())
                .unwrap_or_default()
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            failed(&path, &format!("line {line}: not UTF-8 text"))
        })?;
        files.push(PolicyText { name: path.display().to_string(), text });
    }
    Ok(files)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("policy {}: {error}", path.display())
}

/// The files of a policy, in the order of their names.
fn paths(path: &Path) -> Result<Vec<PathBuf>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
    let mut paths = Vec::new();
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|error| failed(path, &error))? {
            let entry = entry.map_err(|error| failed(path, &error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && !is_cases(&name) && (name.ends_with(".yaml") || name.ends_with(".yml")) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(failed(path, &"the directory holds no *.yaml file"));
        }
        if paths.len() > MAX_FILES {
            return Err(failed(
                path,
                &format!("the directory holds {} files; expected {MAX_FILES} at the most", paths.len()),
            ));
        }
    } else {
        paths.push(path.to_owned());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
