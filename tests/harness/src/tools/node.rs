//! What an example in TypeScript needs, from its lock file: `npm ci` checks every package against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{INCOMING, lock, remove_leftovers};
use crate::paths;
use crate::progress::Step;

/// The folder with the `node_modules` that `xtask/tools/portal` pins. Instant when it is there.
///
/// # Errors
/// When npm (the path given) cannot bring it, with what it said.
pub fn portal_modules(npm: &Path) -> Result<PathBuf> {
    const PINNED: [&str; 2] = ["package.json", "package-lock.json"];
    let root = paths::repository()?;
    let (pinned, tools) = (root.join("xtask/tools/portal"), root.join(".tools"));
    let wanted =
        fs::read_to_string(pinned.join("package-lock.json")).context("xtask/tools/portal/package-lock.json")?;
    let folder = tools.join("portal");
    let complete = || fs::read_to_string(folder.join(".complete")).is_ok_and(|text| text == wanted);
    if complete() {
        return Ok(folder);
    }
    let _lock = lock(&tools)?;
    if complete() {
        return Ok(folder);
    }
    remove_leftovers(&tools);
    let step = Step::start("the packages of the TypeScript example");
    let fresh = tempfile::Builder::new()
        .prefix(INCOMING)
        .tempdir_in(&tools)
        .with_context(|| format!("cannot create a folder in {}", tools.display()))?;
    let target = fresh.path().join("portal");
    fs::create_dir(&target)?;
    for file in PINNED {
        fs::copy(pinned.join(file), target.join(file)).with_context(|| format!("xtask/tools/portal/{file}"))?;
    }
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
        .current_dir(&target)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", npm.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        bail!("`npm ci` of xtask/tools/portal failed ({}): {}", output.status, said.join("\n"));
    }
    fs::write(target.join(".complete"), &wanted)?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&target, &folder).with_context(|| format!("cannot move to {}", folder.display()))?;
    step.done("installed");
    Ok(folder)
}
