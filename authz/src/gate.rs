//! The engine: a request comes in, an answer goes out, and everything that is kept of it is kept here. It knows no
//! protocol, opens no listener, catches no signal and starts no log of its process: whoever embeds it does.

mod audit;
pub mod render;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use authz_core::{
    decide,
    decision::{Decision, Outcome},
    request::{Malformed, RawRequest, RequestFault, RequestView},
    time::Timestamp,
};
use clap::{ArgAction, Args};
use docsgate_grant::Keys;
use docsgate_service::{Traces, environment::switch, exit::UsageError, revision};
use prometheus_client::registry::Registry;

pub use self::audit::Audit;
use self::{
    audit::Event,
    render::{Context, Rendered, Renderer},
};
use crate::{
    answer::Answer,
    candidate::Candidate,
    decision_log::{DecisionLog, DecisionLogConfig},
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
    settings::secret,
    telemetry::{self, DecisionMetrics},
};

/// What decides, and with what.
#[derive(Debug, Clone, Args)]
pub struct GateConfig {
    /// Policy file, or a directory whose *.yaml files are merged.
    #[arg(long, env = "DOCSGATE_POLICY", value_name = "PATH")]
    pub policy: PathBuf,
    /// A policy that is decided beside the one in force, without consequences: see /candidate on the admin listener.
    #[arg(long, env = "DOCSGATE_CANDIDATE_POLICY", value_name = "PATH")]
    pub candidate_policy: Option<PathBuf>,
    /// Keys that sign grants: one or two lines KID:SECRET (base64, 256 bits or more), the current one first.
    #[arg(long, env = "DOCSGATE_GRANT_KEY_FILE", value_name = "FILE")]
    pub grant_key_file: PathBuf,
    /// Postgres, as a URL; several hosts separated by commas.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds the Postgres URL.
    #[arg(long, env = "DOCSGATE_DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url")]
    pub database_url_file: Option<PathBuf>,
    /// Postgres for LISTEN, directly: for a database URL that leads through a pooler in transaction mode.
    #[arg(long, env = "DOCSGATE_DATABASE_LISTEN_URL", value_name = "URL", hide_env_values = true)]
    pub database_listen_url: Option<String>,
    /// File that holds the URL for LISTEN.
    #[arg(
        long,
        env = "DOCSGATE_DATABASE_LISTEN_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_listen_url"
    )]
    pub database_listen_url_file: Option<PathBuf>,
    /// Redis or Valkey, for limits that all replicas share: `redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// File that holds the Redis URL.
    #[arg(long, env = "DOCSGATE_REDIS_URL_FILE", value_name = "FILE", conflicts_with = "redis_url")]
    pub redis_url_file: Option<PathBuf>,
    /// Accept JWKS over http (development).
    #[arg(long, env = "DOCSGATE_ALLOW_HTTP_JWKS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_parser = switch("DOCSGATE_ALLOW_HTTP_JWKS"))]
    pub allow_http_jwks: bool,
    /// Time in which a decision must be made; the proxy's own time-out should be longer.
    #[arg(long, env = "DOCSGATE_DEADLINE_MS", value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub deadline_ms: u64,
    /// The decision log.
    #[command(flatten)]
    pub log: DecisionLogConfig,
}

impl GateConfig {
    fn grant_keys(&self) -> Result<Keys, UsageError> {
        let path = &self.grant_key_file;
        Keys::load(path).map_err(|fault| UsageError(format!("--grant-key-file {}: {fault}", path.display())))
    }

    /// Where members are read, and where their changes are announced if that is elsewhere.
    fn database_urls(&self) -> Result<(Option<DatabaseUrls>, Option<DatabaseUrls>), UsageError> {
        let parse = |url: Option<String>, name: &str| {
            url.map(|url| DatabaseUrls::parse(&url).map_err(|fault| UsageError(format!("{name}: {fault}")))).transpose()
        };
        let file = self.database_url_file.as_ref();
        let database = parse(secret(self.database_url.as_deref(), file, "--database-url-file")?, "DATABASE_URL")?;
        let file = self.database_listen_url_file.as_ref();
        let listen = secret(self.database_listen_url.as_deref(), file, "--database-listen-url-file")?;
        let listen = parse(listen, "DOCSGATE_DATABASE_LISTEN_URL")?;
        if listen.is_some() && database.is_none() {
            return Err(UsageError("DOCSGATE_DATABASE_LISTEN_URL is set, but no DATABASE_URL to read from".into()));
        }
        Ok((database, listen))
    }

    fn redis_url(&self) -> Result<Option<String>, UsageError> {
        secret(self.redis_url.as_deref(), self.redis_url_file.as_ref(), "--redis-url-file")
    }
}

/// One gate: policy, facts, grants, and what is kept of decisions.
#[derive(Debug)]
pub struct Gate {
    /// The policy in force.
    pub policy: Arc<PolicySource>,
    /// Where facts come from.
    pub sources: Arc<Sources>,
    /// The decision log and the candidate policy.
    pub audit: Audit,
    /// All metrics.
    pub registry: Registry,
    renderer: Renderer,
    metrics: Arc<DecisionMetrics>,
    traces: Traces,
    deadline: Duration,
}

