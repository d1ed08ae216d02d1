//! The server: bind, load, serve, drain.

mod load;

use std::{collections::BTreeMap, future::IntoFuture, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use docsgate_service::{Traces, ready_file, revision, signals};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    answer,
    api::{self, App, Shared, room::Room, stream::Streams},
    corpus::{artifact::VerifyKey, shelf::Shelf, source::Source},
    grant_guard::Guard,
    metrics::Metrics,
    search::{Synonyms, Tuning},
    unanswered::Unanswered,
};

/// Longest wait for requests under way after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// A corpus and where its artifact comes from.
#[derive(Debug, Clone)]
pub struct CorpusSource {
    /// Name, as grants have it.
    pub corpus: String,
    /// File, folder, address or bucket.
    pub source: Source,
}

/// Checked settings.
#[derive(Debug)]
pub struct Settings {
    /// Public listener.
    pub listen: SocketAddr,
    /// The operators' listener.
    pub admin_listen: SocketAddr,
    /// Probes and metrics alone, when wanted.
    pub metrics_listen: Option<SocketAddr>,
    /// gRPC, when wanted.
    pub grpc_listen: Option<SocketAddr>,
    /// What to serve.
    pub corpora: Vec<CorpusSource>,
    /// Who may read it.
    pub guard: Guard,
    /// Where artifacts are unpacked.
    pub cache_dir: PathBuf,
    /// Most bytes of unpacked artifacts.
    pub cache_bytes: u64,
    /// Key that artifacts and pointers must be signed with; without one, nobody vouches for them.
    pub verify_key: Option<VerifyKey>,
    /// Least sequence number of a corpus' pointer.
    pub least: BTreeMap<String, u64>,
    /// Synonyms of the operator's.
    pub synonyms: Synonyms,
    /// Least probability with which a question is answered.
    pub confidence: f32,
    /// Time between two looks at a source.
    pub poll: Duration,
    /// Streams of one member at a time.
    pub streams_per_caller: usize,
    /// Streams of all anonymous callers at a time.
    pub streams_anonymous: usize,
    /// Memory of all searches at a time.
    pub search_bytes: u64,
    /// Unanswered questions that are kept.
    pub unanswered: usize,
    /// Written when all listeners are bound.
    pub ready_file: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT, then lets requests end.
///
/// # Errors
/// When a listener cannot be bound or a file of the settings cannot be used.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let loaders = load::Loader::all(&settings)?;
    if let Guard::Open(corpora) = &settings.guard {
        tracing::warn!(?corpora, "serving without grants: for development only");
    }
    if settings.verify_key.is_none() {
        tracing::warn!("serving unsigned artifacts: whoever can write to a source decides what readers are told");
    }
    let traces = Traces::from_environment("copilot", revision::version()).map_err(anyhow::Error::msg)?;
    let app = App::new(Shared {
        shelf: Shelf::new(settings.corpora.iter().map(|source| source.corpus.clone())),
        guard: settings.guard,
        synonyms: settings.synonyms,
        tuning: Tuning::default(),
        answering: answer::Settings { confidence: settings.confidence, ..answer::Settings::default() },
        metrics: Metrics::default(),
        traces: traces.clone(),
        unanswered: Unanswered::new(settings.unanswered),
        room: Room::new(settings.search_bytes),
        streams: Streams::new(settings.streams_per_caller, settings.streams_anonymous),
    });
    let http = bind(settings.listen, "--listen").await?;
    let admin = bind(settings.admin_listen, "--admin-listen").await?;
    let metrics = match settings.metrics_listen {
        Some(address) => Some(bind(address, "--metrics-listen").await?),
        None => None,
    };
    let grpc = match settings.grpc_listen {
        Some(address) => Some(bind(address, "--grpc-listen").await?),
        None => None,
    };
    // Signals are caught before anybody is told that the process is up.
    let stopped = signals::cancelled_at_signal()?;
    let mut polling = tokio::task::JoinSet::new();
    for loader in loaders {
        polling.spawn(load::follow(loader, app.clone(), settings.poll, stopped.clone()));
    }
    let admin_address = admin.local_addr().context("the address of --admin-listen")?;
    let mut listeners = vec![
        ("http", http.local_addr().context("the address of --listen")?.to_string()),
        ("admin", admin_address.to_string()),
    ];
    if let Some(metrics) = &metrics {
        listeners.push(("metrics", metrics.local_addr().context("the address of --metrics-listen")?.to_string()));
    }
    if let Some(grpc) = &grpc {
        listeners.push(("grpc", grpc.local_addr().context("the address of --grpc-listen")?.to_string()));
    }
    tracing::info!(?listeners, "listening");
    if let Some(file) = &settings.ready_file {
        ready_file::write(file, &listeners)?;
    }
    let ended = || stopped.clone().cancelled_owned();
    let serving = tokio::spawn(axum::serve(http, api::router(&app)).with_graceful_shutdown(ended()).into_future());
    let calling = grpc.map(|listener| tokio::spawn(crate::rpc::serve(app.clone(), listener, ended())));
    let admin_stopped = CancellationToken::new();
    let mut watching = tokio::task::JoinSet::new();
    let mut watch_on = |listener, router| {
        let stopped = admin_stopped.clone().cancelled_owned();
        watching.spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
    };
    watch_on(admin, api::admin::router(&app, admin_address));
    if let Some(metrics) = metrics {
        watch_on(metrics, api::admin::metrics_router(&app));
    }
    stopped.cancelled().await;
    tracing::info!("stopping: requests under way are finished first");
    let all_ended = async {
        let _ = serving.await;
        if let Some(calling) = calling {
            let _ = calling.await;
        }
    };
    if tokio::time::timeout(DRAIN, all_ended).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "some requests did not end in time");
    }
    let _ = tokio::task::spawn_blocking(move || traces.finish()).await;
    // Probes and metrics answer until the last request has ended.
    admin_stopped.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), watching.join_all()).await;
    polling.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {flag} {address}"))
}
