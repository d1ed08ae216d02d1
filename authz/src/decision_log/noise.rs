//! Lines of one kind at a bounded rate.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

/// Lines that may come at once, in seconds of the rate.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Chooses lines.
#[derive(Debug)]
pub(super) struct Sampler<C: Clock = DefaultClock> {
    /// Lines a second; without it there are none at all.
    rate: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    /// Lines that were left out since the last one.
    left_out: AtomicU32,
}

impl Sampler {
    /// At most this many lines a second; none at all for 0.
    pub(super) fn new(per_second: u32) -> Self {
        Self::with_clock(per_second, DefaultClock::default())
    }
}

impl<C: Clock> Sampler<C> {
    fn with_clock(per_second: u32, clock: C) -> Self {
        let rate = NonZeroU32::new(per_second).map(|rate| {
            let quota = Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
            RateLimiter::direct_with_clock(quota, clock)
        });
        Self { rate, left_out: AtomicU32::new(0) }
    }

    /// Whether the next line is written, and which share of its kind it stands for.
    pub(super) fn take(&self) -> Option<f64> {
        if self.rate.as_ref()?.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(1.0 / (1.0 + f64::from(self.left_out.swap(0, Ordering::Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn lines_come_at_the_rate_and_say_what_they_stand_for() {
        let clock = FakeRelativeClock::default();
        let sampler = Sampler::with_clock(10, clock.clone());
        // Two seconds at a thousand a second.
        let taken = (0..2000).filter_map(|_| {
            clock.advance(Duration::from_millis(1));
            sampler.take()
        });
        let taken: Vec<f64> = taken.collect();
        assert!((115..=120).contains(&taken.len()), "{}", taken.len());
        assert!((taken[0] - 1.0).abs() < 1e-9);
        let stand_for: f64 = taken.iter().map(|share| 1.0 / share).sum();
        assert!((1800.0..=2000.0).contains(&stand_for), "{stand_for}");
        assert_eq!(Sampler::new(0).take(), None);
    }
}
