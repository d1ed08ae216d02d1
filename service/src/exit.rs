//! How a command of either program ends. 0: done. 1: it was tried and failed, or the answer is no. 2: the command line or a
//! setting is wrong.

use std::{io::Write, process::ExitCode};

/// A mistake in the command line or in a setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Says on standard error why `program` ends without success, with every cause on one line, and tells its exit code.
pub fn failed(program: &str, error: &anyhow::Error) -> ExitCode {
    // Nothing can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{program}: {error:#}");
    if error.downcast_ref::<UsageError>().is_some() { ExitCode::from(2) } else { ExitCode::from(1) }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn mistakes_in_settings_have_a_code_of_their_own_wherever_they_were_found() {
        let code = |error: anyhow::Error| format!("{:?}", failed("program", &error));
        let wrong = || anyhow::Error::from(UsageError("--flag: no".to_owned()));
        assert_eq!(code(wrong()), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(wrong().context("while starting")), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(anyhow!("broken")), format!("{:?}", ExitCode::from(1)));
    }
}
