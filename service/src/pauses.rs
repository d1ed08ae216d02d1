//! Pauses between attempts that failed: the first one is short, each further one is twice as long up to a bound, and all are
//! shortened at random, so that replicas that failed together do not try again together.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The pauses of one thing that is tried again and again, for ever.
#[derive(Debug)]
pub struct Pauses {
    builder: ExponentialBuilder,
    pauses: ExponentialBackoff,
}

impl Pauses {
    /// From `first` to `longest`, before chance shortens each by up to a half.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        // Half of each is certain; backon's jitter adds up to the same again.
        let builder = ExponentialBuilder::default()
            .with_min_delay(first / 2)
            .with_max_delay(longest / 2)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self { builder, pauses: builder.build() }
    }

    /// How long to wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        // Without a bound on their number there is always a next one.
        self.pauses.next().unwrap_or_default()
    }

    /// After a success: the next failure begins anew.
    pub fn reset(&mut self) {
        self.pauses = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pause_is_the_shortest_and_none_is_longer_than_the_bound() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut pauses = Pauses::new(first, longest);
        for _ in 0..2 {
            let taken: Vec<Duration> = (0..40).map(|_| pauses.after_failure()).collect();
            assert!(taken[0] >= first / 2 && taken[0] <= first, "{:?}", taken[0]);
            assert!(taken[1] >= first && taken[1] <= first * 2, "{:?}", taken[1]);
            assert!(taken.iter().all(|pause| *pause >= first / 2 && *pause <= longest), "{taken:?}");
            assert!(taken[20..].iter().all(|pause| *pause >= longest / 2), "{taken:?}");
            pauses.reset();
        }
    }
}
