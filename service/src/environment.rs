//! What environment variables mean, for every command of both programs: an empty one is not set, a switch is what its value
//! says, and a name that was given up stops the start instead of being passed over.

use std::{env, ffi::OsString};

use clap::{
    Command, Parser,
    builder::Resettable,
    error::{Error, ErrorKind},
};

/// A variable that has another name now.
#[derive(Debug, Clone, Copy)]
pub struct Renamed {
    /// The name that nothing reads any more.
    pub old: &'static str,
    /// The name that took its place.
    pub new: &'static str,
}

/// Reads the command line and the environment of this process. Ends it with a message and exit code 2 where they are wrong,
/// and where a variable is still set under a name that was given up: a path or a switch that nobody reads is a setting that
/// somebody believes in.
#[must_use]
pub fn read<C: Parser>(renamed: &[Renamed]) -> C {
    let mut command = without_empty(C::command());
    let read = command.try_get_matches_from_mut(env::args_os()).and_then(|matches| C::from_arg_matches(&matches));
    let is_help = |error: &Error| matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match (read, still_set(renamed, |name| env::var_os(name))) {
        (Err(help), _) if is_help(&help) => help.exit(),
        (_, Some(fault)) => command.error(ErrorKind::InvalidValue, fault).exit(),
        (read, None) => read.unwrap_or_else(|error| error.exit()),
    }
}

/// Reads a switch. Its value decides, not its presence: `false` in a manifest means no, and what is neither yes nor no stops
/// the start.
///
/// # Errors
/// Names the variable and the values that it takes.
pub fn switch(variable: &'static str) -> impl Fn(&str) -> Result<bool, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(format!(
            "expected true or false: {variable} and its flag take true, 1, yes or on, or false, 0, no or off"
        )),
    }
}

/// The command line without the variables that are empty. Templates of pods and of Compose files set a variable to nothing
/// where there is no value; a path, a URL or a switch of nothing is none.
fn without_empty(command: Command) -> Command {
    let set = command.mut_args(|argument| {
        let empty = argument.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
        if empty { argument.env(Resettable::Reset) } else { argument }
    });
    set.mut_subcommands(without_empty)
}

/// Names every variable that has a value under its old name.
fn still_set(renamed: &[Renamed], value: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let set: Vec<String> = renamed
        .iter()
        .filter(|variable| value(variable.old).is_some_and(|value| !value.is_empty()))
        .map(|variable| format!("{} is now {}", variable.old, variable.new))
        .collect();
    (!set.is_empty()).then(|| format!("variables are set by names that are no longer read: {}", set.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_switch_decides() {
        let switch = switch("X");
        for no in ["", "false", "FALSE", "0", "no", "off", " false "] {
            assert_eq!(switch(no), Ok(false), "{no}");
        }
        for yes in ["true", "True", "1", "yes", "on"] {
            assert_eq!(switch(yes), Ok(true), "{yes}");
        }
        assert!(switch("maybe").is_err() && switch("2").unwrap_err().contains("X and its flag take true"));
    }

    #[test]
    fn old_names_with_a_value_are_named_with_their_new_ones() {
        let renamed = [Renamed { old: "A", new: "X_A" }, Renamed { old: "B", new: "X_B" }];
        let with = |set: &'static [(&str, &str)]| {
            still_set(&renamed, |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(with(&[("X_A", "1")]), None);
        assert_eq!(with(&[("A", "")]), None, "an empty variable is not set");
        let fault = with(&[("A", "1"), ("B", "false")]).unwrap();
        assert!(fault.ends_with("A is now X_A, B is now X_B"), "{fault}");
    }
}
