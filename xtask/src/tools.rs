//! `cargo xtask tools`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use docsgate_harness::tools;

/// Brings every pinned tool and prints where it lies.
pub(crate) fn run() -> Result<ExitCode> {
    let brought = [
        ("envoy", tools::envoy()?),
        ("postgres", tools::postgres_bin(&tools::postgres()?).join("postgres")),
        ("helm", tools::helm()?),
    ];
    let mut out = std::io::stdout().lock();
    for (name, path) in brought {
        writeln!(out, "{name} {}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
