//! `cargo xtask tools`: what the tests and the demo run.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use docsgate_harness::{
    system_tool,
    tools::{self, Tool},
};

/// Options of `tools`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only list the Debian packages of the tools that tests take from the system, a name on each line.
    #[arg(long)]
    system_packages: bool,
    /// Only list those of them whose programs are not on this machine.
    #[arg(long)]
    missing_packages: bool,
}

/// Brings every pinned tool and prints where it lies.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if options.system_packages || options.missing_packages {
        // One package may bring several programs.
        let wanted: BTreeSet<&str> = system_tool::PACKAGES
            .iter()
            .filter(|(program, _)| options.system_packages || !system_tool::is_installed(program))
            .map(|(_, package)| *package)
            .collect();
        for package in wanted {
            writeln!(out, "{package}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let brought = [
        ("envoy", tools::envoy()?),
        ("postgres", tools::postgres_bin(&tools::postgres()?).join("postgres")),
        ("helm", tools::helm()?),
        ("mkdocs", tools::bring(Tool::MkDocs)?),
        ("moto", tools::bring(Tool::Moto)?),
        ("pyjwt", tools::bring(Tool::PyJwt)?),
        ("kubernetes-validate", tools::bring(Tool::KubernetesValidate)?),
    ];
    for (name, path) in brought {
        writeln!(out, "{name} {}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
