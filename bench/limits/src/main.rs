//! Measures rate limits: in memory beside `governor`, memory under a flood of keys, and through a real Redis.
//!
//! `cargo run --release -p docsgate-bench-limits`. Both stores run in turn, in one run, on the same keys.

#![allow(clippy::print_stdout, reason = "a program that measures speaks on standard output")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod local;
mod shared;

use std::{collections::BTreeMap, fs, num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use authz_core::limit::{Allowance, Charge, LimitKey, LimitKeyPart, LimitRule, Rate};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // A process of its own for each figure of resident memory.
        ["flood", store] => local::flood(store),
        ["local"] => local::run(),
        ["redis"] => shared::run(),
        [] => {
            local::run()?;
            shared::run()
        }
        other => anyhow::bail!("unknown arguments {other:?}: expected nothing, `local` or `redis`"),
    }
}

fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// A limit on addresses, as the shipped policies have it.
fn rule(name: &str, count: u32, window: Duration, burst: u32) -> Arc<LimitRule> {
    Arc::new(LimitRule {
        name: name.into(),
        key: vec![LimitKeyPart::ClientIp],
        allowance: Allowance::new(Rate { count: nonzero(count), window }, nonzero(burst)),
        tiers: BTreeMap::new(),
        shadow: false,
        exempt_networks: Vec::new(),
        exempt_api_keys: Vec::new(),
    })
}

fn charge(rule: &Arc<LimitRule>, key: &str) -> Charge {
    Charge {
        rule: Arc::clone(rule),
        allowance: rule.allowance,
        key: LimitKey(format!("{}|ip={key}", rule.name).into()),
        cost: 1,
    }
}

/// The text of the `index`th address.
fn address(index: u32) -> String {
    format!("{}/32", std::net::Ipv4Addr::from(index))
}

/// Resident memory of this process, in MiB.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The middle one, and the smallest and largest.
fn middle(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
