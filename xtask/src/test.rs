//! `cargo xtask test`: tools, build, the whole suite, and what could not be run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::{interrupt, paths, system_tool, tools};

use crate::build::cargo_build;

/// Options of the test run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, such as `-p docsgate-tests preflight`. Default: the whole workspace.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

/// Brings the tools, builds, tests, and ends with what could not be run.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    interrupt::watch()?;
    tools::envoy()?;
    tools::postgres()?;
    tools::helm()?;
    tools::bring(tools::Tool::MkDocs)?;
    tools::bring(tools::Tool::Moto)?;
    tools::bring(tools::Tool::PyJwt)?;
    tools::bring(tools::Tool::KubernetesValidate)?;
    // With all targets, so that the binaries are built with the features that the tests are built with: once.
    cargo_build(&["--workspace", "--all-targets"])?;

    let root = paths::repository()?;
    let scratch = root.join("target/test-run");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let report = scratch.join(format!("missing-tools-{}", std::process::id()));
    let _ = fs::remove_file(&report);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        if options.cargo_test.is_empty() { vec!["--workspace".to_owned()] } else { options.cargo_test.clone() };
    let status = Command::new(cargo)
        .arg("test")
        .args(&arguments)
        .current_dir(&root)
        .env(system_tool::REPORT, &report)
        .status()
        .context("cannot run cargo test")?;
    if interrupt::requested() {
        bail!(interrupt::Interrupted);
    }
    let missing = fs::read_to_string(&report).unwrap_or_default();
    let _ = fs::remove_file(&report);
    for line in summary(&missing) {
        crate::say(&line);
    }
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for each test that could not run, and the commands that bring what is missing.
fn summary(missing: &str) -> Vec<String> {
    let mut tests = BTreeMap::new();
    for line in missing.lines() {
        let mut fields = line.split('\t');
        if let (Some(test), Some(what), Some(remedy)) = (fields.next(), fields.next(), fields.next()) {
            tests.insert(test, (what, remedy));
        }
    }
    if tests.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("{} tests could not run on this machine:", tests.len())];
    lines.extend(tests.iter().map(|(test, (what, _))| format!("  {test}: {what} is missing")));
    let remedies: BTreeSet<&str> = tests.values().map(|(_, remedy)| *remedy).collect();
    let (packages, others): (Vec<&str>, Vec<&str>) =
        remedies.into_iter().partition(|remedy| remedy.starts_with(system_tool::INSTALL));
    let packages: Vec<&str> = packages.iter().filter_map(|remedy| remedy.strip_prefix(system_tool::INSTALL)).collect();
    if !packages.is_empty() {
        lines.push(format!("to run them: {}{}", system_tool::INSTALL, packages.join(" ")));
    }
    lines.extend(others.iter().map(|remedy| format!("to run them: {remedy}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_could_not_run_is_named_with_the_command_that_helps() {
        let install = |package: &str| format!("{}{package}", system_tool::INSTALL);
        let report = [
            ("a::b", "`nginx`", install("nginx-light")),
            ("c::d", "`redis-server`", install("redis-server")),
            ("a::b", "`nginx`", install("nginx-light")),
            ("e::f", "test data `x`", "put it there".to_owned()),
        ]
        .map(|(test, what, remedy)| format!("{test}\t{what}\t{remedy}\n"))
        .concat();
        let lines = summary(&report).join("\n");
        assert!(lines.contains("3 tests could not run"), "{lines}");
        assert!(
            lines.contains("a::b: `nginx` is missing") && lines.contains("e::f: test data `x` is missing"),
            "{lines}"
        );
        assert!(lines.contains("sudo apt-get install nginx-light redis-server\n"), "{lines}");
        assert!(lines.ends_with("to run them: put it there"), "{lines}");
        assert!(summary("").is_empty());
    }
}
