//! The `authz` command: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    authz::cli::main(authz::cli::Cli::parse())
}
