//! The whole gate: Postgres, issuer, copilot, authz and Envoy, started in order and ended in the opposite one.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::authz::{self, Authz, Issuer};
use crate::copilot::{self, Copilot, Docs};
use crate::envoy::{self, Envoy};
use crate::policy::{self, Expectations, LivePolicy};
use crate::postgres::{self, Postgres};
use crate::process::Process;
use crate::progress::Step;
use crate::random;

/// What a stack is made of.
#[derive(Debug)]
pub struct Options {
    /// Everything that the stack writes lies here.
    pub folder: PathBuf,
    /// Where Envoy listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The policy as an operator writes it: a file or a directory.
    pub policy: PathBuf,
    /// The corpora.
    pub docs: Vec<Docs>,
    /// Another HTTP server in copilot's place: host and port.
    pub backend: Option<(String, u16)>,
    /// Redis, for shared limits.
    pub redis_url: Option<String>,
    /// A server that other stacks use too, and the database of this one; otherwise the stack starts its own.
    pub shared_postgres: Option<(Arc<Postgres>, String)>,
    /// Prints a line for every step.
    pub talkative: bool,
    /// Further flags of `authz serve`.
    pub authz_extra: Vec<String>,
}

/// The database of a stack that has a server of its own.
pub const DATABASE: &str = "docsgate";

/// A running gate. Dropping it ends every process, Envoy first.
#[derive(Debug)]
pub struct Stack {
    /// Envoy.
    pub envoy: Envoy,
    /// authz.
    pub authz: Authz,
    /// How authz was started, to start it again.
    pub authz_options: authz::Options,
    /// copilot, unless another backend takes its place.
    pub copilot: Option<Copilot>,
    /// The development issuer.
    pub issuer: Issuer,
    /// The policy, which follows its original.
    pub policy: LivePolicy,
    /// What tokens must say.
    pub expectations: Expectations,
    /// The Postgres server.
    pub postgres: Arc<Postgres>,
    /// The database on it.
    pub database: String,
    /// Grant keys that authz and copilot share.
    pub grant_key: PathBuf,
    _socket_folder: Option<tempfile::TempDir>,
}

impl Stack {
    /// Starts everything and returns when Envoy answers.
    ///
    /// # Errors
    /// The first thing that went wrong; everything started before it is ended.
    pub fn start(options: &Options) -> Result<Self> {
        let step = |what: &str| if options.talkative { Step::start(what) } else { Step::silent(what) };
        let folder =
            options.folder.canonicalize().with_context(|| format!("cannot find {}", options.folder.display()))?;

        let starting = step("Postgres 18");
        let (postgres, database) = match &options.shared_postgres {
            Some((server, database)) => (Arc::clone(server), database.clone()),
            None => {
                let own = postgres::Options { folder: folder.join("postgres"), durable: true, settings: Vec::new() };
                (Arc::new(Postgres::start(&own)?), DATABASE.to_owned())
            }
        };
        postgres.create_database(&database)?;
        authz::migrate(&postgres.url(&database), folder.join("migrate.log"))?;
        let reader_url = postgres.login(&database, &format!("{database}_authz"), "docsgate_reader")?;
        starting.done(&format!("127.0.0.1:{}", postgres.port()));

        let starting = step("token issuer");
        let issuer = Issuer::start(&folder)?;
        starting.done(&issuer.jwks_url);

        let grant_key = folder.join("grant.keys");
        write_grant_key(&grant_key)?;

        let copilot = match options.backend {
            Some(_) => None,
            None => Some(start_copilot(options, &folder, &grant_key)?),
        };

        let starting = step("authz");
        let policy = LivePolicy::derive(&options.policy, &folder.join("policy"), &issuer.jwks_url)?;
        let expectations = policy::expectations(&options.policy)?;
        let (socket, socket_folder) = socket_path(&folder)?;
        let authz_options = authz::Options {
            folder: folder.clone(),
            policy: policy.served().to_path_buf(),
            socket: socket.clone(),
            grant_key: grant_key.clone(),
            database_url: Some(reader_url),
            redis_url: options.redis_url.clone(),
            extra: patient(options.authz_extra.clone()),
            env: Vec::new(),
        };
        let authz = Authz::start(&authz_options)?;
        starting.done(&format!("{}, {}", socket.display(), authz.admin_url));

        let starting = step("Envoy 1.40");
        let backend = match (&options.backend, &copilot) {
            (Some(backend), _) => backend.clone(),
            (None, Some(copilot)) => host_and_port(&copilot.address)?,
            (None, None) => bail!("there is neither copilot nor another backend"),
        };
        let backend_grpc = copilot.as_ref().map(|copilot| host_and_port(&copilot.grpc_address)).transpose()?;
        let addresses = envoy::Addresses { listen: options.listen, authz_socket: socket, backend, backend_grpc };
        let envoy = Envoy::start(&addresses, &folder)?;
        starting.done(&envoy.url());

        Ok(Self {
            envoy,
            authz,
            authz_options,
            copilot,
            issuer,
            policy,
            expectations,
            postgres,
            database,
            grant_key,
            _socket_folder: socket_folder,
        })
    }

