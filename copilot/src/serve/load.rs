//! From a source to an index in service: look, verify, warm, switch. What is in service stays until then.

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use tokio::sync::watch;

use super::Settings;
use crate::{
    api::App,
    corpus::artifact::{self, ArtifactFault, VerifyKey},
    index::reader::LoadedIndex,
};

/// Looks after one corpus.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    corpus: String,
    source: PathBuf,
    cache_dir: PathBuf,
    verify_key: Option<Arc<VerifyKey>>,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    file: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Why an artifact was not taken: a name for the metric and a sentence for operators.
#[derive(Debug)]
struct Refused {
    kind: &'static str,
    reason: String,
}

impl Loader {
    /// One for each corpus of the settings.
    pub(super) fn all(settings: &Settings) -> anyhow::Result<Vec<Self>> {
        fs::create_dir_all(&settings.cache_dir)
            .with_context(|| format!("--cache-dir {} cannot be used", settings.cache_dir.display()))?;
        let verify_key = settings.verify_key.as_ref().map(|file| {
            let text = fs::read_to_string(file).map_err(|error| error.to_string());
            let key = text.and_then(|text| VerifyKey::parse(&text)).map_err(anyhow::Error::msg);
            key.map(Arc::new).with_context(|| format!("--verify-key {}", file.display()))
        });
        let verify_key = verify_key.transpose()?;
        let loader = |source: &super::CorpusSource| Self {
            corpus: source.corpus.clone(),
            source: PathBuf::from(&source.source),
            cache_dir: settings.cache_dir.clone(),
            verify_key: verify_key.clone(),
        };
        Ok(settings.corpora.iter().map(loader).collect())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let data = fs::metadata(&self.source)?;
        Ok(Stamp { file: self.source.clone(), bytes: data.len(), modified: data.modified().ok() })
    }

    /// Reads, verifies and warms the artifact.
    fn load(&self) -> Result<LoadedIndex, Refused> {
        let unpacked = artifact::open(&self.source, &self.cache_dir, self.verify_key.as_deref(), Some(&self.corpus))
            .map_err(|fault| Refused { kind: kind(&fault), reason: fault.to_string() })?;
        let refused = |fault: crate::index::reader::OpenFault| Refused { kind: "index", reason: fault.to_string() };
        let index = LoadedIndex::open(&unpacked.dir, &self.corpus, &unpacked.manifest.version()).map_err(refused)?;
        index.warm().map_err(refused)?;
        Ok(index)
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
        ArtifactFault::Corpus { .. } => "wrong-corpus",
    }
}

/// Looks at the source now and then, until told to stop.
pub(super) async fn follow(loader: Loader, app: App, poll: Duration, mut stopped: watch::Receiver<bool>) {
    let mut seen: Option<Stamp> = None;
    loop {
        let work = {
            let (loader, seen) = (loader.clone(), seen.clone());
            tokio::task::spawn_blocking(move || look(&loader, seen.as_ref()))
        };
        match work.await {
            Ok(Some((stamp, outcome))) => {
                seen = stamp;
                settle(&app, &loader.corpus, outcome);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(corpus = loader.corpus, %error, "loading an artifact broke off"),
        }
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

type Look = Option<(Option<Stamp>, Result<LoadedIndex, Refused>)>;

/// `None` when the source is as it was.
fn look(loader: &Loader, seen: Option<&Stamp>) -> Look {
    let stamp = match loader.stamp() {
        Ok(stamp) => stamp,
        Err(error) => {
            let reason = format!("{}: {error}", loader.source.display());
            return Some((None, Err(Refused { kind: "unreadable", reason })));
        }
    };
    if seen == Some(&stamp) {
        return None;
    }
    let outcome = loader.load();
    // A file that changed while it was read is looked at again.
    let settled = loader.stamp().is_ok_and(|after| after == stamp);
    Some((settled.then_some(stamp), outcome))
}

fn settle(app: &App, corpus: &str, outcome: Result<LoadedIndex, Refused>) {
    match outcome {
        Ok(index) => {
            let before = app.shelf.current(corpus);
            if before.is_some_and(|before| before.version == index.version) {
                app.shelf.clear_fault(corpus);
                return;
            }
            tracing::info!(corpus, version = index.version, sections = index.len(), "index in service");
            app.shelf.put(Arc::new(index));
            app.metrics.switched(corpus);
        }
        Err(refused) => {
            let keeps = app.shelf.current(corpus).map(|index| index.version.clone());
            tracing::error!(corpus, kind = refused.kind, reason = refused.reason, ?keeps, "artifact refused");
            app.metrics.refused_artifact(corpus, refused.kind);
            app.shelf.refuse(corpus, refused.reason);
        }
    }
}
