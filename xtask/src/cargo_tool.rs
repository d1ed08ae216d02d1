//! Programs of other projects that are built from their crates, pinned.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use docsgate_harness::paths;

/// `name` at exactly `version`, installed below `.tools/` unless it is there.
pub(crate) fn bring(name: &str, version: &str) -> Result<PathBuf> {
    let root = paths::repository()?.join(format!(".tools/{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        crate::say(&format!("installing {name} {version}"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let status = Command::new(cargo)
            .args(["install", "--quiet", "--locked", name, "--version", &format!("={version}"), "--root"])
            .arg(&root)
            .status()
            .context("cannot run cargo install")?;
        if !status.success() {
            bail!("{name} {version} could not be installed; cargo's messages are above");
        }
    }
    Ok(program)
}
