//! One child process: started so that it cannot outlive its parent, watched, logged, stopped in order.
//!
//! The kernel ends a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so all children are started
//! by one thread that lives as long as the program. That holds even when the program is killed with SIGKILL.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal};

use crate::interrupt;

/// Variables that a child inherits. Everything else is left out: a `DATABASE_URL` or `REDIS_URL` in the
/// operator's shell must not silently become a setting of a process under test.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENAI_API_BASE_URL",
    "OPENAI_API_KEY",
    "OLLAMA_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "LLVM_PROFILE_FILE",
];

/// What to start.
#[derive(Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    log: PathBuf,
    user: Option<(u32, u32)>,
    stop: Signal,
}

impl Launch {
    /// A process called `name` in messages, whose output goes to `log`.
    #[must_use]
    pub fn new(name: &str, program: &Path, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_path_buf(),
            args: Vec::new(),
            envs: Vec::new(),
            log,
            user: None,
            stop: Signal::TERM,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs as this user and group, with no others.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// The signal that asks it to end; SIGTERM unless said otherwise.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started, fails, or takes longer than `patience`; with what it said.
    pub fn run(self, patience: Duration) -> Result<()> {
        let process = self.spawn()?;
        let status = process.until(&format!("the end of {}", process.name()), patience, || process.exited())?;
        if !status.success() {
            bail!("{}", process.obituary());
        }
        Ok(())
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub fn spawn(self) -> Result<Process> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        if !self.program.is_file() {
            bail!("{}: there is no program {}", self.name, self.program.display());
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((uid, gid)) = self.user {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        hermetic(&mut command).envs(self.envs);
        command
            .process_group(0) // Ctrl-C in a terminal reaches the parent alone, which then stops all in order
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log);
        let child = spawn_from_lasting_thread(command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow::anyhow!("`setpriv` is missing: sudo apt-get install util-linux (needed to start {})", self.name)
            }
            _ => anyhow::Error::from(error).context(format!("cannot start {}", self.name)),
        })?;
        Process::watch(self.name, child, self.log, self.stop)
    }
}

/// Clears the environment of `command` down to what every child may inherit.
pub fn hermetic(command: &mut Command) -> &mut Command {
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

type Spawned = (Command, mpsc::SyncSender<io::Result<Child>>);

fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Spawned>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Spawned>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, answer) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.lock().send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

#[derive(Debug, Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    stop: Signal,
    end: Arc<End>,
}

impl Process {
    fn watch(name: String, mut child: Child, log: PathBuf, stop: Signal) -> Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the kernel gave no process id")?;
        let end = Arc::new(End::default());
        let announce = Arc::clone(&end);
        std::thread::spawn(move || {
            // Signals are sent only while `status` is empty and under its lock, so a recycled id is never hit.
            let status = wait_without_reaping(pid).and_then(|()| {
                // What it started itself must not outlive it. Until it is collected, the group's number is its own.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let mut slot = announce.status.lock();
                let status = child.wait()?;
                *slot = Some(status);
                Ok(())
            });
            if status.is_err() {
                let mut slot = announce.status.lock();
                *slot = Some(ExitStatus::from_raw(0xff00));
            }
            announce.changed.notify_all();
        });
        Ok(Self { name, pid, log, stop, end })
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The file that has what it printed.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.end.status.lock()
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait_at_most(&self, patience: Duration) -> Option<ExitStatus> {
        let mut slot = self.end.status.lock();
        self.end.changed.wait_while_for(&mut slot, |status| status.is_none(), patience);
        *slot
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        let slot = self.end.status.lock();
        if slot.is_none() {
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Ends it and its own children at once, without a chance to clean up.
    pub fn kill(&self) {
        {
            let slot = self.end.status.lock();
            if slot.is_none() {
                let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
                let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            }
        }
        let _ = self.wait_at_most(Duration::from_secs(10));
    }

    /// Asks it to end, and insists after `grace`. Tells how it ended; `None` only if even SIGKILL did not help.
    pub fn stop(&self, grace: Duration) -> Option<ExitStatus> {
        self.signal(self.stop);
        if self.wait_at_most(grace).is_none() {
            self.kill();
        }
        self.exited()
    }

    /// Who died, how, and what it said last: everything a person needs to start looking.
    #[must_use]
    pub fn obituary(&self) -> String {
        let how = match self.exited() {
            None => "is running".to_owned(),
            Some(status) => describe(status),
        };
        let last = tail(&self.log, 12);
        let said = if last.is_empty() { String::new() } else { format!("; its last lines:\n  {}", last.join("\n  ")) };
        format!("{} (process {}) {how}; log: {}{said}", self.name, self.pid(), self.log.display())
    }

    /// Polls `condition` until it yields a value; fails with the obituary when the process ends first.
    ///
    /// # Errors
    /// When the process ends or `patience` runs out.
    pub fn until<T>(&self, what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(value) = condition() {
                return Ok(value);
            }
            if self.wait_at_most(Duration::from_millis(10)).is_some() {
                // The condition may have come true just before the end.
                return condition().ok_or_else(|| anyhow::anyhow!("{}", self.obituary()));
            }
            if interrupt::requested() {
                bail!(interrupt::Interrupted);
            }
            if Instant::now() >= deadline {
                bail!("{what} did not come within {} s: {}", patience.as_secs(), self.obituary());
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.stop(Duration::from_secs(5));
        }
    }
}

/// Returns when the child has ended and still holds its process id.
fn wait_without_reaping(pid: Pid) -> io::Result<()> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last `lines` lines of a file; empty when it cannot be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> Vec<String> {
    const ENOUGH: u64 = 16 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        let mut bytes = Vec::new();
        file.take(ENOUGH).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests;
