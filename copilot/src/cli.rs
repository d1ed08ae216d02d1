//! The command line: what there is, and which exit code an error gets.

pub mod eval;
pub mod index;
pub mod report;
pub mod serve;
pub mod values;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

/// Grounded answers from documentation.
#[derive(Debug, Parser)]
#[command(name = "copilot", version = docsgate_service::revision::version(), propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and look at artifacts.
    Index(index::IndexArgs),
    /// Answer searches and questions over HTTP.
    Serve(Box<serve::Args>),
    /// Tell what a running server knows.
    Report(report::ReportArgs),
    /// Measure the ranking on test sets (corpus.jsonl, queries.jsonl, qrels.tsv), or answers (`eval answers`).
    Eval(eval::Args),
}

/// Why a command ended without success.
#[derive(Debug)]
pub enum Failure {
    /// A setting or argument is wrong: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the command and decides the exit code, in this one place.
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Index(args) => index::run(&args),
        Command::Serve(args) => serve::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args),
    };
    let (message, code) = match result {
        Ok(code) => return code,
        Err(Failure::Usage(message)) => (message, 2),
        Err(Failure::Failed(error)) => (format!("{error:#}"), 1),
    };
    // Nothing can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "copilot: {message}");
    ExitCode::from(code)
}
