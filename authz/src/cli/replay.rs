//! `authz replay`: a decision log through another policy.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use authz_core::{
    policy::{Snapshot, compile, diagnostic::render},
    record::DecisionRecord,
    replay::{Replay, Summary},
};
use clap::Args;
use docsgate_service::exit::UsageError;
use indicatif::{ProgressBar, ProgressStyle};

use super::Output;
use crate::policy_source;

/// Run a decision log through another policy and tell what would change.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The policy to try: file or directory.
    #[arg(long, value_name = "PATH")]
    policy: PathBuf,
    /// Decision logs, in order of time; - for standard input.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Fail when a larger share of the decisions would be newly refused, such as 0.1%.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    max_newly_refused: Option<f64>,
    /// Fail when a larger share of the decisions would change in any way.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    max_changed: Option<f64>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Longest line that is read.
const LONGEST_LINE: u64 = 1024 * 1024;
/// Lines that are parsed at once.
const CHUNK: usize = 2048;

fn parse_share(text: &str) -> Result<f64, String> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share: f64 = number.trim().parse().map_err(|_| format!("`{text}` is not a share; expected 0.1% or 0.001"))?;
    let share = share / divisor;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("`{text}` is not between 0 and 100%")) }
}

/// Exit code 0: replayed, within the shares asked for. 1: not within them, or a line is broken. 2: cannot be read.
///
/// # Errors
/// When a log or the policy cannot be read.
pub fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let files = policy_source::read(&args.policy).map_err(UsageError)?;
    let policy = compile(&files, &policy_source::overrides_of_environment())
        .map_err(|found| UsageError(format!("the policy is refused\n\n{}", render(&found))))?
        .snapshot;
    let summary = replay(&policy, &args.logs)?;
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => write!(out, "{}", text(&summary))?,
        Output::Json => writeln!(out, "{:#}", json(&summary))?,
    }
    let share = |count: u64| to_f64(count) / to_f64(summary.records.max(1));
    let too_many = |most: Option<f64>, count| most.is_some_and(|most| share(count) > most);
    let fails = too_many(args.max_newly_refused, summary.newly_refused) || too_many(args.max_changed, summary.changed);
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

#[expect(clippy::cast_precision_loss, reason = "counts of log lines are far below 2^52")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

type Chunk = Vec<Result<DecisionRecord, String>>;

/// Parses on every core and decides in order: the state of limits depends on it.
fn replay(policy: &Snapshot, logs: &[PathBuf]) -> Result<Summary> {
    let mut replay = Replay::new(policy);
    let bytes = logs.iter().map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum();
    let progress = ProgressBar::new(bytes);
    progress.enable_steady_tick(Duration::from_millis(200));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} {elapsed}") {
        progress.set_style(style);
    }
    for path in logs {
        let reader: Box<dyn Read + Send> = if path.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            let file = File::open(path).map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
            Box::new(progress.wrap_read(file))
        };
        let name = path.display().to_string();
        std::thread::scope(|scope| -> Result<()> {
            let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
            let mut to_workers = Vec::with_capacity(workers);
            let mut from_workers: Vec<Receiver<Chunk>> = Vec::with_capacity(workers);
            for _ in 0..workers {
                let (send_lines, lines) = sync_channel::<Vec<Vec<u8>>>(2);
                let (send_records, records) = sync_channel::<Chunk>(2);
                to_workers.push(send_lines);
                from_workers.push(records);
                scope.spawn(move || {
                    for lines in lines {
                        let parsed =
                            lines.iter().map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()));
                        if send_records.send(parsed.collect()).is_err() {
                            break;
                        }
                    }
                });
            }
            let reading = scope.spawn(move || read_chunks(reader, &to_workers));
            let mut line = 0_u64;
            for turn in 0.. {
                let Some(chunk) = from_workers.get(turn % workers).and_then(|worker| worker.recv().ok()) else { break };
                for record in chunk {
                    line += 1;
                    let outcome = record.and_then(|record| replay.record(&record).map(|_| ()));
                    outcome.map_err(|error| anyhow!("{name}:{line}: not a line of the decision log: {error}"))?;
                }
                progress.set_message(format!("{} decisions", replay.summary.records));
            }
            drop(from_workers);
            let read = reading.join().map_err(|_| anyhow!("the reader ended"))?;
            read.with_context(|| name.clone())
        })?;
    }
    progress.finish_and_clear();
    Ok(replay.summary)
}

/// Hands chunks of lines to the workers in turn.
fn read_chunks(reader: impl Read, workers: &[std::sync::mpsc::SyncSender<Vec<Vec<u8>>>]) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1024 * 1024, reader);
    for worker in workers.iter().cycle() {
        let mut lines = Vec::with_capacity(CHUNK);
        while lines.len() < CHUNK {
            let mut line = Vec::new();
            if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                lines.push(line);
            }
        }
        if lines.is_empty() || worker.send(lines).is_err() {
            break;
        }
    }
    Ok(())
}

fn text(summary: &Summary) -> String {
    let mut out = format!(
        "{} decisions: {} change, {} newly refused, {} newly allowed\n",
        summary.records, summary.changed, summary.newly_refused, summary.newly_allowed
    );
    if summary.undetermined > 0 {
        out.push_str(&format!(
            "{} cannot be decided again: the record does not hold what the new policy asks for\n",
            summary.undetermined
        ));
    }
    if summary.truncated > 0 {
        out.push_str(&format!("{} are truncated and were not decided again\n", summary.truncated));
    }
    if summary.without_limits > 0 {
        out.push_str(&format!(
            "{} without their limits: the log is sampled or its addresses are truncated\n",
            summary.without_limits
        ));
    }
    let mut changes: Vec<_> = summary.changes.iter().collect();
    changes.sort_by_key(|(_, change)| std::cmp::Reverse(change.count));
    if !changes.is_empty() {
        out.push_str(&format!("\n{:>9}  {:<20} {:<28} {:<28} examples\n", "count", "route", "then", "now"));
    }
    for ((route, then, now), change) in changes {
        let examples = change.examples.join(" ");
        out.push_str(&format!("{:>9}  {route:<20} {then:<28} {now:<28} {examples}\n", change.count));
    }
    out
}

fn json(summary: &Summary) -> serde_json::Value {
    let changes = summary.changes.iter().map(|((route, then, now), change)| {
        serde_json::json!({
            "route": route, "then": then, "now": now, "count": change.count, "examples": change.examples,
        })
    });
    serde_json::json!({
        "records": summary.records,
        "changed": summary.changed,
        "newly_refused": summary.newly_refused,
        "newly_allowed": summary.newly_allowed,
        "undetermined": summary.undetermined,
        "truncated": summary.truncated,
        "without_limits": summary.without_limits,
        "changes": changes.collect::<Vec<_>>(),
    })
}