    /// The processes of this stack, in the order in which they are ended.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.envoy.process, &self.authz.process]
            .into_iter()
            .chain(self.copilot.iter().map(|copilot| &copilot.process))
            .chain([&self.issuer.process, &self.postgres.process])
    }

    /// A token for `subject` that the policy accepts.
    ///
    /// # Errors
    /// What `authz token mint` said.
    pub fn token(&self, subject: &str, lifetime: &str) -> Result<String> {
        let Expectations { issuer, audience, .. } = &self.expectations;
        authz::mint(&self.issuer.key, authz::Claims { issuer, audience, subject, lifetime })
    }

    /// Runs `authz member ACTION …` for `subject` as the portal's operators would.
    ///
    /// # Errors
    /// What the command said.
    pub fn member(&self, action: &str, subject: &str) -> Result<String> {
        let url = self.database_url();
        let Expectations { issuer, feature, .. } = &self.expectations;
        authz::command(&["member", action, "--database-url", &url, "--issuer", issuer, "--feature", feature, subject])
    }

    /// URL of the database for its owner.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Ends everything in order; a server shared with other stacks goes on.
    pub fn stop(self) {
        const GRACE: Duration = Duration::from_secs(8);
        let shared = Arc::strong_count(&self.postgres) > 1;
        for process in self.processes() {
            if shared && std::ptr::eq(process, &raw const self.postgres.process) {
                continue;
            }
            process.stop(GRACE);
        }
    }
}

/// These flags of `authz serve`, and a deadline that a busy machine keeps unless they name one.
fn patient(mut flags: Vec<String>) -> Vec<String> {
    if !flags.iter().any(|flag| flag == "--deadline-ms") {
        flags.extend(["--deadline-ms", "5000"].map(str::to_owned));
    }
    flags
}

fn start_copilot(options: &Options, folder: &Path, grant_key: &Path) -> Result<Copilot> {
    let step = |what: String| if options.talkative { Step::start(what) } else { Step::silent(what) };
    let mut corpora = Vec::new();
    for docs in &options.docs {
        let indexing = step(format!("index of {} ({})", docs.folder.display(), docs.corpus));
        let (artifact, built) = docs.index(&folder.join("index"))?;
        indexing.done(&format!("{} documents{}", docs.count()?, if built { "" } else { ", unchanged" }));
        corpora.push((docs.corpus.clone(), artifact));
    }
    let starting = step("copilot".to_owned());
    let wanted = copilot::Options {
        folder: folder.to_path_buf(),
        corpora,
        grant_key: grant_key.to_path_buf(),
        verify_key: copilot::verify_key(&folder.join("index")),
        extra: Vec::new(),
        env: Vec::new(),
    };
    let copilot = Copilot::start(&wanted)?;
    starting.done(&copilot.url());
    Ok(copilot)
}

/// One key, made once. Hexadecimal digits are valid base64: 64 of them are 48 random bytes' worth of secret.
fn write_grant_key(path: &Path) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    let secret: String = random::bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "dev-1:{secret}").context("cannot write the grant key")
}

/// authz's socket: in the stack's folder, or in a short temporary one when the path would not fit into a socket address.
fn socket_path(folder: &Path) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    const LONGEST: usize = 100;
    let wanted = folder.join("authz.sock");
    if wanted.as_os_str().len() <= LONGEST {
        return Ok((wanted, None));
    }
    let short = tempfile::Builder::new().prefix("docsgate-").tempdir_in("/tmp").context("cannot write to /tmp")?;
    Ok((short.path().join("authz.sock"), Some(short)))
}

fn host_and_port(address: &str) -> Result<(String, u16)> {
    let address: SocketAddr = address.parse().with_context(|| format!("{address} is not an address"))?;
    Ok((address.ip().to_string(), address.port()))
}
