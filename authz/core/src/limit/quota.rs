//! Rates as the policy writes them, and the quotas that requests are counted by.

use std::{fmt, num::NonZeroU32, time::Duration};

pub use governor::Quota;

/// A sustained rate, such as `60/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Tokens that come in one `window`.
    pub count: NonZeroU32,
    /// The period of the rate.
    pub window: Duration,
}

impl Rate {
    /// Parses a rate: `COUNT/UNIT`, with `s`, `sec`, `second`, `min`, `minute`, `h`, `hour`, `d`, `day`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected COUNT/UNIT such as `60/min`; units: s, min, hour, day";
        let (count, unit) = text.split_once('/').ok_or_else(|| format!("no `/`; {expected}"))?;
        let count: u32 = count
            .trim()
            .parse()
            .map_err(|_| format!("`{count}` is not a whole number up to 4294967295; {expected}"))?;
        let Some(count) = NonZeroU32::new(count) else {
            return Err(format!(
                "a rate of zero would refuse everything; to close a route say `maintenance`; {expected}"
            ));
        };
        if count.get() > 1_000_000_000 {
            return Err(format!("{count} is more than a limit can count (1000000000); {expected}"));
        }
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "min" | "minute" => 60,
            "h" | "hour" => 3600,
            "d" | "day" => 86_400,
            other => return Err(format!("unknown unit `{other}`; {expected}")),
        };
        Ok(Self { count, window: Duration::from_secs(seconds) })
    }
}

/// What a limit allows: the quota that requests are counted by, and the rate as written, which the `RateLimit` fields
/// repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The rate as the policy writes it.
    pub rate: Rate,
    /// One token every replenish interval, and at most the burst at once.
    pub quota: Quota,
}

impl Allowance {
    /// A rate, of which at most `burst` may come at once.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Self {
        // Faster than a token a nanosecond is no limit that can be counted.
        let quota = Quota::with_period(rate.window / rate.count.get()).unwrap_or(Quota::per_second(FASTEST));
        Self { rate, quota: quota.allow_burst(burst) }
    }

    /// Most tokens at once.
    pub fn burst(&self) -> u32 {
        self.quota.burst_size().get()
    }
}

/// Tokens a second, one a nanosecond.
const FASTEST: NonZeroU32 = NonZeroU32::MIN.saturating_add(999_999_999);

/// Time in which one token comes back, in nanoseconds; never zero.
pub fn interval_nanos(quota: &Quota) -> u64 {
    let interval = quota.replenish_interval();
    interval.as_secs().saturating_mul(1_000_000_000).saturating_add(interval.subsec_nanos().into()).max(1)
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s, burst {}", self.rate.count, self.rate.window.as_secs(), self.burst())
    }
}