impl Gate {
    /// Builds a gate. Needs a Tokio runtime, on which its sources of facts keep themselves fresh.
    ///
    /// # Errors
    /// The setting that cannot be used, and why.
    pub fn build(config: &GateConfig) -> Result<Arc<Self>, UsageError> {
        install_crypto();
        let mut registry = Registry::default();
        let grant_keys = config.grant_keys()?;
        let policy = PolicySource::load(&config.policy, &mut registry).map_err(UsageError)?;
        let sources = Arc::new(sources(config, &policy, &grant_keys, &mut registry)?);
        let metrics = DecisionMetrics::new(&mut registry);
        let log = DecisionLog::start(config.log.clone(), &mut registry).map_err(UsageError)?;
        let candidate = config.candidate_policy.as_ref().map(|path| {
            Candidate::start(path, Arc::clone(&sources), Arc::clone(&log), &mut registry)
                .map_err(|fault| UsageError(format!("--candidate-policy: {fault}")))
        });
        Ok(Arc::new(Self {
            policy,
            sources,
            audit: Audit { log, candidate: candidate.transpose()? },
            renderer: Renderer::new(grant_keys),
            metrics,
            traces: Traces::from_environment("authz", revision::version()).map_err(UsageError)?,
            deadline: Duration::from_millis(config.deadline_ms),
            registry,
        }))
    }

    /// Adopts every policy that is swapped in from now on, for ever.
    pub async fn follow_policy(self: Arc<Self>) {
        let sources = Arc::clone(&self.sources);
        self.policy.watch(move |snapshot| sources.apply(snapshot)).await;
    }

    /// Ready needs a policy and, unless the policy says otherwise, keys; never Postgres or Redis, which public documents
    /// do without.
    ///
    /// # Errors
    /// What is missing.
    pub fn readiness(&self) -> Result<(), String> {
        self.sources.tokens.readiness(&self.policy.current())
    }

    /// Answers one request, or the fault for which a front end could not make one of what it was sent. `parent` gives the
    /// W3C trace context of the proxy's own call by lower-case header name, never what the client sent of it.
    pub async fn check<'h>(
        &self,
        raw: Result<RawRequest<'_>, RequestFault>,
        parent: impl Fn(&str) -> Option<&'h str>,
    ) -> Answer {
        let mut span = self.traces.begin("check", parent);
        let started = Instant::now();
        let now = Timestamp::from_system(SystemTime::now());
        let policy = self.policy.current();
        let view = match &raw {
            Ok(raw) => RequestView::read(raw),
            Err(fault) => Err(Malformed::from(fault.clone())),
        };
        let facts = self.sources.until((started + self.deadline).into());

        let decision = decide(&policy, &view, &facts, now).await;

        let request = Context::new(raw.as_ref().ok(), view.as_ref().ok(), &policy, now);
        let Rendered { answer, decision, pseudonym } = self.renderer.render(decision, &request);
        let (id, took) = (request.id, started.elapsed());
        self.metrics.record(&decision, id, took);
        log(&decision, id, took);
        if span.is_recording() {
            telemetry::describe(&mut span, &decision, id, &policy.version);
        }
        if self.audit.wanted() {
            let id = id.to_owned();
            let event = Event { id, view, decision: &decision, policy: &policy, subject: pseudonym, now, took };
            self.audit.record(event);
        }
        answer
    }

    /// Writes and sends what is left of logs and traces. Blocks, for a few seconds at the most; the last thing to do.
    pub fn finish(&self) {
        self.audit.log.finish();
        self.traces.finish();
    }
}

fn sources(
    config: &GateConfig,
    policy: &PolicySource,
    grant_keys: &Keys,
    registry: &mut Registry,
) -> Result<Sources, UsageError> {
    let (database, listen) = config.database_urls()?;
    let snapshot = policy.current();
    let limit_secret = grant_keys.derive(b"docsgate limit keys v1");
    let limits = Limiter::start(&snapshot.limiter, config.redis_url()?.as_deref(), &limit_secret, registry);
    let limits = limits.map_err(UsageError)?;
    let database = database.map(|urls| Database::new(&urls));
    let invalidations = Invalidations::new();
    let api_keys = ApiKeys::new(database.clone(), Arc::clone(&invalidations), &snapshot.entitlements, registry);
    let sources = Sources {
        limits,
        tokens: Tokens::new(TokenOptions { allow_http: config.allow_http_jwks }, registry),
        members: Members::start(database, listen, invalidations, &snapshot.entitlements, registry),
        api_keys,
    };
    sources.apply(&snapshot);
    Ok(sources)
}

/// rustls and jsonwebtoken both use aws-lc; a second installation in one process changes nothing.
fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A refusal is worth a line by itself; the decision log has all of them.
fn log(decision: &Decision, id: &str, took: Duration) {
    if let Outcome::Refuse(refusal) = &decision.outcome {
        tracing::debug!(
            request_id = id,
            route = decision.about.route_name(),
            reason = refusal.kind(),
            cause = refusal.cause(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "refused"
        );
    }
}

#[cfg(test)]
mod tests;
