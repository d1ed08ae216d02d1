//! The composition root: build everything, bind every listener, say so, serve, drain.

pub mod tls;

use std::{net::SocketAddr, os::unix::fs::FileTypeExt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use docsgate_grant::Keys;
use docsgate_service::{Traces, logs, ready_file, revision, signals};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};

use crate::{
    admin::{self, AdminState},
    audit::Audit,
    candidate::Candidate,
    cli::UsageError,
    config::{Listen, ServeConfig},
    decision_log::DecisionLog,
    envoy::{CheckService, response::Answerer},
    facts::{
        Sources,
        api_keys::ApiKeys,
        invalidation::Invalidations,
        limits::Limiter,
        members::Members,
        tokens::{TokenOptions, Tokens},
    },
    policy_source::PolicySource,
    postgres::{Database, DatabaseUrls},
    telemetry::DecisionMetrics,
};

/// Largest Check message: Envoy's header limit with room for everything else.
const MAX_CHECK_BYTES: usize = 1024 * 1024;

/// `authz serve`: runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`UsageError`] for settings that cannot be used, any other error for what fails at start.
pub async fn run(config: ServeConfig) -> Result<()> {
    logs::start(config.log_format);
    install_crypto();

    // Build.
    let mut registry = Registry::default();
    let grant_keys = Keys::load(&config.grant_key_file)
        .map_err(|fault| UsageError(format!("--grant-key-file {}: {fault}", config.grant_key_file.display())))?;
    let urls = |url: Option<String>, name: &str| {
        url.map(|url| DatabaseUrls::parse(&url).map_err(|fault| UsageError(format!("{name}: {fault}")))).transpose()
    };
    let database = urls(config.database_url()?, "DATABASE_URL")?;
    let listen = urls(config.database_listen_url()?, "DOCSGATE_DATABASE_LISTEN_URL")?;
    if listen.is_some() && database.is_none() {
        return Err(UsageError("DOCSGATE_DATABASE_LISTEN_URL is set, but no DATABASE_URL to read from".into()).into());
    }
    let policy = PolicySource::load(&config.policy, &mut registry).map_err(UsageError)?;
    let snapshot = policy.current();
    let redis_url = config.redis_url()?;
    let limit_secret = grant_keys.derive(b"docsgate limit keys v1");
    let limits =
        Limiter::start(&snapshot.limiter, redis_url.as_deref(), &limit_secret, &mut registry).map_err(UsageError)?;
    let database = database.map(|urls| Database::new(&urls));
    let told = Invalidations::new();
    let api_keys = ApiKeys::new(database.clone(), Arc::clone(&told), &snapshot.entitlements, &mut registry);
    let sources = Arc::new(Sources {
        limits,
        tokens: Tokens::new(TokenOptions { allow_http: config.allow_http_jwks }, &mut registry),
        members: Members::start(database, listen, told, &snapshot.entitlements, &mut registry),
        api_keys,
    });
    sources.apply(&snapshot);
    let metrics = DecisionMetrics::new(&mut registry);
    let log = DecisionLog::start(config.log.clone(), &mut registry).map_err(UsageError)?;
    let candidate = match &config.candidate_policy {
        Some(path) => Some(
            Candidate::start(path, Arc::clone(&sources), Arc::clone(&log), &mut registry)
                .map_err(|fault| UsageError(format!("--candidate-policy: {fault}")))?,
        ),
        None => None,
    };
    let audit = Audit { log, candidate };
    // From here on a signal ends the process in order.
    let drain = signals::cancelled_at_signal()?;
    let admin_state = AdminState {
        registry: Arc::new(registry),
        policy: Arc::clone(&policy),
        sources: Arc::clone(&sources),
        audit: audit.clone(),
        drain: drain.clone(),
    };
    let log = Arc::clone(&audit.log);
    let traces = Traces::from_environment("authz", revision::version()).map_err(UsageError)?;
    let check = CheckService {
        traces: traces.clone(),
        policy: Arc::clone(&policy),
        sources: Arc::clone(&sources),
        answerer: Arc::new(Answerer::new(grant_keys)),
        metrics,
        audit,
        deadline: Duration::from_millis(config.deadline_ms),
    };

    // Bind, then say where.
    let admin_listener = bind(config.admin_listen, "--admin-listen").await?;
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(bind(address, "--metrics-listen").await?),
        None => None,
    };
    let grpc_listener = GrpcListener::bind(&config).await?;
    let admin_address = admin_listener.local_addr()?;
    let mut listeners = vec![("grpc", grpc_listener.address()?), ("admin", admin_address.to_string())];
    if let Some(listener) = &metrics_listener {
        listeners.push(("metrics", listener.local_addr()?.to_string()));
    }
    for (name, address) in &listeners {
        tracing::info!(listener = name, address, "listening");
    }

    // Serve.
    let reload = tokio::spawn(watch_policy(Arc::clone(&policy), Arc::clone(&sources)));
    let mut beside = tokio::task::JoinSet::new();
    let mut serve_beside = |listener, router| {
        let drained = drain.clone().cancelled_owned();
        beside.spawn(axum::serve(listener, router).with_graceful_shutdown(drained).into_future());
    };
    serve_beside(admin_listener, admin::router(admin_state.clone(), admin_address));
    if let Some(listener) = metrics_listener {
        serve_beside(listener, admin::metrics_router(admin_state.clone()));
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    let health_task = tokio::spawn(report_health(health, admin_state));
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
        .add_service(AuthorizationServer::new(check).max_decoding_message_size(MAX_CHECK_BYTES));
    let stopped = drain.clone().cancelled_owned();
    let mut grpc_server = tokio::spawn(async move {
        match grpc_listener {
            GrpcListener::Unix(listener, _) => {
                router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await
            }
            GrpcListener::Tcp(listener) => {
                router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await
            }
            GrpcListener::Tls(connections, _) => router.serve_with_incoming_shutdown(connections, stopped).await,
        }
    });
    if let Some(path) = &config.ready_file {
        ready_file::write(path, &listeners)?;
    }

    // Drain.
    tokio::select! {
        () = drain.cancelled() => {}
        ended = &mut grpc_server => return ended?.context("the gRPC server ended"),
    }
    tracing::info!("draining");
    let ended = tokio::time::timeout(Duration::from_secs(config.drain_seconds), grpc_server).await;
    if ended.is_err() {
        tracing::warn!(seconds = config.drain_seconds, "decisions were still under way at the end of the drain");
    }
    for task in [&health_task, &reload] {
        task.abort();
    }
    beside.abort_all();
    if tokio::task::spawn_blocking(move || {
        log.finish();
        traces.finish();
    })
    .await
    .is_err()
    {
        tracing::warn!("the last lines of the decision log may be missing");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}: cannot listen"))
}

