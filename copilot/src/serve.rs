//! The server: build, bind, serve, drain.

mod load;

use std::{collections::BTreeMap, future::IntoFuture, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use docsgate_service::{Traces, ready_file, revision, signals};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    answer, api,
    app::{App, Shared},
    capacity::{SearchMemory, Streams},
    corpus::{artifact::VerifyKey, live::LiveIndexes, source::Source},
    generate::{self, Generator},
    grant_guard::Guard,
    metrics::Metrics,
    rpc,
    search::{self, Synonyms, Tuning},
    unanswered::Unanswered,
};

/// Longest wait for requests under way after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// Longest wait for probes after that.
const PROBES_DRAIN: Duration = Duration::from_secs(1);

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
    /// The model that writes answers, when wanted.
    pub generation: Option<generate::Settings>,
    /// Time between two polls of a source.
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
    let listeners = Listeners::bind(&settings).await?;
    let (ready_file, poll) = (settings.ready_file.clone(), settings.poll);
    let app = build(settings)?;
    // Signals are caught before anybody is told that the process is up.
    let stopped = signals::cancelled_at_signal()?;
    let mut following = JoinSet::new();
    for loader in loaders {
        following.spawn(load::follow(loader, app.clone(), poll, stopped.clone()));
    }
    let addresses = listeners.addresses()?;
    tracing::info!(listeners = ?addresses, "listening");
    if let Some(file) = &ready_file {
        ready_file::write(file, &addresses)?;
    }
    let serving = listeners.serve(&app, &stopped)?;
    stopped.cancelled().await;
    serving.drain(&app).await;
    following.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// What requests share, from the settings.
fn build(settings: Settings) -> anyhow::Result<App> {
    if let Guard::Open(corpora) = &settings.guard {
        tracing::warn!(?corpora, "serving without grants: for development only");
    }
    if settings.verify_key.is_none() {
        tracing::warn!("serving unsigned artifacts: whoever can write to a source decides what readers are told");
    }
    let traces = Traces::from_environment("copilot", revision::version()).map_err(anyhow::Error::msg)?;
    let generator = settings.generation.map(Generator::new).transpose().map_err(anyhow::Error::msg)?;
    Ok(App::new(Shared {
        live: LiveIndexes::new(settings.corpora.iter().map(|source| source.corpus.clone())),
        guard: settings.guard,
        ranking: search::Settings { synonyms: settings.synonyms, tuning: Tuning::default() },
        answering: answer::Settings { confidence: settings.confidence, ..answer::Settings::default() },
        generator,
        metrics: Metrics::default(),
        traces,
        unanswered: Unanswered::new(settings.unanswered),
        memory: SearchMemory::new(settings.search_bytes),
        streams: Streams::new(settings.streams_per_caller, settings.streams_anonymous),
    }))
}

/// The listeners, bound.
struct Listeners {
    http: TcpListener,
    admin: TcpListener,
    metrics: Option<TcpListener>,
    grpc: Option<TcpListener>,
}

impl Listeners {
    async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            http: bind(settings.listen, "--listen").await?,
            admin: bind(settings.admin_listen, "--admin-listen").await?,
            metrics: bind_if_wanted(settings.metrics_listen, "--metrics-listen").await?,
            grpc: bind_if_wanted(settings.grpc_listen, "--grpc-listen").await?,
        })
    }

    /// Names and addresses, for whoever waits for them.
    fn addresses(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let named = [
            ("http", Some(&self.http)),
            ("admin", Some(&self.admin)),
            ("metrics", self.metrics.as_ref()),
            ("grpc", self.grpc.as_ref()),
        ];
        let mut addresses = Vec::new();
        for (name, listener) in named {
            let Some(listener) = listener else { continue };
            let address = listener.local_addr().with_context(|| format!("the address of the {name} listener"))?;
            addresses.push((name, address.to_string()));
        }
        Ok(addresses)
    }

    /// Serves on all of them; those of readers take nothing new once `stopped` is cancelled.
    fn serve(self, app: &App, stopped: &CancellationToken) -> anyhow::Result<Serving> {
        let ended = || stopped.clone().cancelled_owned();
        let http = axum::serve(self.http, api::router(app)).with_graceful_shutdown(ended());
        let mut requests = vec![tokio::spawn(async move { Ok(http.await?) })];
        if let Some(listener) = self.grpc {
            requests.push(tokio::spawn(rpc::serve(app.clone(), listener, ended())));
        }
        let probes_stopped = CancellationToken::new();
        let mut probes = JoinSet::new();
        let admin_address = self.admin.local_addr().context("the address of --admin-listen")?;
        let operators = Some((self.admin, api::admin::router(app, admin_address)));
        let metrics = self.metrics.map(|listener| (listener, api::admin::metrics_router(app)));
        for (listener, router) in operators.into_iter().chain(metrics) {
            let stopped = probes_stopped.clone().cancelled_owned();
            probes.spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
        }
        Ok(Serving { requests, probes, probes_stopped })
    }
}

/// What is served.
struct Serving {
    requests: Vec<JoinHandle<anyhow::Result<()>>>,
    probes: JoinSet<std::io::Result<()>>,
    probes_stopped: CancellationToken,
}

impl Serving {
    /// Lets requests under way end. Probes and metrics answer until the last one has.
    async fn drain(self, app: &App) {
        tracing::info!("stopping: requests under way are finished first");
        let all_ended = async {
            for serving in self.requests {
                match serving.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "a listener failed"),
                    Err(error) => tracing::error!(%error, "a listener failed"),
                }
            }
        };
        if tokio::time::timeout(DRAIN, all_ended).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "some requests did not end in time");
        }
        let traces = app.traces.clone();
        let _ = tokio::task::spawn_blocking(move || traces.finish()).await;
        self.probes_stopped.cancel();
        let _ = tokio::time::timeout(PROBES_DRAIN, self.probes.join_all()).await;
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {flag} {address}"))
}

async fn bind_if_wanted(address: Option<SocketAddr>, flag: &str) -> anyhow::Result<Option<TcpListener>> {
    match address {
        Some(address) => bind(address, flag).await.map(Some),
        None => Ok(None),
    }
}
