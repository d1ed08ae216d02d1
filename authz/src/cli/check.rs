//! `authz check`: is this policy usable, and does it mean what it says?

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use authz_core::policy::{
    Diagnostic, Overrides, compile,
    diagnostic::{Severity, render},
};
use clap::Args;

use super::Output;
use crate::{cli::UsageError, policy_source};

/// Validate a policy: every error and warning, with file, line and column.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Policy files or directories. Each directory is one policy.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Warnings are errors.
    #[arg(long)]
    strict: bool,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Exit code 0: usable. 1: not. 2: a path cannot be read.
///
/// # Errors
/// When a path cannot be read or standard output is closed.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut good = Vec::new();
    for path in &args.paths {
        let files = policy_source::read(path).map_err(UsageError)?;
        match compile(&files, &Overrides::default()) {
            Ok(compiled) => {
                let routes = compiled.snapshot.router.routes().len();
                good.push((path.display().to_string(), compiled.snapshot.version.to_string(), routes));
                findings.extend(compiled.warnings);
            }
            Err(found) => findings.extend(found),
        }
    }
    let refused = findings.iter().any(|one| args.strict || one.severity == Severity::Error);
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => {
            if !findings.is_empty() {
                writeln!(out, "{}\n", render(&findings))?;
            }
            for (path, version, routes) in &good {
                writeln!(out, "{path}: ok, version {version}, {routes} routes")?;
            }
        }
        Output::Json => {
            let found = findings.iter().map(|one| {
                serde_json::json!({
                    "severity": if one.severity == Severity::Error { "error" } else { "warning" },
                    "file": one.file, "line": one.position.line, "column": one.position.column,
                    "message": one.message, "help": one.help,
                })
            });
            let policies = good
                .iter()
                .map(|(path, version, routes)| serde_json::json!({"path": path, "version": version, "routes": routes}));
            let all = serde_json::json!({
                "ok": !refused,
                "findings": found.collect::<Vec<_>>(),
                "policies": policies.collect::<Vec<_>>(),
            });
            writeln!(out, "{all:#}")?;
        }
    }
    Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
