//! Process settings: addresses and files. What operators tune at run time is policy, not this.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use docsgate_service::{exit::UsageError, logs::LogFormat};

use crate::{
    front::{listener::Listen, profile::Profile, tls::TlsFiles},
    gate::GateConfig,
};

/// Settings of `authz serve`, from flags and the environment.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// What decides.
    #[command(flatten)]
    pub gate: GateConfig,
    /// Where Envoy asks over gRPC: unix:PATH, ADDRESS:PORT, or none.
    #[arg(long, env = "DOCSGATE_AUTHZ_LISTEN", value_name = "ADDR", default_value = "unix:/run/docsgate/authz.sock")]
    pub listen: Listen,
    /// Where proxies without gRPC ext_authz ask over HTTP: unix:PATH or ADDRESS:PORT.
    #[arg(
        long,
        env = "DOCSGATE_AUTHZ_HTTP_LISTEN",
        value_name = "ADDR",
        default_value = "none",
        hide_default_value = true
    )]
    pub http_listen: Listen,
    /// How the proxy that asks over HTTP describes the original request. Only its headers are believed.
    #[arg(long, env = "DOCSGATE_AUTHZ_HTTP_PROFILE", value_enum, value_name = "PROXY")]
    pub http_profile: Option<Profile>,
    /// The operators' listener: decisions, limits, policy and its reload, beside metrics and probes. Whoever reaches it sees
    /// who asked what.
    #[arg(long, env = "DOCSGATE_AUTHZ_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9902")]
    pub admin_listen: SocketAddr,
    /// /metrics, /healthz and /readyz alone, for Prometheus and the kubelet; without it there is no such listener.
    #[arg(long, env = "DOCSGATE_AUTHZ_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate chain (PEM) of the TCP listeners that proxies ask at; followed when it changes.
    #[arg(long, env = "DOCSGATE_TLS_CERT_FILE", value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key (PEM) of these listeners.
    #[arg(long, env = "DOCSGATE_TLS_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Certificate authorities (PEM) of the clients that may ask: the proxy's.
    #[arg(long, env = "DOCSGATE_TLS_CLIENT_CA_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_client_ca_file: Option<PathBuf>,
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
    /// Where proxies ask over HTTP and how, if they do.
    ///
    /// # Errors
    /// [`UsageError`] when one of the two settings is missing, or when nobody could ask at all.
    pub fn http(&self) -> Result<Option<Profile>, UsageError> {
        match (&self.http_listen, self.http_profile) {
            (Listen::None, None) if self.listen == Listen::None => {
                Err(UsageError("--listen none leaves nobody to ask: set --http-listen and --http-profile".into()))
            }
            (Listen::None, None) => Ok(None),
            (Listen::None, Some(_)) => Err(UsageError("--http-profile is set, but not --http-listen".into())),
            (_, None) => Err(UsageError(
                "--http-listen needs --http-profile: nginx, traefik, caddy or envoy, whichever asks there".into(),
            )),
            (_, profile) => Ok(profile),
        }
    }

    /// The files for TLS with these protocols inside, if TLS was asked for.
    ///
    /// # Errors
    /// [`UsageError`] when only some of the three are given, as TLS without client certificates would let anybody ask, or
    /// when there is no TCP listener that they are for.
    pub fn tls_files(&self, alpn: &'static [&'static str]) -> Result<Option<TlsFiles>, UsageError> {
        let is_tcp = |listen: &Listen| matches!(listen, Listen::Tcp(_));
        match (&self.tls_cert_file, &self.tls_key_file, &self.tls_client_ca_file) {
            (None, None, None) => Ok(None),
            (Some(_), Some(_), Some(_)) if !is_tcp(&self.listen) && !is_tcp(&self.http_listen) => {
                Err(UsageError("--tls-… is for a TCP listener; neither --listen nor --http-listen names one".into()))
            }
            (Some(cert), Some(key), Some(client_ca)) => {
                Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone(), alpn }))
            }
            _ => Err(UsageError("TLS needs all of --tls-cert-file, --tls-key-file and --tls-client-ca-file".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        config: ServeConfig,
    }

    fn config(flags: &str) -> ServeConfig {
        let usual = "authz --policy p.yaml --grant-key-file grant.keys";
        Command::try_parse_from(usual.split(' ').chain(flags.split_whitespace())).unwrap().config
    }

    #[test]
    fn the_http_front_end_has_an_address_and_a_profile_or_neither() {
        let http = |flags| config(flags).http().map_err(|error| error.0);
        assert_eq!(http(""), Ok(None));
        assert_eq!(http("--http-listen 127.0.0.1:9901 --http-profile caddy"), Ok(Some(Profile::Caddy)));
        assert_eq!(http("--listen none --http-listen unix:/a --http-profile nginx"), Ok(Some(Profile::Nginx)));
        for (flags, says) in [
            ("--listen none", "nobody to ask"),
            ("--http-listen 127.0.0.1:9901", "needs --http-profile"),
            ("--http-profile envoy", "not --http-listen"),
            ("--listen none --http-profile envoy", "not --http-listen"),
        ] {
            let fault = http(flags).unwrap_err();
            assert!(fault.contains(says), "{flags}: {fault}");
        }
    }

    #[test]
    fn tls_wants_three_files_and_a_listener_on_tcp() {
        const FILES: &str = "--tls-cert-file c --tls-key-file k --tls-client-ca-file a";
        let tls = |flags: &str| config(flags).tls_files(&["h2"]).map_err(|error| error.0);
        assert!(tls("--listen 127.0.0.1:9001").unwrap().is_none());
        assert_eq!(tls(&format!("--listen 127.0.0.1:9001 {FILES}")).unwrap().unwrap().alpn, ["h2"]);
        let over_http = format!("--listen none --http-listen 127.0.0.1:9901 --http-profile caddy {FILES}");
        assert!(tls(&over_http).unwrap().is_some());
        for (flags, says) in [
            (format!("--listen unix:/a {FILES}"), "neither --listen nor --http-listen"),
            ("--listen 127.0.0.1:9001 --tls-cert-file c --tls-key-file k".to_owned(), "all of"),
        ] {
            let fault = tls(&flags).unwrap_err();
            assert!(fault.contains(says), "{flags}: {fault}");
        }
    }
}
