//! Builds what the demo and the tests run.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use docsgate_harness::{interrupt, paths};

/// Set by the tests, which run this program on binaries that they have built themselves.
const PREBUILT: &str = "DOCSGATE_PREBUILT";

/// Runs `cargo build` with `arguments`; cargo itself shows the progress.
pub(crate) fn cargo_build(arguments: &[&str]) -> Result<()> {
    if std::env::var_os(PREBUILT).is_some() {
        return Ok(());
    }
    let started = Instant::now();
    crate::say(&format!("build: cargo build {}", arguments.join(" ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .arg("build")
        .args(arguments)
        .current_dir(paths::repository()?)
        .status()
        .context("cannot run cargo")?;
    if interrupt::requested() {
        bail!(interrupt::Interrupted);
    }
    if !status.success() {
        bail!("`cargo build {}` failed; its messages are above", arguments.join(" "));
    }
    crate::say(&format!("build: done ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}
