//! Limits kept in a map, on the caller's clock: for policy tests and replay, and the heart of the local store.

use std::collections::HashMap;

use super::{Charge, LimitKey, LimitState, StageOutcome, gcra};
use crate::time::Timestamp;

/// The state of limits in memory.
#[derive(Debug, Default)]
pub struct MemoryLimits {
    tats: HashMap<LimitKey, u64>,
}

impl MemoryLimits {
    /// Charges all limits at `now`, or none of them when an enforced one does not fit.
    pub fn charge(&mut self, charges: &[Charge], now: Timestamp) -> StageOutcome {
        let verdicts: Vec<gcra::Verdict> = charges
            .iter()
            .map(|charge| {
                let tat = self.tats.get(&charge.key).copied().unwrap_or(0);
                gcra::check(tat, now.nanos(), &charge.quota, charge.cost)
            })
            .collect();
        let all_fit = charges.iter().zip(&verdicts).all(|(charge, verdict)| verdict.fits || charge.rule.shadow);
        if all_fit {
            for (charge, verdict) in charges.iter().zip(&verdicts).filter(|(_, verdict)| verdict.fits) {
                self.tats.insert(charge.key.clone(), verdict.tat);
            }
        }
        StageOutcome {
            states: charges.iter().zip(&verdicts).map(|(charge, verdict)| state(charge, verdict)).collect(),
            undecidable: false,
        }
    }

    /// Keys held.
    pub fn len(&self) -> usize {
        self.tats.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.tats.is_empty()
    }

    /// Whether this key is held.
    pub fn holds(&self, key: &LimitKey) -> bool {
        self.tats.contains_key(key)
    }

    /// Forgets keys whose bucket is full again: that changes no decision.
    pub fn forget_full(&mut self, now: Timestamp) {
        self.tats.retain(|_, tat| *tat > now.nanos());
    }
}

fn state(charge: &Charge, verdict: &gcra::Verdict) -> LimitState {
    LimitState {
        name: charge.rule.name.clone(),
        quota: charge.quota,
        fits: verdict.fits,
        shadow: charge.rule.shadow,
        remaining: verdict.remaining,
        reset_after: verdict.reset_after,
        retry_after: verdict.retry_after,
    }
}
