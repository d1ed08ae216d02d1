//! The gate that is measured: Postgres, issuer and authz, and Envoys whose only backend is Envoy's own answer.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use docsgate_harness::authz::{self, Authz};
use docsgate_harness::envoy::{self, Addresses, Envoy};
use docsgate_harness::stack::{Options, Stack};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Limits that are charged on every request and never refuse.
pub(crate) const POLICY: &str = "\
apiVersion: docsgate/v1
kind: Policy
client_ip: {trusted_hops: 0}
cors:
  docs: {allow_origins: ['https://docs.example.org'], allow_methods: [GET], allow_credentials: true}
issuers:
  learn:
    issuer: https://learn.example.org
    audiences: [docs]
    jwks_url: https://learn.example.org/.well-known/jwks.json
    algorithms: [EdDSA]
corpora: {public: {}, member: {entitlement: academy}}
limits:
  flood: {key: client_ip, rate: 1000000000/min, burst: 1000000000}
  flood-net: {key: ip_prefix, rate: 1000000000/min, burst: 1000000000}
  caller: {key: caller, rate: 1000000000/min, burst: 1000000000}
routes:
  - {name: search, match: {path: /api/docs-search, methods: [GET]}, cors: docs, corpus: auto, limits: [flood, flood-net, caller]}
  - {name: members, match: {path: /members, methods: [GET]}, cors: docs, corpus: member, limits: [flood, flood-net, caller]}
";

/// A folder that a root's Postgres can enter.
pub(crate) fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("docsgate-bench-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// Starts the stack in `folder`.
pub(crate) fn start(folder: &Path) -> Result<Stack> {
    start_with(folder, Vec::new())
}

/// Starts the stack with further flags of `authz serve`.
pub(crate) fn start_with(folder: &Path, authz_extra: Vec<String>) -> Result<Stack> {
    let policy = folder.join("bench-policy.yaml");
    fs::write(&policy, POLICY).context("cannot write the policy")?;
    Stack::start(&Options {
        folder: folder.to_path_buf(),
        listen: "127.0.0.1:0".parse()?,
        policy,
        docs: Vec::new(),
        backend: Some(("127.0.0.1".to_owned(), 9)),
        redis_url: None,
        shared_postgres: None,
        talkative: false,
        authz_extra,
    })
}

/// One more authz on the stack's policy and database, with further flags.
pub(crate) fn another_authz(stack: &Stack, folder: &Path, name: &str, flags: &[&str]) -> Result<Authz> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    let known = &stack.authz_options;
    Authz::start(&authz::Options {
        socket: folder.join("authz.sock"),
        folder,
        policy: known.policy.clone(),
        grant_key: known.grant_key.clone(),
        database_url: known.database_url.clone(),
        redis_url: None,
        extra: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        env: Vec::new(),
    })
}

/// The shipped Envoy, asking `authz` (or nobody) and answering by itself what is allowed.
pub(crate) fn envoy(folder: &Path, name: &str, authz: Option<&Path>) -> Result<Envoy> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    let mut bootstrap = envoy::shipped()?;
    let listen: SocketAddr = "127.0.0.1:0".parse()?;
    let nobody = folder.join("nobody.sock");
    let addresses = Addresses {
        listen,
        authz_socket: authz.unwrap_or(&nobody).to_path_buf(),
        backend: ("127.0.0.1".to_owned(), 9),
        backend_grpc: None,
    };
    let log = folder.join("access.jsonl");
    envoy::place(&mut bootstrap, &addresses, &log)?;
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    if authz.is_none() {
        let filters = manager["http_filters"].as_array_mut().context("the shipped bootstrap has no HTTP filters")?;
        filters.retain(|filter: &Value| filter["name"] != "envoy.filters.http.ext_authz");
    }
    let answer = json!({"status": 200, "body": {"inline_string": "{}"}});
    manager["route_config"]["virtual_hosts"][0]["routes"] =
        json!([{"match": {"prefix": "/"}, "direct_response": answer}]);
    Envoy::start_with(&bootstrap, log, &folder)
}
