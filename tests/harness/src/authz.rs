//! authz as a process, and its commands: issuer, tokens, migrations, members.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Launch, Process, hermetic};
use crate::{paths, ready};

/// A running development issuer: it publishes the public half of its key.
#[derive(Debug)]
pub struct Issuer {
    /// The process.
    pub process: Process,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Where its JWKS is.
    pub jwks_url: String,
}

impl Issuer {
    /// Starts an issuer on the key in `folder`, which is made when it is missing.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(folder: &Path) -> Result<Self> {
        let key = folder.join("issuer.pem");
        let launch = Launch::new("issuer", &paths::binary("authz")?, folder.join("issuer.log"))
            .args(["token", "issuer", "--listen", "127.0.0.1:0", "--generate", "--key"])
            .arg(&key);
        let (process, ready) = ready::start(launch, &folder.join("issuer.ready"))?;
        let jwks_url = format!("{}/.well-known/jwks.json", ready.url("http")?);
        Ok(Self { process, key, jwks_url })
    }
}

/// What a token says.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// How long it is valid, such as `1h`.
    pub lifetime: &'a str,
}

/// A token signed with the key in the PEM file.
///
/// # Errors
/// What `authz token mint` said.
pub fn mint(key: &Path, claims: Claims<'_>) -> Result<String> {
    let key = key.display().to_string();
    let token = command(&[
        "token",
        "mint",
        "--key",
        &key,
        "--issuer",
        claims.issuer,
        "--audience",
        claims.audience,
        "--subject",
        claims.subject,
        "--ttl",
        claims.lifetime,
    ])?;
    Ok(token.trim().to_owned())
}

/// Runs an `authz` command to its end and returns what it printed.
///
/// # Errors
/// When its exit status is not 0, with what it said.
pub fn command(arguments: &[&str]) -> Result<String> {
    let mut authz = Command::new(paths::binary("authz")?);
    let output = hermetic(&mut authz).args(arguments).output().context("cannot run authz")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let verbs: Vec<&str> = arguments.iter().copied().take_while(|word| !word.starts_with("--")).collect();
        bail!("`authz {}` failed ({}): {}", verbs.join(" "), output.status, said.join(" ").trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `authz serve` is started with.
#[derive(Debug)]
pub struct Options {
    /// Log and ready file.
    pub folder: PathBuf,
    /// The policy file or directory.
    pub policy: PathBuf,
    /// The Unix socket for Envoy.
    pub socket: PathBuf,
    /// Grant keys.
    pub grant_key: PathBuf,
    /// Postgres, for entitlements.
    pub database_url: Option<String>,
    /// Redis, for shared limits.
    pub redis_url: Option<String>,
    /// Further flags.
    pub extra: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

/// A running authz.
#[derive(Debug)]
pub struct Authz {
    /// The process.
    pub process: Process,
    /// Metrics, health and policy status.
    pub admin_url: String,
    /// The Unix socket.
    pub socket: PathBuf,
}

impl Authz {
    /// Starts authz and waits until it has bound its listeners and `/readyz` says yes.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub fn start(options: &Options) -> Result<Self> {
        let authz = Self::start_unready(options)?;
        ready::wait_until_serving(&authz.process, &authz.admin_url)?;
        Ok(authz)
    }

    /// Starts authz and waits only for its listeners.
    ///
    /// # Errors
    /// When it ends.
    pub fn start_unready(options: &Options) -> Result<Self> {
        let listen = format!("unix:{}", options.socket.display());
        let (process, ready) = launch(options, &listen)?;
        Ok(Self { process, admin_url: ready.url("admin")?, socket: options.socket.clone() })
    }

    /// Starts authz on a TCP port in the place of its socket; tells the port's address as well.
    ///
    /// # Errors
    /// As [`Authz::start`].
    pub fn start_on_tcp(options: &Options) -> Result<(Self, String)> {
        let (process, ready) = launch(options, "127.0.0.1:0")?;
        let address = ready.listener("grpc")?.to_owned();
        let authz = Self { process, admin_url: ready.url("admin")?, socket: options.socket.clone() };
        ready::wait_until_serving(&authz.process, &authz.admin_url)?;
        Ok((authz, address))
    }
}

fn launch(options: &Options, listen: &str) -> Result<(Process, ready::Ready)> {
    let mut launch = Launch::new("authz", &paths::binary("authz")?, options.folder.join("authz.log"))
        .args(["serve", "--allow-http-jwks", "--admin-listen", "127.0.0.1:0", "--policy"])
        .arg(&options.policy)
        .arg("--listen")
        .arg(listen)
        .arg("--grant-key-file")
        .arg(&options.grant_key)
        .args(&options.extra);
    // By environment: the password in a URL must not show in the list of processes.
    if let Some(url) = &options.database_url {
        launch = launch.env("DATABASE_URL", url);
    }
    if let Some(url) = &options.redis_url {
        launch = launch.env("REDIS_URL", url);
    }
    for (name, value) in &options.env {
        launch = launch.env(name, value);
    }
    ready::start(launch, &options.folder.join("authz.ready"))
}

/// How long a command over a real database may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates or updates schema and roles.
///
/// # Errors
/// What `authz migrate` said.
pub fn migrate(database_url: &str, log: PathBuf) -> Result<()> {
    Launch::new("authz migrate", &paths::binary("authz")?, log)
        .args(["migrate", "--database-url", database_url])
        .run(PATIENCE)
}
