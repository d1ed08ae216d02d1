//! Limits that all replicas share, in Redis or Valkey: one script, one round trip for all limits of a stage.
//!
//! A decision waits for Redis no longer than the policy says. After three failures in a row, or a lost connection,
//! nobody asks until a task in the background has connected again.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use authz_core::{
    limit::{Charge, LimitState, quota::interval_nanos},
    policy::RedisPolicy,
};
use docsgate_service::pauses::Pauses;
use governor::{Quota, RateLimiter};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use redis::{AsyncConnectionConfig, Script, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::shared_key::{Secret, shared_key};

/// Failures in a row after which the connection is given up.
const PATIENCE: u32 = 3;
/// Time for connecting, greeting and loading the script.
const CONNECT: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect that failed: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Attempts to connect, however they end: a server that takes connections and drops them is not asked without end.
const ATTEMPTS: Quota = Quota::per_second(NonZeroU32::MIN).allow_burst(NonZeroU32::new(10).unwrap());

/// Redis cannot be asked now.
#[derive(Debug)]
pub(super) struct Unavailable;

/// What Redis said of one limit.
#[derive(Debug, Clone)]
pub(super) struct SharedState {
    pub(super) state: LimitState,
    /// Tokens taken beyond the cost.
    pub(super) extra: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kind: &'static str,
}

/// A Redis that may be there.
pub(super) struct Shared {
    client: redis::Client,
    secret: Secret,
    script: Script,
    link: ArcSwapOption<MultiplexedConnection>,
    failures: AtomicU32,
    lost: Notify,
    seconds: Histogram,
    failed: Family<FailureLabels, Counter>,
    up: Gauge,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds the password.
        f.debug_struct("Shared").field("connected", &self.is_up()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to connect. Needs a runtime.
    pub(super) fn start(url: &str, secret: Secret, registry: &mut Registry) -> Result<Arc<Self>, String> {
        // The text of the error may repeat the URL, and with it the password.
        let expected = "expected redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH";
        let client = redis::Client::open(url).map_err(|_| format!("the Redis URL cannot be used; {expected}"))?;
        let shared = Arc::new(Self {
            client,
            secret,
            script: Script::new(include_str!("charge.lua")),
            link: ArcSwapOption::empty(),
            failures: AtomicU32::new(0),
            lost: Notify::new(),
            // 50 µs to 0.4 s.
            seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 14)),
            failed: Family::default(),
            up: Gauge::default(),
        });
        registry.register(
            "docsgate_authz_limit_redis_seconds",
            "Time in which Redis answered for the limits of a stage",
            shared.seconds.clone(),
        );
        registry.register(
            "docsgate_authz_limit_redis_failures",
            "Questions to Redis that were not answered, by kind: timeout, error, connect",
            shared.failed.clone(),
        );
        registry.register(
            "docsgate_authz_limit_redis_up",
            "1 while limits are shared through Redis, 0 while they are counted in this process",
            shared.up.clone(),
        );
        tokio::spawn(keep_connected(Arc::downgrade(&shared)));
        Ok(shared)
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// Charges all of them, or none when an enforced one does not fit. `extra` has for each charge the tokens to take
    /// beyond its cost.
    pub(super) async fn charge(
        &self,
        policy: &RedisPolicy,
        charges: &[&Charge],
        extra: &[u32],
    ) -> Result<Vec<SharedState>, Unavailable> {
        let link = self.link.load_full().ok_or(Unavailable)?;
        let mut connection = MultiplexedConnection::clone(&link);
        let mut call = self.script.prepare_invoke();
        for (charge, extra) in charges.iter().zip(extra) {
            call.key(shared_key(charge, &self.secret));
            call.arg(interval_micros(charge)).arg(charge.allowance.burst()).arg(charge.cost).arg(*extra);
            call.arg(u8::from(charge.rule.shadow));
        }
        let asked = Instant::now();
        let answer: Result<redis::RedisResult<Vec<i64>>, _> =
            timeout(policy.timeout, call.invoke_async(&mut connection)).await;
        match answer {
            Ok(Ok(numbers)) if numbers.len() == charges.len() * 3 => {
                self.seconds.observe(asked.elapsed().as_secs_f64());
                self.failures.store(0, Ordering::Relaxed);
                Ok(charges
                    .iter()
                    .zip(numbers.chunks_exact(3))
                    .map(|(charge, numbers)| shared_state(charge, numbers))
                    .collect())
            }
            Ok(Ok(_)) => Err(self.failed(&link, "error", false, "an answer of another form")),
            Ok(Err(error)) => {
                let gone = error.is_connection_dropped() || error.is_unrecoverable_error();
                Err(self.failed(&link, "error", gone, &error.to_string()))
            }
            Err(_) => Err(self.failed(&link, "timeout", false, "no answer in time")),
        }
    }

    fn failed(&self, link: &Arc<MultiplexedConnection>, kind: &'static str, gone: bool, why: &str) -> Unavailable {
        self.failed.get_or_create(&FailureLabels { kind }).inc();
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if gone || failures >= PATIENCE {
            // Only the one who takes this very connection away says so.
            let before = self.link.compare_and_swap(link, None);
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link)) {
                tracing::warn!(why, "Redis is away: limits are counted in this process");
                self.up.set(0);
                self.lost.notify_one();
            }
        }
        Unavailable
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.script.load_async(&mut connection).await?;
        Ok(connection)
    }
}

