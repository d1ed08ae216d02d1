//! The generic cell rate algorithm: one number per key, the theoretical arrival time (TAT) of the next request that
//! would find a full bucket. By `governor`'s quotas, but not by its limiters, which cannot charge several limits all or
//! none.

use std::time::Duration;

use super::quota::{Quota, interval_nanos};

/// The verdict on one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the charge fits.
    pub fits: bool,
    /// The TAT to keep if it is charged, in nanoseconds.
    pub tat: u64,
    /// The TAT to keep if it is not charged: the one that was there, but no further away than the whole burst.
    pub uncharged: u64,
    /// Tokens left: after the charge if it fits, now if it does not.
    pub remaining: u32,
    /// Time until the whole burst is there again.
    pub reset_after: Duration,
    /// Time until the charge would fit; zero if it does, [`Duration::MAX`] if it never will.
    pub retry_after: Duration,
}

/// Checks a charge of `cost` tokens at `now` against the kept `tat` (nanoseconds; anything in the past is a full bucket).
pub fn check(tat: u64, now: u64, quota: &Quota, cost: u32) -> Verdict {
    let interval = u128::from(interval_nanos(quota));
    let capacity = interval * u128::from(quota.burst_size().get());
    // A kept time further away than the whole burst comes from a larger quota or a clock that jumped back.
    let used = u128::from(tat.saturating_sub(now)).min(capacity);
    let wanted = used + interval * u128::from(cost);
    let fits = wanted <= capacity;
    let after = if fits { wanted } else { used };
    let retry_after = if fits {
        Duration::ZERO
    } else if cost > quota.burst_size().get() {
        Duration::MAX
    } else {
        nanos(wanted - capacity)
    };
    let ahead = |nanos: u128| now.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX));
    Verdict {
        fits,
        tat: ahead(after),
        uncharged: if tat > now { ahead(used) } else { tat },
        remaining: tokens(capacity - after, interval),
        reset_after: nanos(after),
        retry_after,
    }
}

/// The interval that a TAT was kept under, in 24 bits: within four parts in a million, never smaller than the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(u32);

impl Pace {
    /// Number of bits.
    pub const BITS: u32 = 24;
    const MANTISSA: u32 = 18;

    /// Of a quota.
    pub fn of(quota: &Quota) -> Self {
        let interval = interval_nanos(quota);
        let exponent = interval.ilog2();
        let mantissa = match exponent.checked_sub(Self::MANTISSA) {
            Some(shift) => interval >> shift,
            None => interval << (Self::MANTISSA - exponent),
        };
        let mantissa = u32::try_from(mantissa).unwrap_or(u32::MAX) & ((1 << Self::MANTISSA) - 1);
        Self(exponent << Self::MANTISSA | mantissa)
    }

    /// From [`bits`](Self::bits).
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// As bits to keep.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The scale of its interval, 0 to 3: a token comes back in less than 0.3 s, 17 s, 18 minutes, or takes longer.
    pub fn scale(self) -> usize {
        match self.0 >> Self::MANTISSA {
            ..28 => 0,
            28..34 => 1,
            34..40 => 2,
            _ => 3,
        }
    }

    fn interval_nanos(self) -> u64 {
        let exponent = self.0 >> Self::MANTISSA;
        let mantissa = u64::from(self.0 & ((1 << Self::MANTISSA) - 1)) | 1 << Self::MANTISSA;
        match exponent.checked_sub(Self::MANTISSA) {
            Some(0) => mantissa,
            Some(shift) => (mantissa + 1) << shift,
            None => mantissa >> (Self::MANTISSA - exponent),
        }
    }

    /// Takes a TAT over to another quota. The tokens that were used stay used, to within four in a million: a changed
    /// rate, or another plan, refills nothing.
    pub fn carry(self, tat: u64, now: u64, quota: &Quota) -> u64 {
        if tat <= now || self == Self::of(quota) {
            return tat;
        }
        let used = u128::from(tat - now) * u128::from(interval_nanos(quota));
        let used = used.div_ceil(u128::from(self.interval_nanos()));
        now.saturating_add(u64::try_from(used).unwrap_or(u64::MAX))
    }
}

/// Whole tokens of a time. Divides by the machine's own word where it can, which is many times faster.
fn tokens(time: u128, interval: u128) -> u32 {
    let whole = match (u64::try_from(time), u64::try_from(interval)) {
        (Ok(time), Ok(interval)) => u128::from(time / interval.max(1)),
        _ => time / interval.max(1),
    };
    u32::try_from(whole).unwrap_or(u32::MAX)
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
