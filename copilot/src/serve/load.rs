//! From a source to an index in service: poll, fetch, verify, warm, switch. What is in service stays until then.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::{
    app::App,
    clock::now,
    corpus::{
        artifact::{self, ArtifactFault, Expected, VerifyKey},
        cache::Cache,
        pointer::{Pointer, PointerFault},
        source::{self, Change, Source, SourceFault, Stamp},
    },
    index::reader::LoadedIndex,
};

/// Loads the indexes of one corpus.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    corpus: String,
    source: Source,
    cache: Cache,
    verify_key: Option<Arc<VerifyKey>>,
    /// Least sequence number that a pointer may have.
    least: u64,
}

/// Why an artifact was not taken: a name for the metric and a sentence for operators.
#[derive(Debug)]
struct Refused {
    kind: &'static str,
    reason: String,
}

impl From<ArtifactFault> for Refused {
    fn from(fault: ArtifactFault) -> Self {
        Self { kind: kind(&fault), reason: fault.to_string() }
    }
}

impl From<SourceFault> for Refused {
    fn from(fault: SourceFault) -> Self {
        let kind = match &fault {
            SourceFault::Unreachable { .. } => "unreadable",
            SourceFault::Pointer(PointerFault::Corrupt(_)) | SourceFault::Corrupt(_) => "corrupt",
            SourceFault::Pointer(PointerFault::Signature(_)) => "signature",
            SourceFault::Pointer(PointerFault::Corpus { .. }) => "wrong_corpus",
            SourceFault::TooLarge(_) => "refused",
        };
        Self { kind, reason: fault.to_string() }
    }
}

impl Loader {
    /// One for each corpus of the settings.
    pub(super) fn all(settings: &Settings) -> anyhow::Result<Vec<Self>> {
        fs::create_dir_all(&settings.cache_dir)
            .with_context(|| format!("--cache-dir {} cannot be used", settings.cache_dir.display()))?;
        let verify_key = settings.verify_key.clone().map(Arc::new);
        let loader = |corpus: &super::CorpusSource| Self {
            corpus: corpus.corpus.clone(),
            source: corpus.source.clone(),
            cache: Cache { dir: settings.cache_dir.clone(), bound: settings.cache_bytes },
            verify_key: verify_key.clone(),
            least: settings.least.get(&corpus.corpus).copied().unwrap_or(0),
        };
        Ok(settings.corpora.iter().map(loader).collect())
    }

    /// Unpacks, verifies and warms an artifact.
    fn load(&self, file: &Path, in_use: &[String]) -> Result<LoadedIndex, Refused> {
        let key = self.verify_key.as_deref();
        let manifest = artifact::inspect(file, key)?;
        // Space is freed first, from what nothing serves.
        let unreadable = |error: std::io::Error| Refused { kind: "unreadable", reason: error.to_string() };
        self.cache.trim(in_use, manifest.bytes.min(self.cache.bound)).map_err(unreadable)?;
        let expected = Expected { key, corpus: Some(&self.corpus), most_bytes: self.cache.bound };
        let unpacked = artifact::open(file, &self.cache.dir, expected)?;
        self.open(&unpacked.dir, &unpacked.manifest.version())
    }

    fn open(&self, dir: &Path, version: &str) -> Result<LoadedIndex, Refused> {
        let refused = |fault: crate::index::reader::OpenFault| Refused { kind: "index", reason: fault.to_string() };
        let index = LoadedIndex::open(dir, &self.corpus, version).map_err(refused)?;
        index.warm().map_err(refused)?;
        // The cache evicts what was used longest ago first.
        let _ = fs::File::open(dir).and_then(|dir| dir.set_modified(SystemTime::now()));
        Ok(index)
    }