/// Connects, waits until the connection is lost, and connects again.
async fn keep_connected(shared: Weak<Shared>) {
    let (mut pauses, attempts) = (Pauses::new(PAUSES.0, PAUSES.1), RateLimiter::direct(ATTEMPTS));
    loop {
        attempts.until_ready().await;
        let Some(here) = shared.upgrade() else { return };
        // A server that is stopped accepts connections and says nothing.
        let pause = match timeout(CONNECT * 2, here.connect()).await {
            Ok(Ok(connection)) => {
                here.failures.store(0, Ordering::Relaxed);
                here.link.store(Some(Arc::new(connection)));
                here.up.set(1);
                tracing::info!("limits are shared through Redis");
                pauses.reset();
                here.lost.notified().await;
                continue;
            }
            failed => {
                here.failed.get_or_create(&FailureLabels { kind: "connect" }).inc();
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer in time".to_owned(),
                };
                let pause = pauses.after_failure();
                tracing::warn!(why, retry_in_ms = pause.as_millis(), "cannot connect to Redis");
                pause
            }
        };
        drop(here);
        sleep(pause).await;
    }
}

/// As the script reads and keeps it: the same text for the same quota.
fn interval_micros(charge: &Charge) -> String {
    let nanos = interval_nanos(&charge.allowance.quota);
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

fn shared_state(charge: &Charge, numbers: &[i64]) -> SharedState {
    let number = |index: usize| numbers.get(index).and_then(|number| u64::try_from(*number).ok()).unwrap_or(0);
    let (fits, taken, used) = (number(0) == 1, number(1), number(2).saturating_mul(1000));
    let interval = interval_nanos(&charge.allowance.quota);
    let capacity = interval.saturating_mul(u64::from(charge.allowance.burst()));
    // In another's refusal nothing was taken, but what would be left is reported as if it had been.
    let wanted = used.saturating_add(interval.saturating_mul(u64::from(charge.cost)));
    let after = match (fits, taken) {
        (true, 0) => wanted,
        (true, taken) => used.saturating_add(interval.saturating_mul(taken)),
        (false, _) => used,
    }
    .min(capacity);
    let retry_after = match fits {
        true => Duration::ZERO,
        false if charge.cost > charge.allowance.burst() => Duration::MAX,
        false => Duration::from_nanos(wanted.saturating_sub(capacity)),
    };
    let state = LimitState {
        name: Arc::clone(&charge.rule.name),
        allowance: charge.allowance,
        fits,
        shadow: charge.rule.shadow,
        remaining: u32::try_from((capacity - after) / interval).unwrap_or(u32::MAX),
        reset_after: Duration::from_nanos(after),
        retry_after,
    };
    let extra = u32::try_from(taken.saturating_sub(u64::from(charge.cost))).unwrap_or(0);
    SharedState { state, extra }
}
