//! The decision log: one JSON line a decision, written by a thread of its own. It never delays a decision: when the
//! writer cannot keep up, lines are dropped and counted.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use authz_core::record::{DecisionRecord, RedactedAddresses};
use clap::Args;
use docsgate_service::Records;
use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Settings of the decision log.
#[derive(Debug, Clone, Args)]
pub struct DecisionLogConfig {
    /// Where decisions are logged: stdout, a file, or the OTLP collector of OTEL_EXPORTER_OTLP_ENDPOINT. Default: nowhere.
    #[arg(long, env = "DOCSGATE_DECISION_LOG", value_name = "stdout|otlp|FILE")]
    pub decision_log: Option<LogTarget>,
    /// Size at which a log file is set aside as FILE.1, and older ones further.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_MAX_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    pub decision_log_max_bytes: u64,
    /// Files that are kept aside.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_KEEP", value_name = "N", default_value_t = 5)]
    pub decision_log_keep: u32,
    /// Share of the allowed decisions that is logged, 0 to 1. Refusals are always logged.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_SAMPLE", value_name = "SHARE", default_value_t = 1.0, value_parser = parse_share)]
    pub decision_log_sample: f64,
    /// How much of client addresses is logged. `full` lets limits be replayed.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_ADDRESSES", value_enum, default_value_t = Addresses::Truncated)]
    pub decision_log_addresses: Addresses,
    /// Recent decisions kept in memory for `authz explain --live`; 0 for none.
    #[arg(long, env = "DOCSGATE_RECENT_DECISIONS", value_name = "N", default_value_t = 256)]
    pub recent_decisions: usize,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a number from 0 to 1".to_owned()) }
}

/// How much of addresses is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Addresses {
    /// All of them.
    Full,
    /// The network: IPv4 /24, IPv6 /48.
    Truncated,
}

impl From<Addresses> for RedactedAddresses {
    fn from(addresses: Addresses) -> Self {
        match addresses {
            Addresses::Full => Self::Full,
            Addresses::Truncated => Self::Truncated,
        }
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Log records to an OTLP collector.
    Otlp,
    /// A file, which is rotated.
    File(PathBuf),
}

impl FromStr for LogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected `stdout`, `otlp` or a file".into()),
            "stdout" | "-" => Ok(Self::Stdout),
            "otlp" => Ok(Self::Otlp),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// Lines that wait for the writer at the most.
const QUEUE: usize = 16_384;
/// Time for the last lines when the process ends.
const FINISH: Duration = Duration::from_secs(3);
/// How often room in the queue is looked for at the end.
const FULL: Duration = Duration::from_millis(5);
/// How long a line may stay in the buffer.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// What the writer is given.
#[derive(Debug)]
enum Entry {
    Record(Arc<DecisionRecord>),
    /// Everything before this is to be written, then answered.
    Finish(SyncSender<()>),
}

/// The decision log and the most recent decisions.
#[derive(Debug)]
pub struct DecisionLog {
    queue: Option<SyncSender<Entry>>,
    recent: Mutex<VecDeque<Arc<DecisionRecord>>>,
    config: DecisionLogConfig,
    written: Counter,
    dropped: Counter,
}

impl DecisionLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// A sentence that says why the target cannot be written.
    pub fn start(config: DecisionLogConfig, registry: &mut Registry) -> Result<Arc<Self>, String> {
        let (written, dropped) = (Counter::default(), Counter::default());
        registry.register("docsgate_authz_decision_log_lines", "Decisions given to the log", written.clone());
        registry.register(
            "docsgate_authz_decision_log_dropped",
            "Decisions that the log could not take: the writer is too slow or cannot write",
            dropped.clone(),
        );
        let mut queue = None;
        if let Some(target) = &config.decision_log {
            let output = Output::open(target, &config)?;
            let (sender, receiver) = sync_channel(QUEUE);
            let failed = dropped.clone();
            std::thread::Builder::new()
                .name("decision-log".into())
                .spawn(move || write_lines(&receiver, output, &failed))
                .map_err(|error| format!("the decision log's thread does not start: {error}"))?;
            queue = Some(sender);
        }
        Ok(Arc::new(Self { queue, recent: Mutex::default(), config, written, dropped }))
    }

    /// Whether anybody wants records.
    pub fn wants_records(&self) -> bool {
        self.queue.is_some() || self.config.recent_decisions > 0
    }

    /// How much of addresses is kept.
    pub fn addresses(&self) -> RedactedAddresses {
        self.config.decision_log_addresses.into()
    }

    /// The share of decisions with this outcome that is logged.
    pub fn share(&self, allowed: bool) -> f64 {
        if allowed { self.config.decision_log_sample } else { 1.0 }
    }

