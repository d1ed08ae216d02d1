//! Benchmarks of the whole gate, with the real Envoy and Postgres. Build everything in release first:
//!
//! ```text
//! cargo build --release -p authz -p copilot -p docsgate-bench-gate
//! target/release/docsgate-bench-gate cost
//! target/release/docsgate-bench-gate revocation
//! target/release/docsgate-bench-gate reload
//! target/release/docsgate-bench-gate replay
//! ```

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod allow;
mod cost;
mod load;
mod policies;
mod revocation;
mod stack;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Envoy alone, Envoy with a server that always allows, and Envoy with authz, in one run.
    Cost(cost::Options),
    /// From a revocation in Postgres to the first refusal at Envoy, while the gate is under load.
    Revocation(revocation::Options),
    /// Reloads of a large policy under load.
    Reload(policies::ReloadOptions),
    /// A long decision log through a policy.
    Replay(policies::ReplayOptions),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Cost(options) => cost::run(&options),
        Command::Revocation(options) => revocation::run(&options),
        Command::Reload(options) => policies::reload(&options),
        Command::Replay(options) => policies::replay(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line of results.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
