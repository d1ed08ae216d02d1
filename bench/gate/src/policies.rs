//! Policies in operation: a large one reloaded under load, and a long decision log replayed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::authz::{self, Authz};
use docsgate_harness::http;
use serde_json::Value;

use crate::load::{self, Seen};
use crate::{say, stack};

/// Options of `reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadOptions {
    /// Origins of the policy.
    #[arg(long, default_value_t = 10_000)]
    origins: usize,
    /// Routes of the policy.
    #[arg(long, default_value_t = 1_000)]
    routes: usize,
    /// Reloads that are measured.
    #[arg(long, default_value_t = 20)]
    count: usize,
    /// Connections that ask all the while.
    #[arg(long, default_value_t = 4)]
    load: usize,
}

/// The benchmark's policy with many more origins and routes, and `turn` in it.
fn large(options: &ReloadOptions, turn: usize) -> Result<String> {
    let mut text = stack::POLICY.replace(
        "allow_origins: ['https://docs.example.org']",
        &format!(
            "allow_origins: ['https://docs.example.org', {}]",
            (0..options.origins)
                .map(|n| format!("'https://site-{n}.turn-{turn}.example.org'"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    );
    for n in 0..options.routes {
        writeln!(
            text,
            "  - {{name: page-{n}, match: {{path: /pages/{n}, methods: [GET]}}, cors: docs, corpus: auto, limits: [flood, flood-net, caller]}}"
        )?;
    }
    Ok(text)
}

fn version(authz: &Authz) -> Result<Value> {
    let (_, body) = http::get(&format!("{}/policy", authz.admin_url))?;
    Ok(serde_json::from_str::<Value>(&body)?["version"].clone())
}

/// Reloads a large policy under load and prints what that does to the requests.
pub(crate) fn reload(options: &ReloadOptions) -> Result<()> {
    let folder = stack::folder()?;
    let mut stack = stack::start(folder.path())?;
    let envoy = stack::envoy(folder.path(), "gate", Some(&stack.authz.socket))?;
    let request = load::get("/api/docs-search", None);
    let original = stack.policy.original().to_path_buf();
    let mut swap = |turn: usize| -> Result<Duration> {
        fs::write(&original, large(options, turn)?)?;
        let before = version(&stack.authz)?;
        stack.policy.refresh()?;
        let swapped = Instant::now();
        while version(&stack.authz)? == before {
            if swapped.elapsed() > Duration::from_secs(30) {
                bail!("the policy was not taken over");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(swapped.elapsed())
    };
    swap(0)?;
    let time = Duration::from_secs(10);
    load::run(envoy.listen, &request, options.load, Duration::from_secs(1))?; // warm
    let calm = load::run(envoy.listen, &request, options.load, time)?;
    let done = AtomicBool::new(false);
    let (busy, mut effects) = std::thread::scope(|scope| -> Result<(Seen, Vec<Duration>)> {
        let load = scope.spawn(|| {
            let seen = load::run(envoy.listen, &request, options.load, time);
            done.store(true, Ordering::Relaxed);
            seen
        });
        let mut effects = Vec::new();
        for turn in 1..=options.count {
            if done.load(Ordering::Relaxed) {
                break;
            }
            effects.push(swap(turn)?);
        }
        Ok((load.join().unwrap_or_else(|_| bail!("the load ended"))?, effects))
    })?;
    effects.sort_unstable();
    let millis = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    let policy = folder.path().join("large.yaml");
    fs::write(&policy, large(options, 0)?)?;
    let checked = Instant::now();
    authz::command(&["check", &policy.display().to_string()])?;
    let checked = checked.elapsed();
    let (_, metrics) = http::get(&format!("{}/metrics", stack.authz.admin_url))?;
    let compile = metrics.lines().find_map(|line| line.strip_prefix("docsgate_authz_policy_compile_seconds "));
    say(&format!(
        "policy of {} origins and {} routes, {} bytes; `authz check` of it as a process: {:.0} ms{}",
        options.origins,
        options.routes,
        fs::metadata(&policy)?.len(),
        millis(Some(&checked)),
        compile.map_or(String::new(), |seconds| format!("; compiled in {seconds} s")),
    ))?;
    say(&format!(
        "{} reloads under load, from the swap of the file to its effect: median {:.0} ms, longest {:.0} ms",
        effects.len(),
        millis(effects.get(effects.len() / 2)),
        millis(effects.last())
    ))?;
    for (name, seen) in [("no reload", &calm), ("reloading", &busy)] {
        say(&format!(
            "{name}: {:.0} requests/s, p50 {} µs, p99 {} µs, p99.9 {} µs",
            seen.per_second(),
            seen.quantile(0.5),
            seen.quantile(0.99),
            seen.quantile(0.999)
        ))?;
    }
    Ok(())
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// Lines of the log.
    #[arg(long, default_value_t = 1_000_000)]
    lines: usize,
}

/// Records real decisions, repeats them to a long log, and replays it.
pub(crate) fn replay(options: &ReplayOptions) -> Result<()> {
    let folder = stack::folder()?;
    let log = folder.path().join("decisions.jsonl");
    let extra = ["--decision-log", &log.display().to_string(), "--decision-log-addresses", "full"].map(str::to_owned);
    let stack = stack::start_with(folder.path(), extra.to_vec())?;
    stack.member("grant", "bench@example.org")?;
    let token = stack.token("bench@example.org", "12h")?;
    let envoy = stack::envoy(folder.path(), "gate", Some(&stack.authz.socket))?;
    let mut connection = load::Connection::open(envoy.listen)?;
    for n in 0..1000 {
        let bearer = (n % 4 == 0).then_some(token.as_str());
        let path = if n % 10 == 0 { "/nowhere" } else { "/api/docs-search" };
        connection.ask(&load::get(path, bearer))?;
    }
    // Stopped, authz has written every line.
    stack.authz.process.stop(Duration::from_secs(8));
    let recorded = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let lines: Vec<&str> = recorded.lines().collect();
    if lines.len() < 1000 {
        bail!("only {} decisions were logged", lines.len());
    }
    let long = folder.path().join("long.jsonl");
    write_long(&long, &lines, options.lines)?;
    let policy = stack.policy.served().display().to_string();
    let started = Instant::now();
    let said = authz::command(&["replay", "--output", "json", "--policy", &policy, &long.display().to_string()])?;
    let seconds = started.elapsed().as_secs_f64();
    let summary: Value = serde_json::from_str(&said)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
    let per_second = options.lines as f64 / seconds;
    say(&format!(
        "{} lines ({} MB) replayed in {seconds:.1} s: {per_second:.0} lines/s; changed: {}",
        options.lines,
        fs::metadata(&long)?.len() / 1_000_000,
        summary["changed"]
    ))
}

fn write_long(path: &Path, lines: &[&str], count: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines.iter().cycle().take(count) {
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok(())
}
