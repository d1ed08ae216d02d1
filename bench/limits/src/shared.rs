//! Limits through a real Redis on this machine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use authz::facts::limits::Limiter;
use authz_core::{
    limit::{Charge, Stage},
    policy::{LimiterBackend, LimiterPolicy, RedisPolicy},
};
use docsgate_harness::{redis::Redis, system_tool::system_tool};
use prometheus_client::registry::Registry;

use super::{address, charge, rule};

const REPLICAS: u32 = 3;

/// Decisions a second, how long they take, and what three replicas admit together.
pub(crate) fn run() -> Result<()> {
    let Some(program) = system_tool("redis-server") else {
        println!("Not measured: redis-server is missing.");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let redis = Redis::start(&program, folder.path(), &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        println!("| through Redis, one process | in flight | decisions/s | p50 µs | p99 µs | not in 5 ms |");
        println!("| --- | --- | --- | --- | --- | --- |");
        for in_flight in [1, 32] {
            for lease in [0, 20] {
                speed(&redis, in_flight, lease).await?;
            }
        }
        println!("\n| three replicas, burst 1000, 100/s, 4 s | admitted | burst and rate | beyond, in the worst window | bound |");
        println!("| --- | --- | --- | --- | --- |");
        for lease in [0, 10, 50] {
            over_admission(&redis, lease).await?;
        }
        anyhow::Ok(())
    })
}

async fn limiter(redis: &Redis, lease: u32, timeout: Duration) -> Result<(Arc<Limiter>, Arc<Registry>)> {
    let policy = LimiterPolicy {
        backend: Some(LimiterBackend::Redis),
        redis: RedisPolicy { timeout, replicas: REPLICAS, lease, ..RedisPolicy::default() },
        ..LimiterPolicy::default()
    };
    let mut registry = Registry::default();
    let limiter = Limiter::start(&policy, Some(&redis.url()), &[7; 32], &mut registry).map_err(anyhow::Error::msg)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while limiter.report().counted_in != "redis" {
        anyhow::ensure!(Instant::now() < deadline, "Redis is not used");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((limiter, Arc::new(registry)))
}

/// A thousand callers in turn, each within its limit.
async fn speed(redis: &Redis, in_flight: usize, lease: u32) -> Result<()> {
    const TIME: Duration = Duration::from_secs(5);
    redis.command("FLUSHALL")?;
    let (limiter, registry) = limiter(redis, lease, Duration::from_millis(5)).await?;
    let rule = rule("caller", 1_000_000, Duration::from_secs(1), 1_000_000);
    let charges: Arc<Vec<Charge>> = Arc::new((0..1000).map(|index| charge(&rule, &address(index))).collect());
    let started = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..in_flight {
        let (limiter, charges) = (Arc::clone(&limiter), Arc::clone(&charges));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(1 << 20);
            for index in (task * 31).. {
                let one = &charges[index % 1000..=index % 1000];
                let asked = Instant::now();
                limiter.charge(Stage::Caller, one).await;
                times.push(asked.elapsed());
                if index % 16 == 0 {
                    // What is answered without waiting must not keep the others from their turn.
                    tokio::task::yield_now().await;
                    if started.elapsed() > TIME {
                        break;
                    }
                }
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await?);
    }
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    let fallbacks = text.lines().find_map(|line| line.strip_prefix("docsgate_authz_limit_fallbacks_total "));
    let what = if lease == 0 { "without leases".to_owned() } else { format!("leases of {lease}") };
    let fallbacks = fallbacks.context("no metric of fallbacks")?;
    println!("| {what} | {in_flight} | {rate:.0} | {:.1} | {:.1} | {fallbacks} of {} |", at(50), at(99), times.len());
    Ok(())
}

/// One key: a second of what is within the limit at all replicas, so that leases fill up, then all they can.
async fn over_admission(redis: &Redis, lease: u32) -> Result<()> {
    const TIME: Duration = Duration::from_secs(4);
    const RATE: f64 = 100.0;
    redis.command("FLUSHALL")?;
    let rule = rule("caller", 100, Duration::from_secs(1), 1000);
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..REPLICAS {
        let (limiter, _registry) = limiter(redis, lease, Duration::from_secs(1)).await?;
        for _ in 0..4 {
            let (limiter, one) = (Arc::clone(&limiter), [charge(&rule, "203.0.113.7/32")]);
            tasks.push(tokio::spawn(async move {
                let mut admitted = Vec::new();
                while started.elapsed() < TIME {
                    if limiter.charge(Stage::Caller, &one).await.refusing().is_none() {
                        admitted.push(started.elapsed().as_secs_f64());
                    }
                    if started.elapsed() < Duration::from_secs(1) {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                    tokio::task::yield_now().await;
                }
                admitted
            }));
        }
    }
    let mut admitted = Vec::new();
    for task in tasks {
        admitted.extend(task.await?);
    }
    admitted.sort_by(f64::total_cmp);
    // Over all windows at once: the largest rise of what was admitted less what the rate gives.
    let (mut lowest, mut worst) = (f64::INFINITY, f64::NEG_INFINITY);
    for (index, at) in admitted.iter().enumerate() {
        let before = index as f64 - RATE * at;
        lowest = lowest.min(before);
        worst = worst.max(before + 1.0 - lowest - 1000.0);
    }
    let given = 1000.0 + RATE * TIME.as_secs_f64();
    let what = if lease == 0 { "without leases".to_owned() } else { format!("leases of {lease}") };
    println!("| {what} | {} | {given:.0} | {worst:.0} | {} |", admitted.len(), REPLICAS * lease);
    Ok(())
}