    /// Refuses a pointer that is older than one that was followed before, in this life of the process or an earlier one,
    /// older than the operator allows, or expired. One that was followed before it expired is followed on.
    fn check(&self, pointer: &Pointer, now: u64) -> Result<(), Refused> {
        if pointer.sequence < self.least {
            let reason = format!("the pointer has sequence {}; --min-sequence says {}", pointer.sequence, self.least);
            return Err(Refused { kind: "replayed", reason });
        }
        let followed = self.cache.sequence(&self.corpus);
        if followed.as_ref().is_some_and(|(seen, version)| pointer.is(*seen, version)) {
            return Ok(());
        }
        if let Some(ended) = pointer.expires_at.filter(|ended| *ended <= now) {
            return Err(expired(ended, now));
        }
        let Some((seen, version)) = followed.filter(|(seen, _)| pointer.sequence <= *seen) else { return Ok(()) };
        let reason = format!(
            "the pointer has sequence {} and version {}; sequence {seen} with version {version} was followed before",
            pointer.sequence, pointer.latest.version
        );
        Err(Refused { kind: "replayed", reason })
    }
}

/// Name of a fault, for the metric.
fn kind(fault: &ArtifactFault) -> &'static str {
    match fault {
        ArtifactFault::Io { .. } => "unreadable",
        ArtifactFault::Corrupt(_) => "corrupt",
        ArtifactFault::Refused(_) => "refused",
        ArtifactFault::Signature(_) => "signature",
        ArtifactFault::Version(_) => "version",
        ArtifactFault::Corpus { .. } => "wrong_corpus",
    }
}

/// The pointer that is followed.
#[derive(Debug)]
struct Followed {
    expires_at: Option<u64>,
    /// That it has expired was reported.
    reported: bool,
}

impl Followed {
    /// Once, after it has expired. What it named stays in service: a pod that has none does not follow it any more.
    fn has_expired(&mut self, now: u64) -> Option<Refused> {
        let ended = self.expires_at.filter(|ended| *ended <= now && !self.reported)?;
        self.reported = true;
        Some(expired(ended, now))
    }
}

fn expired(ended: u64, now: u64) -> Refused {
    let ago = now.saturating_sub(ended);
    let reason = format!(
        "the pointer expired {} days and {} hours ago: publish again, or `copilot index publish --refresh`",
        ago / 86_400,
        ago % 86_400 / 3600
    );
    Refused { kind: "expired", reason }
}

/// Polls the source at an interval, until `stopped` is cancelled.
pub(super) async fn follow(loader: Loader, app: App, interval: Duration, stopped: CancellationToken) {
    let mut seen: Option<Stamp> = None;
    let mut followed: Option<Followed> = None;
    app.metrics.followed(&loader.corpus, None);
    loop {
        tokio::select! {
            polled = poll(&loader, &app, seen.as_ref(), &mut followed) => {
                if let Some((stamp, outcome)) = polled {
                    seen = stamp;
                    settle(&app, &loader.corpus, outcome);
                }
                if let Some(refused) = followed.as_mut().and_then(|followed| followed.has_expired(now())) {
                    settle(&app, &loader.corpus, Err(refused));
                }
            }
            () = stopped.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stopped.cancelled() => return,
        }
    }
}

type Polled = Option<(Option<Stamp>, Result<LoadedIndex, Refused>)>;

