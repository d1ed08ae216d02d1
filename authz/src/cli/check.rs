//! `authz check`: is this policy usable, and does it mean what it says? `authz schema`: what it may say.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use authz_core::policy::{
    Diagnostic, PolicyText, compile,
    diagnostic::{Severity, render},
    manifest,
};
use clap::Args;
use docsgate_service::exit::UsageError;

use super::Output;
use crate::policy_source;

/// Validate a policy: every error and warning, with file, line and column.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Policy files, directories (each is one policy), Kubernetes manifests with ConfigMaps, or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Warnings are errors.
    #[arg(long)]
    strict: bool,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A policy that was found usable.
struct Good {
    path: String,
    version: String,
    routes: usize,
}

/// Most bytes of a manifest on standard input.
const MAX_STREAM: u64 = 64 * 1024 * 1024;

/// Exit code 0: usable. 1: not. 2: a path cannot be read.
///
/// # Errors
/// When a path cannot be read or standard output is closed.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut good = Vec::new();
    for path in &args.paths {
        match policies(path)? {
            Ok(policies) => {
                for files in policies {
                    match compile(&files, &policy_source::overrides_of_environment()) {
                        Ok(compiled) => {
                            findings.extend(compiled.warnings);
                            good.push(Good {
                                path: path.display().to_string(),
                                version: compiled.snapshot.version.to_string(),
                                routes: compiled.snapshot.router.routes().len(),
                            });
                        }
                        Err(found) => findings.extend(found),
                    }
                }
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
            for Good { path, version, routes } in &good {
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
            let policies = good.iter().map(|Good { path, version, routes }| {
                serde_json::json!({"path": path, "version": version, "routes": routes})
            });
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

/// The policies at a path: one of a file or directory, one for each ConfigMap of a manifest.
fn policies(path: &Path) -> Result<Result<Vec<Vec<PolicyText>>, Vec<Diagnostic>>> {
    let files = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_STREAM).read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| UsageError("standard input is not UTF-8 text".into()))?;
        vec![PolicyText { name: "-".into(), text }]
    } else {
        policy_source::read(path).map_err(UsageError)?
    };
    if let [file] = files.as_slice() {
        match manifest::policies(&file.name, &file.text) {
            Ok(None) => {}
            Ok(Some(policies)) if policies.is_empty() => {
                let remedy = "expected a ConfigMap whose data has a NAME.yaml with `apiVersion: docsgate/v1`";
                return Err(UsageError(format!("{}: no policy in this manifest; {remedy}", file.name)).into());
            }
            Ok(Some(policies)) => return Ok(Ok(policies)),
            Err(found) => return Ok(Err(found)),
        }
    }
    Ok(Ok(vec![files]))
}

/// Print a JSON Schema, for editors and other tools.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what.
    #[arg(value_enum, default_value_t = SchemaOf::Policy)]
    of: SchemaOf,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SchemaOf {
    /// Policies.
    Policy,
    /// Policy cases.
    Cases,
    /// Lines of the decision log.
    Decision,
    /// The reference of policies, as Markdown.
    Reference,
}

/// Prints the schema.
///
/// # Errors
/// When standard output is closed.
pub fn schema(args: &SchemaArgs) -> Result<ExitCode> {
    let schema = match args.of {
        SchemaOf::Reference => {
            write!(std::io::stdout(), "{}", authz_core::policy::reference::markdown())?;
            return Ok(ExitCode::SUCCESS);
        }
        SchemaOf::Policy => authz_core::policy::schema::json_schema(),
        SchemaOf::Cases => authz_core::cases::json_schema(),
        SchemaOf::Decision => authz_core::record::json_schema(),
    };
    writeln!(std::io::stdout(), "{schema:#}")?;
    Ok(ExitCode::SUCCESS)
}
