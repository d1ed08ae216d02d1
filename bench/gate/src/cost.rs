//! What the gate costs: Envoy alone, Envoy with a server that always allows, Envoy with authz in several settings. Rounds alternate, so that
//! whatever else the machine does falls on all alike; the median round counts.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::load::{self, Seen};
use crate::{allow, say, stack};

/// Options of `cost`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every variant once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for one variant in one round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// Runs all rounds and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = stack::folder()?;
    let stack = stack::start(folder.path())?;
    stack.member("grant", "bench@example.org")?;
    let token = stack.token("bench@example.org", "12h")?;
    let socket = folder.path().join("allow.sock");
    allow::serve(&socket)?;
    let alone = stack::envoy(folder.path(), "alone", None)?;
    let allowed = stack::envoy(folder.path(), "allow", Some(&socket))?;
    let gated = stack::envoy(folder.path(), "authz", Some(&stack.authz.socket))?;
    let policy = stack.policy.served().display().to_string();
    let log = folder.path().join("decisions.jsonl").display().to_string();
    let others = [
        ("Envoy + authz, anonymous, nothing recorded", vec!["--recent-decisions", "0"]),
        ("Envoy + authz, anonymous, decision log to a file", vec!["--decision-log", &log]),
        ("Envoy + authz, anonymous, candidate policy", vec!["--candidate-policy", &policy]),
    ];
    let mut differing = Vec::new();
    for (index, (name, flags)) in others.iter().enumerate() {
        let authz = stack::another_authz(&stack, folder.path(), &format!("authz-{index}"), flags)?;
        let envoy = stack::envoy(folder.path(), &format!("envoy-{index}"), Some(&authz.socket))?;
        differing.push((*name, envoy, authz));
    }
    let (anonymous, member) = (load::get("/api/docs-search", None), load::get("/members", Some(&token)));
    let mut variants = vec![
        ("Envoy alone", &alone, &anonymous),
        ("Envoy + always-allow tonic server", &allowed, &anonymous),
        ("Envoy + authz, anonymous, 3 limits", &gated, &anonymous),
        ("Envoy + authz, member token, 3 limits", &gated, &member),
    ];
    variants.extend(differing.iter().map(|(name, envoy, _)| (*name, envoy, &anonymous)));
    let mut rounds: Vec<Vec<Seen>> = variants.iter().map(|_| Vec::new()).collect();
    for (_, envoy, request) in &variants {
        load::run(envoy.listen, request, options.connections, Duration::from_secs(1))?; // warm
    }
    for _ in 0..options.rounds {
        for ((_, envoy, request), seen) in variants.iter().zip(&mut rounds) {
            let time = Duration::from_secs(options.seconds);
            seen.push(load::run(envoy.listen, request, options.connections, time)?);
        }
    }
    say(&format!("{} connections, {} rounds of {} s", options.connections, options.rounds, options.seconds))?;
    say("| | requests/s | of Envoy alone | of always-allow | p50 µs | p99 µs |")?;
    say("| --- | --- | --- | --- | --- | --- |")?;
    let medians: Vec<&Seen> = rounds.iter_mut().filter_map(|seen| median(seen)).collect();
    let rate = |index: usize| medians.get(index).map_or(f64::NAN, |seen| seen.per_second());
    for ((name, ..), seen) in variants.iter().zip(&medians) {
        let per_second = seen.per_second();
        say(&format!(
            "| {name} | {per_second:.0} | {:.2} | {:.2} | {} | {} |",
            per_second / rate(0),
            per_second / rate(1),
            seen.quantile(0.5),
            seen.quantile(0.99)
        ))?;
    }
    Ok(())
}

/// The round with the median rate.
fn median(seen: &mut [Seen]) -> Option<&Seen> {
    seen.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    seen.get(seen.len() / 2)
}
