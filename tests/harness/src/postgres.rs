//! A real Postgres 18 of its own: TCP on loopback with a password, data in a folder that may be kept.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::process::{Launch, Process, hermetic};
use crate::{port, random, tools};

mod account;
mod standby;

pub use account::Account;

/// The superuser of the cluster; migrations and `authz member` run as it.
pub const OWNER: &str = "docsgate";

/// How long processes of a killed server may take to notice.
const LINGERING: Duration = Duration::from_secs(15);

/// What the server is started with.
#[derive(Debug)]
pub struct Options {
    /// The folder for data, password and log.
    pub folder: PathBuf,
    /// Data that is thrown away need not reach the disk.
    pub durable: bool,
    /// Extra `name=value` settings.
    pub settings: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// The postmaster.
    pub process: Process,
    port: u16,
    password: String,
    bin: PathBuf,
    data: PathBuf,
}

impl Postgres {
    /// Starts a server on the data in `options.folder`, which is created when it is empty.
    ///
    /// # Errors
    /// When Postgres cannot be brought, initialised or started.
    pub fn start(options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.folder).with_context(|| format!("cannot create {}", options.folder.display()))?;
        let account = Account::fit()?;
        let installation = account.readable_copy(&tools::postgres()?)?;
        let bin = tools::postgres_bin(&installation);
        let data = account.data_folder(&options.folder)?;
        let password = password(&options.folder)?;
        if !data.join("PG_VERSION").is_file() {
            initialise(&bin, &data, &password, &account)?;
        }
        forget_dead_postmaster(&data);
        let last = options.folder.join("port");
        let mut candidates: Vec<u16> =
            fs::read_to_string(&last).ok().and_then(|port| port.trim().parse().ok()).into_iter().collect();
        for _ in 0..20 {
            candidates.push(port::candidate()?);
        }
        let deadline = Instant::now() + LINGERING;
        for port in candidates {
            loop {
                let process = launch(&bin, &data, port, options, &account).spawn()?;
                let Err(error) = wait(&process, &data) else {
                    fs::write(&last, port.to_string()).with_context(|| format!("cannot write {}", last.display()))?;
                    return Ok(Self { process, port, password, bin, data });
                };
                let said = error.to_string();
                if said.contains("Address already in use") {
                    break;
                }
                // The children of a killed postmaster notice its end a moment later and then let go of its memory.
                if !said.contains("pre-existing shared memory block") || Instant::now() >= deadline {
                    return Err(error);
                }
            }
        }
        bail!("Postgres found no free port")
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A program of this Postgres version, such as `pg_basebackup`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// URL of `database` for the cluster's owner.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as(OWNER, &self.password, database)
    }

    /// URL of `database` for another role.
    #[must_use]
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates `database` unless it exists.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create_database(&self, database: &str) -> Result<()> {
        let exists = self.sql("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'"))?;
        if exists.trim() != "1" {
            self.sql("postgres", &format!("CREATE DATABASE \"{database}\""))?;
        }
        Ok(())
    }

    /// Removes `database`, ending its connections.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn drop_database(&self, database: &str) -> Result<()> {
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)")).map(|_| ())
    }

    /// Creates (or resets the password of) a login that has the rights of `group`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn login(&self, database: &str, role: &str, group: &str) -> Result<String> {
        let secret = secret()?; // letters and digits: needs no quoting
        self.sql(
            database,
            &format!(
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE \"{role}\" LOGIN; END IF; END $$;
                 ALTER ROLE \"{role}\" LOGIN PASSWORD '{secret}'; GRANT \"{group}\" TO \"{role}\";"
            ),
        )?;
        Ok(self.url_as(role, &secret, database))
    }

    /// Runs SQL as the owner and returns the unaligned rows.
    ///
    /// # Errors
    /// What psql said.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        hermetic(&mut psql)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname"])
            .arg(self.url(database))
            .args(["--command", sql])
            .stdin(Stdio::null());
        let output = psql.output().context("cannot run psql")?;
        if !output.status.success() {
            bail!("psql in {database}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn launch(bin: &Path, data: &Path, port: u16, options: &Options, account: &Account) -> Launch {
    let log = options.folder.join("postgres.log");
    let mut launch = Launch::new("postgres", &bin.join("postgres"), log)
        .stop_signal(Signal::INT) // fast shutdown: do not wait for clients
        .arg("-D")
        .arg(data)
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", &format!("port={port}")])
        .args(["-c", "logging_collector=off", "-c", "max_connections=200", "-c", "timezone=UTC"]);
    if !options.durable {
        launch = launch.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]);
    }
    for setting in &options.settings {
        launch = launch.args(["-c", setting]);
    }
    account.apply(launch)
}

/// Removes the pid file of a postmaster that was killed, when its number looks alive all the same: taken over by
/// another program, or a zombie that nobody collects (as in a container without an init).
fn forget_dead_postmaster(data: &Path) {
    let file = data.join("postmaster.pid");
    let Some(pid) = fs::read_to_string(&file).ok().and_then(|text| text.lines().next()?.trim().parse::<u32>().ok())
    else {
        return;
    };
    let alive = fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.contains("(postgres)") && !stat.contains("(postgres) Z "));
    if !alive {
        let _ = fs::remove_file(file);
    }
}

/// The postmaster writes its state into the eighth line of its own pid file: no connection is needed to ask.
fn wait(process: &Process, data: &Path) -> Result<()> {
    let file = data.join("postmaster.pid");
    let own = process.pid().to_string();
    process.until("readiness of Postgres", Duration::from_secs(60), || {
        let text = fs::read_to_string(&file).ok()?;
        let mut lines = text.lines();
        (lines.next()? == own && ["ready", "standby"].contains(&lines.nth(6)?.trim())).then_some(())
    })
}

fn initialise(bin: &Path, data: &Path, password: &str, account: &Account) -> Result<()> {
    let mut given = tempfile::NamedTempFile::new().context("cannot write a temporary file")?;
    given.write_all(password.as_bytes())?;
    account.own(given.path())?;
    let mut initdb = account.command(&bin.join("initdb"));
    initdb
        .args(["--username", OWNER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"])
        // Small log segments: a fresh cluster takes 30 MB instead of 45.
        .args(["--wal-segsize", "1", "--no-sync", "--no-instructions", "--pwfile"])
        .arg(given.path())
        .arg("-D")
        .arg(data);
    let output = initdb.stdin(Stdio::null()).output().context("cannot run initdb")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("initdb in {} failed: {}", data.display(), said.trim());
    }
    Ok(())
}

/// The owner's password, made once per data folder.
fn password(folder: &Path) -> Result<String> {
    let path = folder.join("password");
    if let Ok(known) = fs::read_to_string(&path) {
        return Ok(known.trim().to_owned());
    }
    let made = secret()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(made.as_bytes())?;
    Ok(made)
}

fn secret() -> Result<String> {
    Ok(random::bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn private_folder(path: &Path, mode: u32) -> Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot create {}", path.display()))
        }
        _ => Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?),
    }
}

#[cfg(test)]
mod tests;