    /// Takes one record. Returns at once.
    pub fn record(&self, record: DecisionRecord) {
        let record = Arc::new(record);
        if self.config.recent_decisions > 0 {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            while recent.len() >= self.config.recent_decisions {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(&record));
        }
        let Some(queue) = &self.queue else { return };
        if !is_sampled(&record.id, record.sampled) {
            return;
        }
        match queue.try_send(Entry::Record(record)) {
            Ok(()) => self.written.inc(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped.inc(),
        };
    }

    /// Waits until everything that was taken so far is written, for a process that is about to end. Others may still hold
    /// this log then, so its own end could come too late.
    pub fn finish(&self) {
        let Some(queue) = &self.queue else { return };
        let (answer, answered) = sync_channel(1);
        let until = Instant::now() + FINISH;
        let mut entry = Entry::Finish(answer);
        // A writer that hangs, such as on a pipe that nobody reads, must not keep the process from ending.
        while let Err(TrySendError::Full(back)) = queue.try_send(entry) {
            if Instant::now() >= until {
                return;
            }
            entry = back;
            std::thread::sleep(FULL);
        }
        let _ = answered.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// A recent decision, by its request id.
    pub fn recent(&self, id: &str) -> Option<Arc<DecisionRecord>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|record| record.id == id).map(Arc::clone)
    }

    /// Ids and outcomes of the most recent decisions, the last one first.
    pub fn latest(&self, most: usize) -> Vec<Arc<DecisionRecord>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().take(most).map(Arc::clone).collect()
    }
}

/// Decides by the request id, so that every replica and every retry decides alike.
fn is_sampled(id: &str, share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    // FNV-1a: spreads ids evenly; nothing depends on it being hard to guess.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) < share * f64::from(u32::MAX)
}

fn write_lines(queue: &Receiver<Entry>, mut output: Output, failed: &Counter) {
    let mut complained = false;
    loop {
        let result = match queue.recv_timeout(FLUSH_EVERY) {
            Ok(Entry::Record(record)) => output.line(&record),
            Ok(Entry::Finish(answer)) => {
                let result = output.flush();
                let _ = answer.send(());
                result
            }
            Err(RecvTimeoutError::Timeout) => output.flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(error) = result {
            failed.inc_by(output.lost());
            if !complained {
                tracing::error!(%error, "the decision log cannot be written; decisions go on");
            }
            complained = true;
        }
    }
    let _ = output.flush();
}

enum Output {
    Stdout(BufWriter<std::io::Stdout>),
    /// With the number of records that the collector has not confirmed.
    Otlp(Records, u64),
    File {
        file: BufWriter<File>,
        path: PathBuf,
        bytes: u64,
        most: u64,
        keep: u32,
    },
}

impl Output {
    fn open(target: &LogTarget, config: &DecisionLogConfig) -> Result<Self, String> {
        match target {
            LogTarget::Stdout => Ok(Self::Stdout(BufWriter::new(std::io::stdout()))),
            LogTarget::Otlp => Records::from_environment("authz", docsgate_service::revision::version())
                .map(|records| Self::Otlp(records, 0))
                .map_err(|error| format!("--decision-log otlp: {error}")),
            LogTarget::File(path) => {
                let (file, bytes) =
                    append(path).map_err(|error| format!("--decision-log {}: {error}", path.display()))?;
                let (most, keep) = (config.decision_log_max_bytes.max(1), config.decision_log_keep);
                Ok(Self::File { file, path: path.clone(), bytes, most, keep })
            }
        }
    }

    fn line(&mut self, record: &DecisionRecord) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match self {
            Self::Stdout(out) => out.write_all(&line),
            Self::Otlp(records, waiting) => {
                line.pop();
                let attributes = [
                    ("docsgate.request_id", record.id.as_str()),
                    ("docsgate.outcome", record.decision.outcome.as_str()),
                ];
                records.emit("docsgate.decision", String::from_utf8_lossy(&line).into_owned(), &attributes);
                *waiting += 1;
                // What waits for the collector waits in our queue, where what is lost is counted.
                if *waiting < Records::BATCH { Ok(()) } else { self.flush() }
            }
            Self::File { file, path, bytes, most, keep } => {
                let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
                if *bytes > 0 && bytes.saturating_add(length) > *most {
                    file.flush()?;
                    rotate(path, *keep)?;
                    (*file, *bytes) = append(path)?;
                }
                *bytes = bytes.saturating_add(length);
                file.write_all(&line)
            }
        }
    }

    /// How many lines an error has cost.
    fn lost(&mut self) -> u64 {
        match self {
            Self::Otlp(_, waiting) => std::mem::take(waiting).max(1),
            Self::Stdout(_) | Self::File { .. } => 1,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Otlp(_, 0) => Ok(()),
            Self::Otlp(records, waiting) => {
                records.flush()?;
                *waiting = 0;
                Ok(())
            }
            Self::File { file, .. } => file.flush(),
        }
    }
}

fn append(path: &Path) -> std::io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((BufWriter::new(file), bytes))
}

/// FILE.1 becomes FILE.2 and so on; the oldest goes.
fn rotate(path: &Path, keep: u32) -> std::io::Result<()> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        if aside(number).exists() {
            std::fs::rename(aside(number), aside(number + 1))?;
        }
    }
    std::fs::rename(path, aside(1))
}

#[cfg(test)]
mod tests;
