//! The command line: what there is, and which exit code an error gets.

pub mod ask;
pub mod eval;
pub mod index;
pub mod report;
pub mod serve;
pub mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use docsgate_service::{
    environment::{self, Renamed},
    exit,
};

/// Grounded answers from documentation.
#[derive(Debug, Parser)]
#[command(name = "copilot", version = docsgate_service::revision::version(), propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Variables of copilot that have another name now.
const RENAMED: [Renamed; 18] = [
    Renamed { old: "COPILOT_LISTEN", new: "DOCSGATE_COPILOT_LISTEN" },
    Renamed { old: "COPILOT_ADMIN_LISTEN", new: "DOCSGATE_COPILOT_ADMIN_LISTEN" },
    Renamed { old: "COPILOT_METRICS_LISTEN", new: "DOCSGATE_COPILOT_METRICS_LISTEN" },
    Renamed { old: "COPILOT_GRPC_LISTEN", new: "DOCSGATE_COPILOT_GRPC_LISTEN" },
    Renamed { old: "COPILOT_CORPORA", new: "DOCSGATE_COPILOT_CORPORA" },
    Renamed { old: "COPILOT_INSECURE_NO_GRANT", new: "DOCSGATE_COPILOT_INSECURE_NO_GRANT" },
    Renamed { old: "COPILOT_CACHE_DIR", new: "DOCSGATE_COPILOT_CACHE_DIR" },
    Renamed { old: "COPILOT_CACHE_SIZE", new: "DOCSGATE_COPILOT_CACHE_SIZE" },
    Renamed { old: "COPILOT_VERIFY_KEY_FILE", new: "DOCSGATE_COPILOT_VERIFY_KEY_FILE" },
    Renamed { old: "COPILOT_ALLOW_UNSIGNED", new: "DOCSGATE_COPILOT_ALLOW_UNSIGNED" },
    Renamed { old: "COPILOT_MIN_SEQUENCE", new: "DOCSGATE_COPILOT_MIN_SEQUENCE" },
    Renamed { old: "COPILOT_SYNONYMS", new: "DOCSGATE_COPILOT_SYNONYMS" },
    Renamed { old: "COPILOT_CONFIDENCE", new: "DOCSGATE_COPILOT_CONFIDENCE" },
    Renamed { old: "COPILOT_POLL_SECONDS", new: "DOCSGATE_COPILOT_POLL_SECONDS" },
    Renamed { old: "COPILOT_SEARCH_MEMORY", new: "DOCSGATE_COPILOT_SEARCH_MEMORY" },
    Renamed { old: "COPILOT_UNANSWERED", new: "DOCSGATE_COPILOT_UNANSWERED" },
    Renamed { old: "COPILOT_READY_FILE", new: "DOCSGATE_COPILOT_READY_FILE" },
    Renamed { old: "COPILOT_LOG_FORMAT", new: "DOCSGATE_COPILOT_LOG_FORMAT" },
];

impl Cli {
    /// The command line and the environment of this process. Ends it with a message and exit code 2 where they are wrong.
    #[must_use]
    pub fn read() -> Self {
        environment::read(&RENAMED)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and look at artifacts.
    Index(index::IndexArgs),
    /// Answer a question from artifacts, here.
    Ask(ask::AskArgs),
    /// Search artifacts, here.
    Search(ask::SearchArgs),
    /// Answer searches and questions over HTTP.
    Serve(Box<serve::Args>),
    /// Tell what a running server knows.
    Report(report::ReportArgs),
    /// Measure the ranking on test sets (corpus.jsonl, queries.jsonl, qrels.tsv), or answers (`eval answers`).
    Eval(eval::Args),
}

/// Form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For reading.
    Text,
    /// For other programs.
    Json,
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
        Command::Ask(args) => ask::ask(&args),
        Command::Search(args) => ask::search(&args),
        Command::Serve(args) => serve::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args),
    };
    let error = match result {
        Ok(code) => return code,
        Err(Failure::Usage(message)) => exit::UsageError(message).into(),
        Err(Failure::Failed(error)) => error,
    };
    exit::failed("copilot", &error)
}
