//! What environment variables mean, for every command: an empty one is not set, and a switch is what its value says.

use std::env;

use clap::{Command, builder::Resettable};

/// The command line without the variables that are empty. Templates of pods and of Compose files set a variable to nothing
/// where there is no value; a path, a URL or a switch of nothing is none.
#[must_use]
pub fn without_empty(command: Command) -> Command {
    let set = command.mut_args(|argument| {
        let empty = argument.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
        if empty { argument.env(Resettable::Reset) } else { argument }
    });
    set.mut_subcommands(without_empty)
}

/// Reads a switch. Its value decides, not its presence: `false` in a manifest means no, and what is neither yes nor no
/// stops the start.
///
/// # Errors
/// Names the variable and the values that it takes.
pub fn switch(variable: &'static str) -> impl Fn(&str) -> Result<bool, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(format!("{variable} and its flag take true, 1, yes or on, or false, 0, no or off")),
    }
}
