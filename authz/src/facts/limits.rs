//! Rate limits: in this process, on a monotonic clock and within a fixed amount of memory, or shared through Redis.

mod hottest;
mod leases;
mod meters;
mod shared;
mod shared_key;

use std::{
    fmt,
    hash::RandomState,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use authz_core::{
    limit::{Allowance, Charge, Rate, Stage, StageOutcome, table::Table},
    policy::{LimiterBackend, LimiterPolicy, RedisPolicy, Snapshot, WhenDown},
    time::Timestamp,
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        gauge::ConstGauge,
    },
    registry::Registry,
};
use serde::Serialize;

pub use hottest::HotKey;
use hottest::Hottest;
use leases::{Leases, Lender};
use meters::Meters;
use shared::{Shared, Unavailable};
use shared_key::Secret;

/// The state of all limits.
#[derive(Debug)]
pub struct Limiter {
    local: Arc<Local>,
    redis: Option<Redis>,
    settings: ArcSwap<LimiterPolicy>,
}

/// Limits that are shared, and the tokens that this replica holds in advance.
#[derive(Debug)]
struct Redis {
    shared: Arc<Shared>,
    leases: Leases,
    /// Stages that were decided without Redis although the policy wants it.
    fallbacks: Counter,
    /// Stages that leases alone decided.
    leased: Counter,
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
    /// Where limits are counted now: `memory`, `redis`, or `away` when that is where the policy wants them.
    pub counted_in: &'static str,
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
    /// Starts without any state. Needs a runtime. `secret` hides in Redis whom a key counts; replicas that share limits
    /// share it.
    ///
    /// # Errors
    /// When the policy asks for a backend that cannot be had.
    pub fn start(
        policy: &LimiterPolicy,
        redis_url: Option<&str>,
        secret: &[u8; 32],
        registry: &mut Registry,
    ) -> Result<Arc<Self>, String> {
        if redis_url.is_none() && policy.backend == Some(LimiterBackend::Redis) {
            let remedy = "give --redis-url or --redis-url-file, or say `backend: memory`";
            return Err(format!("the policy says `limiter.backend: redis`, but there is no Redis URL; {remedy}"));
        }
        let redis = redis_url.map(|url| Redis::start(url, Secret::new(secret), registry)).transpose()?;
        Ok(Self::with(policy, redis, registry))
    }

    /// Counts in this process, whatever the policy says: what is tried out must not charge what is shared.
    pub fn alone(policy: &LimiterPolicy, registry: &mut Registry) -> Arc<Self> {
        let policy = LimiterPolicy { backend: Some(LimiterBackend::Memory), ..policy.clone() };
        Self::with(&policy, None, registry)
    }

    fn with(policy: &LimiterPolicy, redis: Option<Redis>, registry: &mut Registry) -> Arc<Self> {
        let local = Arc::new(Local {
            started: Instant::now(),
            table: ArcSwap::from_pointee(Table::new(policy.max_keys, RandomState::new())),
            max_keys: Mutex::new(policy.max_keys),
            meters: Meters::new(registry),
            hottest: Hottest::default(),
        });
        registry.register_collector(Box::new(Keys(Arc::clone(&local))));
        tokio::spawn(sweep(Arc::downgrade(&local)));
        Arc::new(Self { local, redis, settings: ArcSwap::from_pointee(policy.clone()) })
    }

    /// Adopts a new policy; the state of limits stays.
    pub fn apply(&self, policy: &Snapshot) {
        if self.redis.is_none() && policy.limiter.backend == Some(LimiterBackend::Redis) {
            tracing::error!("the policy says `limiter.backend: redis`, but the process was given no Redis URL");
        }
        self.local.resize(policy.limiter.max_keys);
        self.settings.store(Arc::new(policy.limiter.clone()));
    }

    /// Charges all limits of a stage, or none of them when an enforced one does not fit.
    pub async fn charge(&self, stage: Stage, charges: &[Charge]) -> StageOutcome {
        let labels = self.local.meters.labels(charges);
        let settings = self.settings.load_full();
        let outcome = match (stage, settings.backend, &self.redis) {
            (Stage::Noise, _, _) | (_, Some(LimiterBackend::Memory), _) | (_, None, None) => {
                self.local.charge(charges, &labels)
            }
            (_, _, redis) => {
                let answered = match redis {
                    Some(redis) => redis.charge(&self.local, charges, &labels, &settings.redis).await,
                    None => Err(Unavailable),
                };
                answered.unwrap_or_else(|Unavailable| self.fall_back(charges, &labels, &settings.redis))
            }
        };
        self.local.count(charges, &labels, &outcome);
        outcome
    }

