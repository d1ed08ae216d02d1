//! The command line: what there is, and which exit code an error gets.

pub mod index;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

/// Grounded answers from documentation.
#[derive(Debug, Parser)]
#[command(name = "copilot", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and look at artifacts.
    Index(index::IndexArgs),
}

/// Runs the command and decides the exit code, in this one place.
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Index(args) => index::run(&args),
    };
    result.unwrap_or_else(|error| {
        // Nothing can be done when standard error is closed.
        let _ = writeln!(std::io::stderr(), "copilot: {error:#}");
        ExitCode::from(1)
    })
}
