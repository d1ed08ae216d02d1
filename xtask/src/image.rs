//! `cargo xtask image`: the images without a container engine. The binaries are built by the very command of
//! images/Containerfile, put into an empty root with the libraries that the base has, and started there as uid 65532 on a
//! read-only tree.

mod root;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use docsgate_harness::{http, paths, process::Process, ready};
use root::Root;

use crate::cargo_tool;

/// Writes the dependencies that stand in a binary as CycloneDX.
const AUDITABLE2CDX: &str = "0.1.0";
const GRACE: Duration = Duration::from_secs(20);

/// Builds, starts and asks.
pub(crate) fn run() -> Result<ExitCode> {
    let repository = paths::repository()?;
    let containerfile = fs::read_to_string(repository.join("images/Containerfile")).context("images/Containerfile")?;
    let revision = revision(&repository);
    build(&repository, &containerfile, &revision)?;
    let folder = tempfile::Builder::new().prefix("docsgate-image-").tempdir()?;
    let artifact = folder.path().join("public.docsgate");
    let program = |name: &str| repository.join("target/release").join(name);
    let made = Command::new(program("copilot"))
        .args([
            "index",
            "build",
            "docs/public",
            "--site-url",
            "https://docs.example.org/",
            "--corpus",
            "public",
            "--out",
        ])
        .arg(&artifact)
        .current_dir(&repository)
        .output()?;
    ensure!(made.status.success(), "copilot index build: {}", String::from_utf8_lossy(&made.stderr));

    for name in ["authz", "copilot"] {
        sbom(&repository, name)?;
        let root = Root::new(&folder.path().join(name), &program(name))?;
        let version = root.run(&["--version"])?;
        ensure!(version.contains(&revision), "{name} --version does not name the revision {revision}: {version}");
        crate::say(&format!("image: {}", version.trim()));
        root.put("artifacts/public.docsgate", &fs::read(&artifact)?)?;
        root.put("etc/docsgate/policy.yaml", &fs::read(repository.join("policies/dev/policy.yaml"))?)?;
        root.put("etc/docsgate/grant.keys", format!("k1:{}\n", "0123456789abcdef".repeat(4)).as_bytes())?;
        let process = match name {
            "authz" => authz(&root)?,
            _ => copilot(&root)?,
        };
        let ended = process.stop(GRACE);
        ensure!(ended.is_some_and(|status| status.success()), "{}", process.obituary());
    }
    crate::say("image: both programs ran with nothing but what the images hold, as uid 65532, on a read-only tree");
    Ok(ExitCode::SUCCESS)
}

/// The commit of this checkout; a source tree without one has no revision to name.
fn revision(repository: &Path) -> String {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(repository).output();
    let commit =
        output.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    commit.map_or_else(|| "no-commit".to_owned(), |commit| commit.trim().to_owned())
}

/// Runs the Containerfile's own `cargo auditable build` line.
fn build(repository: &Path, containerfile: &str, revision: &str) -> Result<()> {
    let line = containerfile.lines().find_map(|line| line.split_once("cargo auditable ")).map(|(_, rest)| rest);
    let arguments = line.context("images/Containerfile has no `cargo auditable build`")?;
    let version = containerfile
        .lines()
        .find(|line| line.contains("cargo-auditable") && line.contains("--version "))
        .and_then(|line| line.split_once("--version ")?.1.split_whitespace().next())
        .context("images/Containerfile does not pin cargo-auditable")?;
    let auditable = cargo_tool::bring("cargo-auditable", version)?;
    crate::say(&format!("image: cargo auditable {arguments}"));
    let status = Command::new(auditable)
        .arg("auditable")
        .args(arguments.split_whitespace())
        .env("DOCSGATE_REVISION", revision)
        .current_dir(repository)
        .status()
        .context("cannot run cargo-auditable")?;
    ensure!(status.success(), "the images' binaries do not build; cargo's messages are above");
    Ok(())
}

/// Writes `target/sbom/NAME.cdx.json` and looks whether it says what the binary is made of.
fn sbom(repository: &Path, name: &str) -> Result<()> {
    let convert = cargo_tool::bring("auditable2cdx", AUDITABLE2CDX)?;
    let output = Command::new(convert).arg(repository.join("target/release").join(name)).output()?;
    ensure!(output.status.success(), "auditable2cdx: {}", String::from_utf8_lossy(&output.stderr));
    let bill: serde_json::Value = serde_json::from_slice(&output.stdout).context("the SBOM is not JSON")?;
    let components = bill["components"].as_array().map_or(0, Vec::len);
    ensure!(bill["bomFormat"] == "CycloneDX" && components > 100, "the SBOM of {name} has {components} components");
    let file = repository.join("target/sbom").join(format!("{name}.cdx.json"));
    fs::create_dir_all(file.parent().context("target/sbom")?)?;
    fs::write(&file, &output.stdout)?;
    crate::say(&format!("image: {components} components in {}", file.display()));
    Ok(())
}

/// Starts authz as the chart does, and sees it ready.
fn authz(root: &Root) -> Result<Process> {
    let process = root.start(&[
        "serve",
        "--policy=/etc/docsgate/policy.yaml",
        "--listen=unix:/run/docsgate/authz.sock",
        "--admin-listen=127.0.0.1:0",
        "--grant-key-file=/etc/docsgate/grant.keys",
        "--ready-file=/run/docsgate/ready",
    ])?;
    let admin = admin(root, &process)?;
    ready::wait_until_serving(&process, &admin)?;
    ensure!(root.path("run/docsgate/authz.sock").exists(), "authz has no socket");
    Ok(process)
}

/// Starts copilot, asks it, and sees that it can write nowhere but in its cache.
fn copilot(root: &Root) -> Result<Process> {
    let process = root.start(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--corpus=public=/artifacts/public.docsgate",
        "--cache-dir=/var/cache/docsgate",
        "--insecure-no-grant",
        "--allow-unsigned",
        "--ready-file=/run/docsgate/ready",
    ])?;
    let admin = admin(root, &process)?;
    ready::wait_until_serving(&process, &admin)?;
    let url = listener(root, "http")?;
    let (status, body) = http::get(&format!("{url}/api/docs-search?q=rate+limits"))?;
    ensure!(status == 200 && body.contains("\"url\""), "copilot answered {status}: {body}");
    for place in ["/written", "/etc/docsgate/written", "/artifacts/written", "/usr/local/bin/written"] {
        if root.run(&["index", "keygen", "--out", place]).is_ok() {
            bail!("{place} could be written");
        }
    }
    root.run(&["index", "keygen", "--out", "/var/cache/docsgate/written"])?;
    Ok(process)
}

fn admin(root: &Root, process: &Process) -> Result<String> {
    process.until("its ready file", GRACE, || root.path("run/docsgate/ready").is_file().then_some(()))?;
    listener(root, "admin")
}

fn listener(root: &Root, name: &str) -> Result<String> {
    let text = fs::read(root.path("run/docsgate/ready"))?;
    let ready: serde_json::Value = serde_json::from_slice(&text)?;
    let address = ready["listeners"][name].as_str().with_context(|| format!("no listener {name}"))?;
    Ok(format!("http://{address}"))
}
