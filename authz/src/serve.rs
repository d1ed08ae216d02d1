//! `authz serve`: build the engine, bind every listener, say so, serve, drain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use docsgate_service::{logs, ready_file, signals};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;

use crate::{
    admin::{self, AdminState},
    config::ServeConfig,
    front::{
        grpc::{CheckService, MAX_CHECK_BYTES},
        http,
        listener::Listener,
        profile::Profile,
    },
    gate::Gate,
};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`UsageError`](docsgate_service::exit::UsageError) for settings that cannot be used, any other error for what fails at start.
pub async fn run(config: ServeConfig) -> Result<()> {
    logs::start(config.log_format);
    let gate = Gate::build(&config.gate)?;
    // From here on a signal ends the process in order.
    let drain = signals::cancelled_at_signal()?;
    let listeners = Listeners::bind(&config).await?;
    let addresses = listeners.addresses()?;
    for (name, address) in &addresses {
        tracing::info!(listener = name, address, "listening");
    }

    let mut serving = JoinSet::new();
    let beside = serve(listeners, &gate, &drain, &mut serving)?;
    if let Some(path) = &config.ready_file {
        ready_file::write(path, &addresses)?;
    }

    tokio::select! {
        biased;
        () = drain.cancelled() => {}
        Some(ended) = serving.join_next() => return ended?.context("a server ended"),
    }
    tracing::info!("draining");
    let drained = async { while serving.join_next().await.is_some() {} };
    if timeout(Duration::from_secs(config.drain_seconds), drained).await.is_err() {
        tracing::warn!(seconds = config.drain_seconds, "decisions were still under way at the end of the drain");
    }
    drop(beside);
    if tokio::task::spawn_blocking(move || gate.finish()).await.is_err() {
        tracing::warn!("the last lines of the decision log may be missing");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Everything that is bound.
struct Listeners {
    grpc: Option<Listener>,
    http: Option<(Listener, Profile)>,
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

impl Listeners {
    async fn bind(config: &ServeConfig) -> Result<Self> {
        let profile = config.http()?;
        let (grpc, http) = (config.tls_files(&["h2"])?, config.tls_files(&["http/1.1"])?);
        Ok(Self {
            admin: bind(config.admin_listen, "--admin-listen").await?,
            metrics: match config.metrics_listen {
                Some(address) => Some(bind(address, "--metrics-listen").await?),
                None => None,
            },
            grpc: Listener::bind("--listen", &config.listen, grpc).await?,
            http: Listener::bind("--http-listen", &config.http_listen, http).await?.zip(profile),
        })
    }

    /// Names and addresses, for logs and the ready file.
    fn addresses(&self) -> Result<Vec<(&'static str, String)>> {
        let mut addresses = Vec::new();
        if let Some(listener) = &self.grpc {
            addresses.push(("grpc", listener.address()?));
        }
        if let Some((listener, _)) = &self.http {
            addresses.push(("http", listener.address()?));
        }
        addresses.push(("admin", self.admin.local_addr()?.to_string()));
        if let Some(listener) = &self.metrics {
            addresses.push(("metrics", listener.local_addr()?.to_string()));
        }
        Ok(addresses)
    }
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}: cannot listen"))
}

/// Serves at every listener: proxies in `serving`, whose tasks end when their last request does, and everybody else in the
/// tasks that are returned, which end when they are dropped.
fn serve(
    listeners: Listeners,
    gate: &Arc<Gate>,
    drain: &CancellationToken,
    serving: &mut JoinSet<Result<()>>,
) -> Result<JoinSet<()>> {
    let mut beside = JoinSet::new();
    let state = AdminState { gate: Arc::clone(gate), drain: drain.clone() };
    let mut operators = |listener, router| {
        let drained = drain.clone().cancelled_owned();
        let served = axum::serve(listener, router).with_graceful_shutdown(drained).into_future();
        beside.spawn(async {
            if let Err(error) = served.await {
                tracing::error!(%error, "a listener for operators ended");
            }
        });
    };
    let admin = listeners.admin.local_addr()?;
    operators(listeners.admin, admin::router(state.clone(), admin));
    if let Some(listener) = listeners.metrics {
        operators(listener, admin::metrics_router(state.clone()));
    }
    beside.spawn(Arc::clone(gate).follow_policy());
    beside.spawn(reload_at_hangup(Arc::clone(gate)));
    if let Some(listener) = listeners.grpc {
        let (health, health_service) = tonic_health::server::health_reporter();
        beside.spawn(report_health(health, state));
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(docsgate_proto::EXTERNAL_AUTH_DESCRIPTORS)
            .build_v1()
            .context("gRPC reflection")?;
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(4096)
            .http2_max_header_list_size(64 * 1024)
            .add_service(health_service)
            .add_service(reflection)
            .add_service(
                AuthorizationServer::new(CheckService(Arc::clone(gate))).max_decoding_message_size(MAX_CHECK_BYTES),
            );
        serving.spawn(serve_grpc(listener, router, drain.clone()));
    }
    if let Some((listener, profile)) = listeners.http {
        serving.spawn(http::serve(listener, Arc::clone(gate), profile, drain.clone()));
    }
    Ok(beside)
}

async fn serve_grpc(listener: Listener, router: Router, drain: CancellationToken) -> Result<()> {
    let drained = drain.cancelled_owned();
    match listener {
        Listener::Unix(listener, _) => {
            router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), drained).await?;
        }
        Listener::Tcp(listener) => {
            router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), drained).await?;
        }
        Listener::Tls(connections, _) => router.serve_with_incoming_shutdown(connections, drained).await?,
    }
    Ok(())
}

/// SIGHUP has the policy's files looked at now, for ever.
async fn reload_at_hangup(gate: Arc<Gate>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be followed");
        return;
    };
    while hangup.recv().await.is_some() {
        gate.policy.reload().await;
    }
}

/// Mirrors readiness into gRPC health (for Envoy's health checks and Kubernetes gRPC probes).
async fn report_health(health: tonic_health::server::HealthReporter, state: AdminState) {
    type Service = AuthorizationServer<CheckService>;
    let mut every = tokio::time::interval(Duration::from_millis(250));
    loop {
        every.tick().await;
        match state.readiness() {
            Ok(()) => health.set_serving::<Service>().await,
            Err(_) => health.set_not_serving::<Service>().await,
        }
    }
}
