//! The `authz` command: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    authz::cli::main(authz::cli::Cli::read())
}
