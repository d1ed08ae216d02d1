//! `cargo xtask fuzz`: every fuzz target for some seconds, from its seeds.
//!
//! Coverage instrumentation needs no nightly compiler; the address sanitizer would, and `unsafe` is forbidden here, so it
//! is left out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::{interrupt, paths};

/// The release of cargo-fuzz that is brought when there is none on `PATH`.
const CARGO_FUZZ: &str = "0.13.2";

/// Options of the fuzz run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u32,
    /// Only these targets. Default: all of them.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Builds all targets, runs each, and ends with the inputs that broke one.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    interrupt::watch()?;
    let folder = paths::repository()?.join("fuzz");
    let known = targets(&folder)?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", known.join(", "));
    }
    let program = cargo_fuzz(&folder)?;
    let fuzz = |arguments: &[&str]| -> Result<bool> {
        let mut command = Command::new(&program);
        command.arg("fuzz").args(arguments).current_dir(&folder);
        let status = command.status().context("cannot run cargo-fuzz")?;
        if interrupt::requested() {
            bail!(interrupt::Interrupted);
        }
        Ok(status.success())
    };
    if !fuzz(&["build", "--fuzz-dir", ".", "--sanitizer", "none"])? {
        bail!("the fuzz targets do not build; the compiler's messages are above");
    }
    let mut broken = Vec::new();
    for target in known.iter().filter(|target| options.targets.is_empty() || options.targets.contains(target)) {
        crate::say(&format!("fuzz: {target} for {} s", options.seconds));
        let (corpus, seeds) = (format!("corpus/{target}"), format!("seeds/{target}"));
        fs::create_dir_all(folder.join(&corpus)).with_context(|| format!("cannot create fuzz/{corpus}"))?;
        let time = format!("-max_total_time={}", options.seconds);
        let arguments = ["run", "--fuzz-dir", ".", "--sanitizer", "none", target, &corpus, &seeds, "--", &time];
        // One input may take seconds only if it hangs; memory is bounded as a container's would be.
        let bounds = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-verbosity=1", "-print_final_stats=1"];
        if !fuzz(&[arguments.as_slice(), &bounds].concat())? {
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() {
        crate::say("fuzz: no input broke a target");
        return Ok(ExitCode::SUCCESS);
    }
    crate::say(&format!("fuzz: broken: {}; the inputs are in fuzz/artifacts", broken.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Names of all targets, in order.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder.join("fuzz_targets")).context("fuzz/fuzz_targets")?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// cargo-fuzz from `PATH`, or a pinned one that is installed below `.tools/`.
fn cargo_fuzz(folder: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).map(|entry| entry.join("cargo-fuzz")).find(|file| file.is_file())
    {
        return Ok(found);
    }
    let root = folder.parent().context("fuzz/ has no parent")?.join(format!(".tools/cargo-fuzz-{CARGO_FUZZ}"));
    let program = root.join("bin/cargo-fuzz");
    if !program.is_file() {
        crate::say(&format!("fuzz: installing cargo-fuzz {CARGO_FUZZ}"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let version = format!("={CARGO_FUZZ}");
        let status = Command::new(cargo)
            .args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", &version, "--root"])
            .arg(&root)
            .status()
            .context("cannot run cargo install")?;
        if !status.success() {
            bail!("cargo-fuzz {CARGO_FUZZ} could not be installed; cargo's messages are above");
        }
    }
    Ok(program)
}
