//! A model that fails is left alone for a while: readers get the extractive answer at once and do not wait for the next
//! time-out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fault::Fault;

/// Failures in a row after which there is a pause.
const FAILURES: u32 = 3;
/// How long it is.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest pause that the model's server can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// Whether the model is asked.
#[derive(Debug, Default)]
pub struct Pause(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Whether there is one at `now`.
    #[must_use]
    pub fn is_on(&self, now: Instant) -> bool {
        self.0.lock().until.is_some_and(|until| now < until)
    }

    /// How an answer went.
    pub fn note(&self, outcome: Result<(), Fault>, now: Instant) {
        let mut state = self.0.lock();
        match outcome {
            Err(Fault::Limited(after)) => {
                let wait = after.map_or(PAUSE, Duration::from_secs).min(MAX_PAUSE);
                state.until = Some(now + wait);
            }
            Err(fault) if fault.lasts() => {
                state.failures += 1;
                if state.failures >= FAILURES {
                    *state = State { failures: 0, until: Some(now + PAUSE) };
                }
            }
            // It was not asked.
            Err(Fault::Budget | Fault::Busy | Fault::Paused) => {}
            _ => state.failures = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_and_retry_after_pause() {
        let (pause, start) = (Pause::default(), Instant::now());
        for outcome in [Err(Fault::Slow), Err(Fault::Failed(500)), Ok(()), Err(Fault::Slow), Err(Fault::Ungrounded)] {
            pause.note(outcome, start);
        }
        assert!(!pause.is_on(start), "an answer in between ends the row");
        for fault in [Fault::Denied, Fault::Busy, Fault::Unreachable, Fault::Budget, Fault::Failed(503)] {
            assert!(!pause.is_on(start));
            pause.note(Err(fault), start);
        }
        assert!(pause.is_on(start) && !pause.is_on(start + PAUSE));
        pause.note(Err(Fault::Limited(Some(30))), start);
        assert!(pause.is_on(start + Duration::from_secs(29)) && !pause.is_on(start + Duration::from_secs(30)));
        pause.note(Err(Fault::Limited(Some(u64::MAX))), start);
        assert!(!pause.is_on(start + MAX_PAUSE));
    }
}