/// rustls and jsonwebtoken both use aws-lc; a second installation in one process changes nothing.
fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Every policy that is swapped in reaches the sources of facts.
async fn watch_policy(policy: Arc<PolicySource>, sources: Arc<Sources>) {
    policy.watch(move |snapshot| sources.apply(snapshot)).await;
}

/// Mirrors readiness into gRPC health (for Envoy's health checks and Kubernetes gRPC probes).
async fn report_health(health: tonic_health::server::HealthReporter, state: AdminState) {
    type Service = AuthorizationServer<CheckService>;
    let mut every = tokio::time::interval(Duration::from_millis(250));
    loop {
        every.tick().await;
        match admin::readiness(&state) {
            Ok(()) => health.set_serving::<Service>().await,
            Err(_) => health.set_not_serving::<Service>().await,
        }
    }
}

/// The bound gRPC listener. Its socket stays when the process goes; the next start removes it if nobody answers there.
enum GrpcListener {
    Unix(UnixListener, std::path::PathBuf),
    Tcp(TcpListener),
    Tls(ReceiverStream<std::io::Result<tls::TlsConnection>>, SocketAddr),
}

impl GrpcListener {
    async fn bind(config: &ServeConfig) -> Result<Self> {
        let tls = config.tls_files()?;
        match &config.listen {
            Listen::Tcp(address) => {
                if tls.is_none() && !address.ip().is_loopback() {
                    let remedy = "use unix:PATH, or set --tls-cert-file, --tls-key-file and --tls-client-ca-file";
                    return Err(UsageError(format!(
                        "--listen {address}: without mTLS anybody could ask for grants; {remedy}"
                    ))
                    .into());
                }
                let listener =
                    TcpListener::bind(address).await.with_context(|| format!("--listen {address}: cannot listen"))?;
                let Some(files) = tls else { return Ok(Self::Tcp(listener)) };
                let address = listener.local_addr()?;
                Ok(Self::Tls(tls::incoming(listener, files)?, address))
            }
            Listen::Unix(_) if tls.is_some() => {
                Err(UsageError("--tls-… is for a TCP listener; --listen names a Unix socket".into()).into())
            }
            Listen::Unix(path) => {
                remove_stale_socket(path).await?;
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("--listen unix:{}: cannot listen", path.display()))?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    fn address(&self) -> Result<String> {
        Ok(match self {
            Self::Unix(_, path) => format!("unix:{}", path.display()),
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Tls(_, address) => address.to_string(),
        })
    }
}

/// A socket that a killed predecessor left behind is removed; one that answers, or a file that is not a socket, is not.
async fn remove_stale_socket(path: &std::path::Path) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        anyhow::bail!("--listen unix:{}: a file that is not a socket is in the way", path.display());
    }
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        anyhow::bail!("--listen unix:{}: another process answers there", path.display());
    }
    std::fs::remove_file(path)
        .with_context(|| format!("--listen unix:{}: the old socket cannot be removed", path.display()))
}
