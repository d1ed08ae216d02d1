//! Rate limits of this process, on a monotonic clock, within a fixed amount of memory.

mod hottest;
mod meters;

use std::{
    fmt,
    hash::RandomState,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use authz_core::{
    limit::{Charge, Stage, StageOutcome, table::Table},
    policy::{LimiterPolicy, Snapshot},
    time::Timestamp,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use serde::Serialize;

pub use hottest::HotKey;
use hottest::Hottest;
use meters::Meters;

/// The state of all limits.
#[derive(Debug)]
pub struct Limiter {
    local: Arc<Local>,
}

/// Limits that are counted in this process.
#[derive(Debug)]
struct Local {
    started: Instant,
    table: ArcSwap<Table<RandomState>>,
    /// The size that was asked for; locked while the table is replaced.
    max_keys: Mutex<u32>,
    meters: Meters,
    hottest: Hottest,
}

/// What the admin listener shows of limits.
#[derive(Debug, Serialize)]
pub struct LimitsReport {
    /// Most keys in memory.
    pub capacity: usize,
    /// Each limit that was ever counted.
    pub limits: Vec<LimitReport>,
    /// The keys that are counted most at the moment, masked.
    pub hottest: Vec<HotKey>,
}

/// What the admin listener shows of one limit.
#[derive(Debug, Serialize)]
pub struct LimitReport {
    /// Its name in the policy.
    pub name: Arc<str>,
    /// Requests that fitted.
    pub allowed: u64,
    /// Requests that did not.
    pub refused: u64,
    /// Requests that would not have, had it been enforced.
    pub shadow_refused: u64,
    /// Keys in memory.
    pub keys: u64,
    /// Keys that made room for others before their bucket was full again.
    pub evictions: u64,
}

impl Limiter {
    /// Starts without any state. Needs a runtime.
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
        let local = Arc::new(Local {
            started: Instant::now(),
            table: ArcSwap::from_pointee(Table::new(policy.max_keys, RandomState::new())),
            max_keys: Mutex::new(policy.max_keys),
            meters: Meters::new(registry),
            hottest: Hottest::default(),
        });
        registry.register_collector(Box::new(Keys(Arc::clone(&local))));
        tokio::spawn(sweep(Arc::downgrade(&local)));
        Ok(Arc::new(Self { local }))
    }

    /// Adopts a new policy; the state of limits stays.
    pub fn apply(&self, policy: &Snapshot) {
        self.local.resize(policy.limiter.max_keys);
    }

    /// Charges all limits of a stage, or none of them when an enforced one does not fit.
    pub async fn charge(&self, _stage: Stage, charges: &[Charge], _now: Timestamp) -> StageOutcome {
        let labels = self.local.meters.labels(charges);
        let outcome = self.local.charge(charges, &labels);
        self.local.count(charges, &labels, &outcome);
        outcome
    }

    /// What there is to see.
    pub fn report(&self) -> LimitsReport {
        let table = self.local.table.load();
        let limits = self.local.meters.all().map(|(label, meter)| LimitReport {
            name: Arc::clone(&meter.name),
            allowed: meter.allowed.get(),
            refused: meter.refused.get(),
            shadow_refused: meter.shadow_refused.get(),
            keys: table.held(label),
            evictions: table.evicted(label),
        });
        LimitsReport { capacity: table.capacity(), limits: limits.collect(), hottest: self.local.hottest.ten() }
    }
}

impl Local {
    /// Wall clocks jump; limits must not.
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn charge(&self, charges: &[Charge], labels: &[u8]) -> StageOutcome {
        let now = self.now();
        loop {
            // A retired table was replaced before its locks were released: the next load sees another one.
            if let Some(outcome) = self.table.load().charge(charges, labels, now) {
                return outcome;
            }
        }
    }

    fn count(&self, charges: &[Charge], labels: &[u8], outcome: &StageOutcome) {
        self.meters.count(labels, outcome);
        for (charge, state) in charges.iter().zip(&outcome.states) {
            self.hottest.note(charge, state, |text| self.table.load().fingerprint(text));
        }
    }

    fn resize(&self, max_keys: u32) {
        let mut current = self.max_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != max_keys {
            let table = self.table.load_full();
            table.resize(max_keys, self.now(), |other| self.table.store(Arc::new(other)));
            *current = max_keys;
        }
    }
}

/// Empties places whose bucket is full, a part of the table at a time, so that the number of keys means something.
async fn sweep(local: std::sync::Weak<Local>) {
    const ROUND: Duration = Duration::from_secs(10);
    let groups = Table::<RandomState>::GROUPS;
    let mut every = tokio::time::interval(ROUND / u32::try_from(groups).unwrap_or(1));
    for group in (0..groups).cycle() {
        every.tick().await;
        let Some(local) = local.upgrade() else { return };
        local.table.load().sweep(group, local.now());
        if group == 0 {
            local.hottest.fade();
        }
    }
}

/// Keys and evictions, read when somebody looks.
struct Keys(Arc<Local>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Collector for Keys {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let table = self.0.table.load();
        let help = "Limit keys held in memory";
        let mut keys = encoder.encode_descriptor("docsgate_authz_limit_keys", help, None, MetricType::Gauge)?;
        for (label, meter) in self.0.meters.all() {
            let held = ConstGauge::new(i64::try_from(table.held(label)).unwrap_or(i64::MAX));
            held.encode(keys.encode_family(&[("limit", &*meter.name)])?)?;
        }
        let help = "Limit keys that made room before their bucket was full again";
        let mut evictions =
            encoder.encode_descriptor("docsgate_authz_limit_evictions", help, None, MetricType::Counter)?;
        for (label, meter) in self.0.meters.all() {
            ConstCounter::new(table.evicted(label)).encode(evictions.encode_family(&[("limit", &*meter.name)])?)?;
        }
        Ok(())
    }
}
