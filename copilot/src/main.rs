//! The `copilot` command: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    copilot::cli::main(copilot::cli::Cli::read())
}
