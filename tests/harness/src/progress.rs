//! One line for every step that takes time: what, how far, how long.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A step under way. On a terminal its line is rewritten; elsewhere it is printed at the end, and every few seconds
/// before that, so that a log shows life without growing.
#[derive(Debug)]
pub struct Step {
    what: String,
    started: Instant,
    shown: Instant,
    terminal: bool,
    quiet: bool,
}

const HEARTBEAT: Duration = Duration::from_secs(3);
const REDRAW: Duration = Duration::from_millis(200);

impl Step {
    /// Announces the step.
    pub fn start(what: impl Into<String>) -> Self {
        let step = Self {
            what: what.into(),
            started: Instant::now(),
            shown: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
            quiet: false,
        };
        if step.terminal {
            step.draw("…", false);
        }
        step
    }

    /// A step that prints nothing: tests run many stacks at once and their logs lie in files.
    pub fn silent(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self { what: what.into(), started: now, shown: now, terminal: false, quiet: true }
    }

    /// Shows how far the step is, at most as often as a reader can use.
    pub fn update(&mut self, how_far: &str) {
        let wait = if self.terminal { REDRAW } else { HEARTBEAT };
        if self.shown.elapsed() < wait {
            return;
        }
        self.shown = Instant::now();
        self.draw(&format!("{how_far} ({:.0} s)", self.started.elapsed().as_secs_f64()), false);
    }

    /// Ends the step with its result and duration.
    pub fn done(self, result: &str) {
        self.draw(&format!("{result} ({:.1} s)", self.started.elapsed().as_secs_f64()), true);
    }

    fn draw(&self, text: &str, last: bool) {
        if self.quiet {
            return;
        }
        let mut err = std::io::stderr().lock();
        // A closed stderr must not end the work that the step describes.
        let _ = match (self.terminal, last) {
            (true, false) => write!(err, "\r\x1b[K{}: {text}", self.what).and_then(|()| err.flush()),
            (true, true) => writeln!(err, "\r\x1b[K{}: {text}", self.what),
            (false, _) => writeln!(err, "{}: {text}", self.what),
        };
    }
}

/// Bytes as a reader counts them.
#[must_use]
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mib = bytes as f64 / 1e6;
    format!("{mib:.1} MB")
}
