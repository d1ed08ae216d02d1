//! A real Envoy on `envoy/sidecar.yaml`, with only addresses and paths changed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{Launch, Process, hermetic};
use crate::{http, paths, tools};

/// Where this Envoy listens and whom it asks.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The edge listener; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// authz's Unix socket.
    pub authz_socket: PathBuf,
    /// copilot, or another HTTP server: host and port.
    pub backend: (String, u16),
    /// copilot's gRPC listener.
    pub backend_grpc: Option<(String, u16)>,
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// The process.
    pub process: Process,
    /// The bound edge address.
    pub listen: SocketAddr,
    /// The admin interface, `http://127.0.0.1:PORT`.
    pub admin_url: String,
    /// JSON access log, a line per request.
    pub access_log: PathBuf,
}

/// How long Envoy may take to bind, on a machine that is busy compiling.
const PATIENCE: Duration = Duration::from_secs(60);

impl Envoy {
    /// Starts Envoy with its files in `folder`.
    ///
    /// # Errors
    /// When Envoy cannot be brought, refuses its configuration or does not come up.
    pub fn start(addresses: &Addresses, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let access_log = folder.join("envoy-access.jsonl");
        let mut bootstrap = shipped()?;
        place_patiently(&mut bootstrap, addresses, &access_log)?;
        Self::start_with(&bootstrap, access_log, folder)
    }

    /// Starts Envoy on a bootstrap that the caller has prepared.
    ///
    /// # Errors
    /// As [`Envoy::start`].
    pub fn start_with(bootstrap: &Value, access_log: PathBuf, folder: &Path) -> Result<Self> {
        let config = folder.join("envoy.json");
        fs::write(&config, serde_json::to_vec_pretty(bootstrap)?)
            .with_context(|| format!("cannot write {}", config.display()))?;
        let admin_file = folder.join("envoy-admin-address");
        let _ = fs::remove_file(&admin_file);
        let process = Launch::new("envoy", &tools::envoy()?, folder.join("envoy.log"))
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin_file)
            // Hot restart would tie Envoys of one machine together through shared memory.
            .args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"])
            .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"])
            .spawn()?;
        let admin_url = process.until("Envoy's admin address", PATIENCE, || {
            let text = fs::read_to_string(&admin_file).ok()?;
            text.trim().parse::<SocketAddr>().ok().map(|address| format!("http://{address}"))
        })?;
        process.until("readiness of Envoy", PATIENCE, || {
            http::get(&format!("{admin_url}/ready")).ok().filter(|(status, _)| *status == 200).map(|_| ())
        })?;
        let listen = process.until("Envoy's listener", PATIENCE, || bound_address(&admin_url))?;
        Ok(Self { process, listen, admin_url, access_log })
    }

    /// `http://` URL of the edge.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }
}

fn bound_address(admin_url: &str) -> Option<SocketAddr> {
    let (_, body) = http::get(&format!("{admin_url}/listeners?format=json")).ok()?;
    let listeners: Value = serde_json::from_str(&body).ok()?;
    let edge = listeners["listener_statuses"].as_array()?.iter().find(|listener| listener["name"] == "edge")?;
    let socket = &edge["local_address"]["socket_address"];
    let ip = socket["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(socket["port_value"].as_u64()?).ok().filter(|port| *port != 0)?;
    Some(SocketAddr::new(ip, port))
}

/// The bootstrap as it is shipped.
///
/// # Errors
/// When the file is missing or not YAML.
pub fn shipped() -> Result<Value> {
    let path = paths::repository()?.join("envoy/sidecar.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not valid YAML", path.display()))
}

/// Puts addresses and paths of one stack into `bootstrap`; nothing else is touched.
///
/// # Errors
/// When the bootstrap has no listener `edge` or no cluster `authz` or `copilot`.
pub fn place(bootstrap: &mut Value, addresses: &Addresses, access_log: &Path) -> Result<()> {
    bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(0);
    let edge = named(&mut bootstrap["static_resources"]["listeners"], "edge")?;
    edge["address"]["socket_address"] = socket(&addresses.listen.ip().to_string(), addresses.listen.port());
    let log = &mut edge["filter_chains"][0]["filters"][0]["typed_config"]["access_log"][0]["typed_config"]["path"];
    if !log.is_string() {
        bail!("listener `edge` has no access log to place");
    }
    *log = json!(access_log);
    let clusters = &mut bootstrap["static_resources"]["clusters"];
    endpoint(named(clusters, "authz")?)?["address"] = json!({"pipe": {"path": addresses.authz_socket}});
    let copilot = named(clusters, "copilot")?;
    let (host, port) = &addresses.backend;
    if host.parse::<std::net::IpAddr>().is_err() {
        copilot["type"] = json!("STRICT_DNS");
    }
    endpoint(copilot)?["address"] = json!({"socket_address": socket(host, *port)});
    if let Some((host, port)) = &addresses.backend_grpc {
        endpoint(named(clusters, "copilot-grpc")?)?["address"] = json!({"socket_address": socket(host, *port)});
    }
    Ok(())
}

/// [`place`], and Envoy waits long for a connection and for authz. The shipped time-outs are for clusters that have processors
/// to spare: on a busy machine they turn requests away that have nothing wrong with them.
///
/// # Errors
/// As [`place`].
pub fn place_patiently(bootstrap: &mut Value, addresses: &Addresses, access_log: &Path) -> Result<()> {
    be_patient(bootstrap);
    place(bootstrap, addresses, access_log)
}

/// Lengthens how long Envoy waits for a connection and for authz, wherever that is said in `config`.
pub fn be_patient(config: &mut Value) {
    match config {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("connect_timeout", Some(_)) => *value = json!("5s"),
                    // Both of `ext_authz`; what copilot may take is longer anyway.
                    ("timeout", Some("0.2s")) => *value = json!("10s"),
                    _ => be_patient(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(be_patient),
        _ => {}
    }
}

fn socket(address: &str, port: u16) -> Value {
    json!({"address": address, "port_value": port})
}

fn named<'a>(list: &'a mut Value, name: &str) -> Result<&'a mut Value> {
    list.as_array_mut()
        .and_then(|items| items.iter_mut().find(|item| item["name"] == name))
        .with_context(|| format!("the bootstrap has no `{name}`"))
}

fn endpoint(cluster: &mut Value) -> Result<&mut Value> {
    cluster
        .pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint")
        .context("a cluster of the bootstrap has no endpoint")
}

/// Lets the real Envoy check a bootstrap file.
///
/// # Errors
/// What Envoy objects to.
pub fn validate(file: &Path) -> Result<()> {
    let mut envoy = Command::new(tools::envoy()?);
    hermetic(&mut envoy).args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(file);
    let output = envoy.output().context("cannot run envoy")?;
    if !output.status.success() {
        bail!("envoy refuses {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
