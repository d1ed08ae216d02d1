//! The `copilot` command: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    copilot::cli::main(copilot::cli::Cli::parse())
}