/// `None` when the source is as it was. Without a stamp the next poll tries again.
async fn poll(loader: &Loader, app: &App, seen: Option<&Stamp>, followed: &mut Option<Followed>) -> Polled {
    let change = loader.source.poll(&loader.corpus, loader.verify_key.as_deref(), seen).await;
    let in_use = app.live.in_use();
    match change {
        Ok(Change::None) => None,
        Err(fault) => Some((None, Err(fault.into()))),
        Ok(Change::File(path, stamp)) => {
            let outcome = load(loader, path.clone(), in_use).await;
            // A file that changed while it was read is loaded again at the next poll.
            let settled = source::stamp_of(&path).is_ok_and(|after| after == stamp);
            Some((settled.then_some(stamp), outcome))
        }
        Ok(Change::Object(found, stamp)) => match source::fetch(*found, &loader.cache.dir, loader.cache.bound).await {
            Ok((file, _)) => Some((Some(stamp), load(loader, file.path().to_owned(), in_use).await)),
            Err(fault) => Some(failed(stamp, fault)),
        },
        Ok(Change::Pointer(pointer, place, stamp)) => {
            if let Err(refused) = loader.check(&pointer, now()) {
                return Some((Some(stamp), Err(refused)));
            }
            let kept = loader.cache.dir.join(format!("{}-{}", loader.corpus, pointer.latest.version));
            let outcome = if kept.is_dir() {
                reopen(loader, kept, pointer.latest.version.clone()).await
            } else {
                match source::fetch_published(&place, &pointer.latest, &loader.cache.dir, loader.cache.bound).await {
                    Ok(file) => load(loader, file.path().to_owned(), in_use).await,
                    Err(fault) => return Some(failed(stamp, fault)),
                }
            };
            let outcome = outcome.and_then(|index| noted(loader, &pointer, index));
            if outcome.is_ok() {
                app.metrics.followed(&loader.corpus, pointer.expires_at);
                *followed = Some(Followed { expires_at: pointer.expires_at, reported: false });
            }
            Some((Some(stamp), outcome))
        }
    }
}

/// What cannot be reached is tried again; what is bad stays bad until the source changes.
fn failed(stamp: Stamp, fault: SourceFault) -> (Option<Stamp>, Result<LoadedIndex, Refused>) {
    let again = matches!(fault, SourceFault::Unreachable { .. });
    ((!again).then_some(stamp), Err(fault.into()))
}

/// An index that was really loaded under a pointer makes its sequence number the one to beat.
fn noted(loader: &Loader, pointer: &Pointer, index: LoadedIndex) -> Result<LoadedIndex, Refused> {
    if index.version != pointer.latest.version {
        let reason = format!("the artifact is version {}; the pointer says {}", index.version, pointer.latest.version);
        return Err(Refused { kind: "corrupt", reason });
    }
    if let Err(error) = loader.cache.note_sequence(&loader.corpus, pointer.sequence, &index.version) {
        tracing::warn!(corpus = loader.corpus, %error, "the sequence number cannot be kept over a restart");
    }
    Ok(index)
}

async fn load(loader: &Loader, file: PathBuf, in_use: Vec<String>) -> Result<LoadedIndex, Refused> {
    let loader = loader.clone();
    blocking(move || loader.load(&file, &in_use)).await
}

async fn reopen(loader: &Loader, dir: PathBuf, version: String) -> Result<LoadedIndex, Refused> {
    let loader = loader.clone();
    blocking(move || loader.open(&dir, &version)).await
}

async fn blocking(
    work: impl FnOnce() -> Result<LoadedIndex, Refused> + Send + 'static,
) -> Result<LoadedIndex, Refused> {
    let broken_off = |error| Refused { kind: "index", reason: format!("loading broke off: {error}") };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken_off(error)))
}

fn settle(app: &App, corpus: &str, outcome: Result<LoadedIndex, Refused>) {
    match outcome {
        Ok(index) => {
            let before = app.live.current(corpus);
            if before.is_some_and(|before| before.version == index.version) {
                app.live.clear_fault(corpus);
                return;
            }
            tracing::info!(corpus, version = index.version, sections = index.len(), "index in service");
            app.live.put(Arc::new(index));
            app.metrics.switched(corpus);
        }
        Err(refused) => {
            let keeps = app.live.current(corpus).map(|index| index.version.clone());
            tracing::error!(corpus, kind = refused.kind, reason = refused.reason, ?keeps, "artifact refused");
            app.metrics.refused_artifact(corpus, refused.kind);
            app.live.refuse(corpus, refused.reason);
        }
    }
}
