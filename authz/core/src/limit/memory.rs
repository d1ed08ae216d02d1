//! Limits kept in a map that forgets nothing, on the caller's clock: for policy tests and replay, and what the bounded
//! [`table`](super::table) is compared with.

use std::collections::HashMap;

use super::{
    Charge, LimitKey, LimitState, StageOutcome,
    gcra::{self, Pace},
};
use crate::time::Timestamp;

/// The state of limits in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryLimits {
    tats: HashMap<LimitKey, (u64, Pace)>,
}

impl MemoryLimits {
    /// Charges all limits at `now`, or none of them when an enforced one does not fit.
    pub fn charge(&mut self, charges: &[Charge], now: Timestamp) -> StageOutcome {
        let now = now.nanos();
        let verdicts: Vec<gcra::Verdict> = charges
            .iter()
            .map(|charge| {
                let tat =
                    self.tats.get(&charge.key).map_or(0, |(tat, pace)| pace.carry(*tat, now, &charge.allowance.quota));
                gcra::check(tat, now, &charge.allowance.quota, charge.cost)
            })
            .collect();
        let all_fit = charges.iter().zip(&verdicts).all(|(charge, verdict)| verdict.fits || charge.rule.shadow);
        for (charge, verdict) in charges.iter().zip(&verdicts) {
            let charged = all_fit && verdict.fits;
            if charged || self.tats.contains_key(&charge.key) {
                let tat = if charged { verdict.tat } else { verdict.uncharged };
                self.tats.insert(charge.key.clone(), (tat, Pace::of(&charge.allowance.quota)));
            }
        }
        StageOutcome {
            states: charges.iter().zip(&verdicts).map(|(charge, verdict)| LimitState::of(charge, verdict)).collect(),
            undecidable: false,
        }
    }

    /// Forgets keys whose bucket is full again: that changes no decision.
    pub fn forget_full(&mut self, now: Timestamp) {
        self.tats.retain(|_, (tat, _)| *tat > now.nanos());
    }
}
