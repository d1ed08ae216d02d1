//! The generic cell rate algorithm: one number per key, the theoretical arrival time (TAT) of the next request that
//! would find a full bucket.

use std::time::Duration;

use super::Quota;

/// What GCRA says about one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the charge fits.
    pub fits: bool,
    /// The TAT to keep if it is charged, in nanoseconds.
    pub tat: u64,
    /// Tokens left: after the charge if it fits, now if it does not.
    pub remaining: u32,
    /// Time until the whole burst is there again.
    pub reset_after: Duration,
    /// Time until the charge would fit; zero if it does, [`Duration::MAX`] if it never will.
    pub retry_after: Duration,
}

/// Checks a charge of `cost` tokens at `now` against the kept `tat` (nanoseconds; anything in the past is a full bucket).
pub fn check(tat: u64, now: u64, quota: &Quota, cost: u32) -> Verdict {
    let interval = u128::from(quota.interval_nanos());
    let capacity = interval * u128::from(quota.burst);
    // A kept time further away than the whole burst comes from a larger quota or a clock that jumped back.
    let used = u128::from(tat.saturating_sub(now)).min(capacity);
    let wanted = used + interval * u128::from(cost);
    let fits = wanted <= capacity;
    let after = if fits { wanted } else { used };
    let retry_after = if fits {
        Duration::ZERO
    } else if cost > quota.burst {
        Duration::MAX
    } else {
        nanos(wanted - capacity)
    };
    Verdict {
        fits,
        tat: now.saturating_add(u64::try_from(after).unwrap_or(u64::MAX)),
        remaining: u32::try_from((capacity - after) / interval).unwrap_or(u32::MAX),
        reset_after: nanos(after),
        retry_after,
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
