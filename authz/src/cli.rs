//! The command line: what there is, and which exit code an error gets.
//!
//! 0: done. 1: it was tried and failed, or the answer is no. 2: the command line or a setting is wrong.

pub mod api_key;
pub mod check;
pub mod database;
pub mod drain;
pub mod explain;
pub mod migrate;
pub mod replay;
pub mod test;
pub mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use docsgate_service::{
    environment::{self, Renamed},
    exit,
};

use crate::{config::ServeConfig, serve};

/// Envoy ext_authz policy sidecar: origins, limits, member tokens, entitlements, corpora.
#[derive(Debug, Parser)]
#[command(name = "authz", version = docsgate_service::revision::version(), propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Variables of authz that have another name now.
const RENAMED: [Renamed; 1] = [Renamed { old: "DATABASE_LISTEN_URL", new: "DOCSGATE_DATABASE_LISTEN_URL" }];

impl Cli {
    /// The command line and the environment of this process. Ends it with a message and exit code 2 where they are wrong.
    pub fn read() -> Self {
        environment::read(&RENAMED)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer Envoy's Check requests.
    Serve(Box<ServeConfig>),
    /// Tell Envoy to let go of its clients, before a pod ends.
    Drain(drain::DrainArgs),
    /// Validate a policy.
    Check(check::CheckArgs),
    /// Run the cases that lie beside a policy.
    Test(test::TestArgs),
    /// Tell how one request is decided, step by step.
    Explain(Box<explain::ExplainArgs>),
    /// Run a decision log through another policy and tell what would change.
    Replay(replay::ReplayArgs),
    /// Print a JSON Schema: of policies, of policy cases, or of decision log lines.
    Schema(check::SchemaArgs),
    /// Bring the database schema to this version.
    Migrate(migrate::MigrateArgs),
    /// Manage members and their entitlements.
    Member(database::MemberArgs),
    /// Manage API keys.
    ApiKey(api_key::ApiKeyArgs),
    /// Development tokens, and why a token would be refused.
    Token(token::TokenArgs),
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the command and decides the exit code, in this one place.
pub fn main(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed("authz", &anyhow::Error::from(error).context("the runtime does not start")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(config) => serve::run(*config).await.map(|()| ExitCode::SUCCESS),
            Command::Drain(args) => drain::run(&args).await.map(|()| ExitCode::SUCCESS),
            Command::Check(args) => check::run(&args),
            Command::Migrate(args) => migrate::run(&args).await,
            Command::Member(args) => database::member(&args).await,
            Command::ApiKey(args) => api_key::run(&args).await,
            Command::Token(args) => token::run(&args).await,
            Command::Test(args) => test::run(&args),
            Command::Explain(args) => explain::run(*args).await,
            Command::Replay(args) => replay::run(&args),
            Command::Schema(args) => check::schema(&args),
        }
    });
    runtime.shutdown_background();
    result.unwrap_or_else(|error| exit::failed("authz", &error))
}
