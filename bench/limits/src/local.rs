//! Limits in this process, beside `governor` with its keyed store (DashMap).

use std::{
    hash::RandomState,
    hint::black_box,
    num::NonZeroU32,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use authz::facts::limits::Limiter;
use authz_core::{
    limit::{Charge, LimitKey, Stage, table::Table},
    policy::LimiterPolicy,
    time::Timestamp,
};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use prometheus_client::registry::Registry;

use super::{address, charge, middle, resident, rule};

const ROUNDS: usize = 7;
const CHECKS: u32 = 1_000_000;
const MILLION: u32 = 1_000_000;

/// One store of limits, asked with the key of a charge.
trait Store {
    fn fits(&self, charge: &Charge) -> bool;
}

struct Ours {
    table: Table<RandomState>,
    started: Instant,
}

impl Ours {
    fn new() -> Self {
        Self { table: Table::new(MILLION, RandomState::new()), started: Instant::now() }
    }
}

impl Store for Ours {
    fn fits(&self, charge: &Charge) -> bool {
        let now = Timestamp::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let outcome = self.table.charge(std::slice::from_ref(charge), &[0], now);
        outcome.is_some_and(|outcome| outcome.refusing().is_none())
    }
}

struct Governor(DefaultKeyedRateLimiter<LimitKey>);

impl Governor {
    fn new() -> Self {
        let quota = governor::Quota::per_minute(NonZeroU32::MIN.saturating_add(1199))
            .allow_burst(NonZeroU32::MIN.saturating_add(199));
        Self(RateLimiter::dashmap(quota))
    }
}

impl Store for Governor {
    fn fits(&self, charge: &Charge) -> bool {
        self.0.check_key(&charge.key).is_ok()
    }
}

/// All figures, as Markdown.
pub(crate) fn run() -> Result<()> {
    let flood = rule("flood", 1200, Duration::from_secs(60), 200);
    let one = [charge(&flood, "203.0.113.7/32")];
    let many: Vec<Charge> = (0..MILLION).map(|index| charge(&flood, &address(scattered(index)))).collect();
    let (ours, theirs) = (Ours::new(), Governor::new());
    for charge in &many {
        ours.fits(charge);
        theirs.fits(charge);
    }
    println!(
        "| one check, ns (smallest to largest of {ROUNDS} rounds) | docsgate | governor, DashMap | docsgate : governor |"
    );
    println!("| --- | --- | --- | --- |");
    for (name, charges) in [("1 key", &one[..]), ("1,000,000 keys, warm, in random order", &many[..])] {
        let (mut mine, mut other) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(nanos(&ours, charges));
            other.push(nanos(&theirs, charges));
        }
        row(name, mine, other);
    }
    drop((ours, theirs, many));

    let (mut mine, mut other) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        mine.push(flooded("docsgate")?);
        other.push(flooded("governor")?);
    }
    let column = |floods: &[Flood], pick: fn(&Flood) -> f64| floods.iter().map(pick).collect::<Vec<_>>();
    for (name, pick) in [
        ("10,000,000 distinct keys: each of the first million", (|flood: &Flood| flood.first) as fn(&Flood) -> f64),
        ("10,000,000 distinct keys: each of the last million", |flood| flood.last),
    ] {
        row(name, column(&mine, pick), column(&other, pick));
    }
    println!("\n| resident memory, MiB | docsgate, 1,000,000 keys | governor, DashMap | docsgate : governor |");
    println!("| --- | --- | --- | --- |");
    row(
        "empty process to 10,000,000 distinct keys",
        column(&mine, |flood| flood.grown),
        column(&other, |flood| flood.grown),
    );
    println!();
    stage()
}

/// A whole stage as a decision asks it: three limits, metrics, hottest keys.
fn stage() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let took = runtime.block_on(async {
        let limiter = Limiter::alone(&LimiterPolicy::default(), &mut Registry::default());
        let minute = Duration::from_secs(60);
        let rules =
            [rule("flood", 1200, minute, 200), rule("flood-net", 6000, minute, 1000), rule("caller", 60, minute, 20)];
        let charges = rules.each_ref().map(|rule| charge(rule, "203.0.113.7/32"));
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for _ in 0..CHECKS / 10 {
                black_box(limiter.charge(Stage::Caller, &charges).await);
            }
            rounds.push(started.elapsed().as_nanos() as f64 / f64::from(CHECKS / 10));
        }
        middle(rounds)
    });
    println!(
        "A stage of three limits, with metrics and hottest keys: {:.0} ns ({:.0} to {:.0}).\n",
        took.0, took.1, took.2
    );
    Ok(())
}

fn nanos(store: &impl Store, charges: &[Charge]) -> f64 {
    let started = Instant::now();
    for charge in charges.iter().cycle().take(CHECKS as usize) {
        black_box(store.fits(black_box(charge)));
    }
    started.elapsed().as_nanos() as f64 / f64::from(CHECKS)
}

/// A bijection, so that neighbours in time are not neighbours in memory.
fn scattered(index: u32) -> u32 {
    index.wrapping_mul(0x9e37_79b1)
}

/// What one flood of distinct keys did, in a process of its own.
struct Flood {
    first: f64,
    last: f64,
    grown: f64,
}

fn flooded(store: &str) -> Result<Flood> {
    let output = Command::new(std::env::current_exe()?).args(["flood", store]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next().context("a figure is missing")?.context("not a figure");
    Ok(Flood { first: next()?, last: next()?, grown: next()? })
}

/// Ten million distinct keys; prints nanoseconds in the first and last million, and by how much memory has grown.
pub(crate) fn flood(store: &str) -> Result<()> {
    match store {
        "docsgate" => flood_of(Ours::new),
        "governor" => flood_of(Governor::new),
        other => anyhow::bail!("no store `{other}`"),
    }
}

fn flood_of<S: Store>(make: impl FnOnce() -> S) -> Result<()> {
    let flood = rule("flood", 1200, Duration::from_secs(60), 200);
    let before = resident()?;
    let store = make();
    let mut millions = Vec::new();
    for million in 0..10 {
        let mut took = Duration::ZERO;
        // Keys are made in small batches outside of the measured time, so that they neither count nor pile up.
        for batch in 0..MILLION / 1000 {
            let from = million * MILLION + batch * 1000;
            let charges: Vec<Charge> =
                (from..from + 1000).map(|index| charge(&flood, &address(scattered(index)))).collect();
            let started = Instant::now();
            for charge in &charges {
                black_box(store.fits(charge));
            }
            took += started.elapsed();
        }
        millions.push(took.as_nanos() as f64 / f64::from(MILLION));
    }
    println!("{} {} {}", millions[0], millions[9], resident()? - before);
    Ok(())
}

fn row(name: &str, mine: Vec<f64>, other: Vec<f64>) {
    let (mine, other) = (middle(mine), middle(other));
    let shown = |(middle, least, most): (f64, f64, f64)| format!("{middle:.0} ({least:.0} to {most:.0})");
    println!("| {name} | {} | {} | {:.2} |", shown(mine), shown(other), mine.0 / other.0);
}
