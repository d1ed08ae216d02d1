//! `cargo xtask fuzz`: every fuzz target for some seconds, from its seeds.
//!
//! Coverage instrumentation needs no nightly compiler; the address sanitizer would, and `unsafe` is forbidden here, so it
//! is left out.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::{interrupt, paths};

use crate::cargo_tool;

/// The release of cargo-fuzz.
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
    let program = cargo_tool::bring("cargo-fuzz", CARGO_FUZZ)?;
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
