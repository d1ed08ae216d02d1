//! Process settings: addresses, files and URLs. What operators tune at run time is policy, not this.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{ArgAction, Args};
use docsgate_service::{environment::switch, logs::LogFormat};

use crate::{cli::UsageError, decision_log::DecisionLogConfig, serve::tls::TlsFiles};

/// Settings of `authz serve`, from flags and the environment.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Policy file, or a directory whose *.yaml files are merged.
    #[arg(long, env = "DOCSGATE_POLICY", value_name = "PATH")]
    pub policy: PathBuf,
    /// Where Envoy asks: unix:PATH or ADDRESS:PORT.
    #[arg(long, env = "DOCSGATE_AUTHZ_LISTEN", value_name = "ADDR", default_value = "unix:/run/docsgate/authz.sock")]
    pub listen: Listen,
    /// The operators' listener: decisions, limits, policy and its reload, beside metrics and probes. Whoever reaches it sees
    /// who asked what.
    #[arg(long, env = "DOCSGATE_AUTHZ_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9902")]
    pub admin_listen: SocketAddr,
    /// /metrics, /healthz and /readyz alone, for Prometheus and the kubelet; without it there is no such listener.
    #[arg(long, env = "DOCSGATE_AUTHZ_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
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
    /// Redis or Valkey, for limits that all replicas share: redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE].
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// File that holds the Redis URL.
    #[arg(long, env = "DOCSGATE_REDIS_URL_FILE", value_name = "FILE", conflicts_with = "redis_url")]
    pub redis_url_file: Option<PathBuf>,
    /// Keys that sign grants: one or two lines KID:SECRET (base64, 256 bits or more), the current one first.
    #[arg(long, env = "DOCSGATE_GRANT_KEY_FILE", value_name = "FILE")]
    pub grant_key_file: PathBuf,
    /// Accept JWKS over http (development).
    #[arg(long, env = "DOCSGATE_ALLOW_HTTP_JWKS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_parser = switch("DOCSGATE_ALLOW_HTTP_JWKS"))]
    pub allow_http_jwks: bool,
    /// Time in which a decision must be made; Envoy's own time-out should be longer.
    #[arg(long, env = "DOCSGATE_DEADLINE_MS", value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub deadline_ms: u64,
    /// Certificate chain (PEM) of a TCP listener; followed when it changes.
    #[arg(long, env = "DOCSGATE_TLS_CERT_FILE", value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key (PEM) of a TCP listener.
    #[arg(long, env = "DOCSGATE_TLS_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Certificate authorities (PEM) of the clients that may ask: Envoy's.
    #[arg(long, env = "DOCSGATE_TLS_CLIENT_CA_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// The decision log.
    #[command(flatten)]
    pub log: DecisionLogConfig,
    /// A policy that is decided beside the one in force, without consequences: see /candidate on the admin listener.
    #[arg(long, env = "DOCSGATE_CANDIDATE_POLICY", value_name = "PATH")]
    pub candidate_policy: Option<PathBuf>,
    /// After SIGTERM: time for decisions under way.
    #[arg(long, env = "DOCSGATE_DRAIN_SECONDS", value_name = "S", default_value_t = 10)]
    pub drain_seconds: u64,
    /// Written once all listeners are bound: {"pid":…,"listeners":{…}}.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, env = "DOCSGATE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

impl ServeConfig {
    /// The Postgres URL, from the flag, the environment or a file.
    ///
    /// # Errors
    /// [`UsageError`] when the file cannot be read.
    pub fn database_url(&self) -> Result<Option<String>, UsageError> {
        secret(self.database_url.as_deref(), self.database_url_file.as_ref(), "--database-url-file")
    }

    /// The Postgres URL for LISTEN, from the flag, the environment or a file.
    ///
    /// # Errors
    /// [`UsageError`] when the file cannot be read.
    pub fn database_listen_url(&self) -> Result<Option<String>, UsageError> {
        let file = self.database_listen_url_file.as_ref();
        secret(self.database_listen_url.as_deref(), file, "--database-listen-url-file")
    }

    /// The Redis URL, from the flag, the environment or a file.
    ///
    /// # Errors
    /// [`UsageError`] when the file cannot be read.
    pub fn redis_url(&self) -> Result<Option<String>, UsageError> {
        secret(self.redis_url.as_deref(), self.redis_url_file.as_ref(), "--redis-url-file")
    }
}

impl ServeConfig {
    /// The files of a TLS listener, if one was asked for.
    ///
    /// # Errors
    /// [`UsageError`] when only some of the three are given: TLS without client certificates would let anybody ask.
    pub fn tls_files(&self) -> Result<Option<TlsFiles>, UsageError> {
        match (&self.tls_cert_file, &self.tls_key_file, &self.tls_client_ca_file) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(client_ca)) => {
                Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone() }))
            }
            _ => Err(UsageError("TLS needs all of --tls-cert-file, --tls-key-file and --tls-client-ca-file".into())),
        }
    }
}

/// A value that may stand in a file instead; the file wins.
///
/// # Errors
/// [`UsageError`] when the file cannot be read.
pub(crate) fn secret(value: Option<&str>, file: Option<&PathBuf>, flag: &str) -> Result<Option<String>, UsageError> {
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).map_err(|error| UsageError(format!("{flag} {}: {error}", path.display())))?;
        return Ok(Some(text.trim().to_owned()));
    }
    Ok(value.filter(|value| !value.is_empty()).map(str::to_owned))
}

/// Where the gRPC server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sockaddr_un holds 107 bytes and a terminator.
            return match path.len() {
                0 => Err("the path after `unix:` is empty".into()),
                1..=107 => Ok(Self::Unix(path.into())),
                length => {
                    Err(format!("the socket path has {length} bytes; the system allows 107: use a shorter folder"))
                }
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("`{text}` is neither unix:PATH nor ADDRESS:PORT"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}
