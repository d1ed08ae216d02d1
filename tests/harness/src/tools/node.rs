//! npm packages that tests use, from lock files: `npm ci` checks every package against them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{INCOMING, lock, remove_leftovers};
use crate::paths;
use crate::progress::Step;

/// The folder with the `node_modules` that `xtask/tools/NAME` pins. Instant when it is there.
///
/// # Errors
/// When npm (the path given) cannot bring it, with what it said.
pub fn modules(npm: &Path, name: &str) -> Result<PathBuf> {
    const PINNED: [&str; 2] = ["package.json", "package-lock.json"];
    let root = paths::repository()?;
    let (pinned, tools) = (root.join("xtask/tools").join(name), root.join(".tools"));
    let lock_file = pinned.join("package-lock.json");
    let wanted = fs::read_to_string(&lock_file).with_context(|| lock_file.display().to_string())?;
    let folder = tools.join(name);
    let complete = || fs::read_to_string(folder.join(".complete")).is_ok_and(|text| text == wanted);
    if complete() {
        return Ok(folder);
    }
    let _lock = lock(&tools)?;
    if complete() {
        return Ok(folder);
    }
    remove_leftovers(&tools);
    let step = Step::start(format!("the npm packages of {name}"));
    let fresh = tempfile::Builder::new()
        .prefix(INCOMING)
        .tempdir_in(&tools)
        .with_context(|| format!("cannot create a folder in {}", tools.display()))?;
    let target = fresh.path().join(name);
    fs::create_dir(&target)?;
    for file in PINNED {
        fs::copy(pinned.join(file), target.join(file)).with_context(|| format!("xtask/tools/{name}/{file}"))?;
    }
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
        .current_dir(&target)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", npm.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        bail!("`npm ci` of xtask/tools/{name} failed ({}): {}", output.status, said.join("\n"));
    }
    fs::write(target.join(".complete"), &wanted)?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&target, &folder).with_context(|| format!("cannot move to {}", folder.display()))?;
    step.done("installed");
    Ok(folder)
}