    /// Decides without Redis, as the policy says.
    fn fall_back(&self, charges: &[Charge], labels: &[u8], policy: &RedisPolicy) -> StageOutcome {
        if let Some(redis) = &self.redis {
            redis.fallbacks.inc();
        }
        match policy.when_down {
            WhenDown::Refuse => StageOutcome { states: Vec::new(), undecidable: true },
            WhenDown::Full => self.local.charge(charges, labels),
            WhenDown::Divide => {
                let shares: Vec<Charge> = charges.iter().map(|charge| share(charge, policy.replicas)).collect();
                self.local.charge(&shares, labels)
            }
        }
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
        let counted_in = match (self.settings.load().backend, &self.redis) {
            (Some(LimiterBackend::Memory), _) | (None, None) => "memory",
            (_, Some(redis)) if redis.shared.is_up() => "redis",
            _ => "away",
        };
        let (limits, hottest) = (limits.collect(), self.local.hottest.ten());
        LimitsReport { counted_in, capacity: table.capacity(), limits, hottest }
    }
}

/// One replica's part of a limit. What a request costs must fit, or it never would.
fn share(charge: &Charge, replicas: u32) -> Charge {
    let Allowance { rate, quota } = charge.allowance;
    let rate = Rate { window: rate.window.saturating_mul(replicas), ..rate };
    let burst = match quota.burst_size() {
        burst if burst.get() < charge.cost => burst,
        burst => NonZeroU32::new((burst.get() / replicas).max(charge.cost)).unwrap_or(NonZeroU32::MIN),
    };
    Charge { allowance: Allowance::new(rate, burst), ..charge.clone() }
}

impl Redis {
    fn start(url: &str, secret: Secret, registry: &mut Registry) -> Result<Self, String> {
        let shared = Shared::start(url, secret, registry)?;
        let (fallbacks, leased) = (Counter::default(), Counter::default());
        registry.register(
            "docsgate_authz_limit_fallbacks",
            "Stages that were decided without Redis because it was away",
            fallbacks.clone(),
        );
        registry.register(
            "docsgate_authz_limit_leased",
            "Stages that were decided by leased tokens, without asking Redis",
            leased.clone(),
        );
        Ok(Self { shared, leases: Leases::default(), fallbacks, leased })
    }

    async fn charge(
        &self,
        local: &Local,
        charges: &[Charge],
        labels: &[u8],
        policy: &RedisPolicy,
    ) -> Result<StageOutcome, Unavailable> {
        let now = local.now();
        let keys: Vec<u64> = charges.iter().map(|charge| local.table.load().fingerprint(&charge.key.0)).collect();
        // What leases cover is taken out of them; what is left is asked.
        let lender = self.leases.at(now, policy);
        let mut reserved = Reserved { lender, held: Vec::new() };
        let mut states = Vec::with_capacity(charges.len());
        let (mut missing, mut asked, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (charge, key)) in charges.iter().zip(&keys).enumerate() {
            let leased = lender.spend(*key, charge);
            if leased.is_some() {
                reserved.held.push((*key, charge.cost));
            } else {
                missing.push(index);
                asked.push(charge);
                extra.push(lender.wanted(*key, charge));
            }
            states.push(leased);
        }
        if missing.is_empty() {
            reserved.held.clear();
            self.leased.inc();
            return Ok(StageOutcome { states: states.into_iter().flatten().collect(), undecidable: false });
        }
        let answered = self.shared.charge(policy, &asked, &extra).await?;
        let fits = answered.iter().all(|answered| answered.state.fits || answered.state.shadow);
        if fits {
            reserved.held.clear();
        }
        for (index, answered) in missing.into_iter().zip(answered) {
            let charge = &charges[index];
            if fits && answered.state.fits {
                lender.keep(keys[index], charge, &answered);
                // Should Redis go away, this process does not begin with full buckets.
                local.raise(charge, labels[index], answered.state.reset_after);
            }
            states[index] = Some(answered.state);
        }
        Ok(StageOutcome { states: states.into_iter().flatten().collect(), undecidable: false })
    }
}

/// Leased tokens that a request took; they go back unless it is admitted, also when nobody waits for it any more.
struct Reserved<'a> {
    lender: Lender<'a>,
    held: Vec<(u64, u32)>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        for (key, cost) in self.held.drain(..) {
            self.lender.give_back(key, cost);
        }
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

    fn raise(&self, charge: &Charge, label: u8, ahead: Duration) {
        let (now, ahead) = (self.now(), u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX));
        while self.table.load().raise(charge, label, ahead, now).is_none() {}
    }

    fn count(&self, charges: &[Charge], labels: &[u8], outcome: &StageOutcome) {
        self.meters.count(labels, outcome);
        for (charge, state) in charges.iter().zip(&outcome.states) {
            self.hottest.note(charge, state, |text| self.table.load().fingerprint(text));
        }
    }

    fn resize(&self, max_keys: u32) {
        let mut current = self.max_keys.lock();
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
