//! Developer commands: demo, test, fuzz, image, tidy, tools.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use docsgate_harness::interrupt::Interrupted;

mod build;
mod cargo_tool;
mod demo;
mod fuzz;
mod image;
mod test;
mod tidy;
mod tools;

/// Developer commands of docsgate.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole gate on this machine: Postgres, issuer, copilot, authz and Envoy. Ctrl-C ends it.
    Demo(demo::Options),
    /// Run the whole test suite, real Envoy and Postgres included.
    Test(test::Options),
    /// Run the fuzz targets, each for some seconds.
    Fuzz(fuzz::Options),
    /// Build the images' binaries as images/Containerfile does, and run them with nothing but what the images hold.
    Image,
    /// Check what no compiler checks: circles of modules, file lengths, links, forbidden strings.
    Tidy,
    /// Bring the pinned tools (Envoy, Postgres, Helm) into .tools/.
    Tools(tools::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Image => image::run(),
        Command::Tidy => tidy::run(),
        Command::Tools(options) => tools::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) if error.downcast_ref::<Interrupted>().is_some() => {
            say("interrupted; everything is stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for the person in front of the terminal. Progress and errors go to standard error, results to standard output.
fn say(line: &str) {
    // Nothing can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
