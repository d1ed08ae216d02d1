//! Lines of one kind at a bounded rate.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use authz_core::limit::{Quota, gcra};

/// Lines that may come at once, in seconds of the rate.
const BURST: u32 = 10;

/// Chooses lines.
#[derive(Debug)]
pub(super) struct Sampler {
    quota: Option<Quota>,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The theoretical arrival time of the next line.
    tat: u64,
    /// Lines that were left out since the last one.
    left_out: u32,
}

impl Sampler {
    /// At most this many lines a second; none at all for 0.
    pub(super) fn new(per_second: u32) -> Self {
        let quota =
            Quota { count: per_second, window: Duration::from_secs(1), burst: per_second.saturating_mul(BURST) };
        Self { quota: (per_second > 0).then_some(quota), started: Instant::now(), state: Mutex::default() }
    }

    /// Whether the next line is written, and which share of its kind it stands for.
    pub(super) fn take(&self) -> Option<f64> {
        self.take_at(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now: u64) -> Option<f64> {
        let quota = self.quota.as_ref()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = gcra::check(state.tat, now, quota, 1);
        if !verdict.fits {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.tat = verdict.tat;
        let left_out = std::mem::take(&mut state.left_out);
        Some(1.0 / (1.0 + f64::from(left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_the_rate_and_say_what_they_stand_for() {
        let sampler = Sampler::new(10);
        // Two seconds at a thousand a second.
        let taken: Vec<f64> = (0..2000).filter_map(|step| sampler.take_at(step * 1_000_000)).collect();
        assert!((115..=120).contains(&taken.len()), "{}", taken.len());
        assert!((taken[0] - 1.0).abs() < 1e-9);
        let stand_for: f64 = taken.iter().map(|share| 1.0 / share).sum();
        assert!((1800.0..=2000.0).contains(&stand_for), "{stand_for}");
        assert_eq!(Sampler::new(0).take(), None);
    }
}
