//! Rate limits of this process: exact for one replica, on a monotonic clock, within a fixed number of keys.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use authz_core::{
    limit::{Charge, LimitKey, Stage, StageOutcome, memory::MemoryLimits},
    policy::{LimiterPolicy, Snapshot},
    time::Timestamp,
};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// The state of all limits.
#[derive(Debug)]
pub struct Limiter {
    started: Instant,
    max_keys: AtomicUsize,
    state: Mutex<MemoryLimits>,
    keys_held: Gauge,
}

impl Limiter {
    /// Starts without any state.
    ///
    /// # Errors
    /// When the policy asks for a backend that cannot be had.
    pub fn start(
        policy: &LimiterPolicy,
        redis_url: Option<&str>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, String> {
        if redis_url.is_some() {
            tracing::warn!("a Redis URL is given, but limits are kept in this process in this version");
        }
        let keys_held = Gauge::default();
        registry.register("docsgate_authz_limit_keys", "Limit keys held in memory", keys_held.clone());
        Ok(Arc::new(Self {
            started: Instant::now(),
            max_keys: AtomicUsize::new(policy.max_keys as usize),
            state: Mutex::default(),
            keys_held,
        }))
    }

    /// Adopts a new policy; the state of limits stays.
    pub fn apply(&self, policy: &Snapshot) {
        self.max_keys.store(policy.limiter.max_keys as usize, Ordering::Relaxed);
    }

    /// Charges all limits of a stage, or none of them when an enforced one does not fit.
    pub async fn charge(&self, _stage: Stage, charges: &[Charge], _now: Timestamp) -> StageOutcome {
        // Wall clocks jump; limits must not.
        let now = Timestamp::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let max_keys = self.max_keys.load(Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.len() + charges.len() > max_keys {
            state.forget_full(now);
        }
        let outcome =
            if state.len() + charges.len() > max_keys && charges.iter().any(|charge| !state.holds(&charge.key)) {
                // No room: new keys share one bucket per limit, so that a flood of addresses wins no fresh budget.
                let shared: Vec<Charge> = charges.iter().map(|charge| shared(charge, &state)).collect();
                state.charge(&shared, now)
            } else {
                state.charge(charges, now)
            };
        self.keys_held.set(i64::try_from(state.len()).unwrap_or(i64::MAX));
        outcome
    }
}

fn shared(charge: &Charge, state: &MemoryLimits) -> Charge {
    let mut charge = charge.clone();
    if !state.holds(&charge.key) {
        charge.key = LimitKey(format!("{}|overflow", charge.rule.name).into());
    }
    charge
}
