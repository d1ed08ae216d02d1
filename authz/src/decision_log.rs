//! The decision log: one JSON line a decision, written by a thread of its own. It never delays a decision, and what waits
//! for the writer takes no more than a number of bytes: what does not fit is dropped and counted, by reason.

mod noise;
mod output;
mod recent;

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use authz_core::{
    decision::{Decision, Outcome, Refusal},
    record::{DecisionRecord, RedactedAddresses},
};
use clap::Args;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{noise::Sampler, output::Output, recent::Recent};

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
    /// Share of the allowed decisions that is logged, 0 to 1. Refusals are always logged, but for --decision-log-noise.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_SAMPLE", value_name = "SHARE", default_value_t = 1.0, value_parser = parse_share)]
    pub decision_log_sample: f64,
    /// Lines a second for requests that limits refused, and as many for those that were refused before any limit. Ten
    /// times as many may come at once; the rest is counted.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_NOISE", value_name = "LINES", default_value_t = 10)]
    pub decision_log_noise: u32,
    /// Memory for what waits for the log's writer, as much for what waits for the candidate policy, and as much for recent
    /// decisions.
    #[arg(long, env = "DOCSGATE_DECISION_LOG_MEMORY", value_name = "BYTES", default_value_t = 8 * 1024 * 1024, value_parser = parse_memory)]
    pub decision_log_memory: usize,
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

fn parse_memory(text: &str) -> Result<usize, String> {
    // Less than a few records would be no log at all; more is not meant for a queue.
    let (least, most) = (64 * 1024, 1024 * 1024 * 1024);
    let expected = || format!("expected a number of bytes from {least} to {most}");
    text.parse().ok().filter(|bytes| (least..=most).contains(bytes)).ok_or_else(expected)
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

/// Lines that wait for the writer at the most, however small they are.
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
    /// With the bytes that it takes while it waits.
    Record(Arc<DecisionRecord>, OwnedSemaphorePermit),
    /// Everything before this is to be written, then answered.
    Finish(SyncSender<()>),
}

/// Why a line was not written.
mod lost {
    /// It waited for a writer that is too slow.
    pub(super) const QUEUE_FULL: &str = "queue_full";
    /// It stayed too large after everything that a client sent was cut.
    pub(super) const TOO_LARGE: &str = "too_large";
    /// The target could not be written.
    pub(super) const WRITE_FAILED: &str = "write_failed";
    /// An allowed decision outside of the share that is logged.
    pub(super) const SAMPLED: &str = "sampled";
    /// A refusal beyond the lines a second for such.
    pub(super) const NOISE: &str = "noise";
    /// All of them.
    pub(super) const ALL: [&str; 5] = [QUEUE_FULL, TOO_LARGE, WRITE_FAILED, SAMPLED, NOISE];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabels {
    reason: &'static str,
}

/// The decision log and the most recent decisions.
#[derive(Debug)]
pub struct DecisionLog {
    queue: Option<SyncSender<Entry>>,
    /// Bytes that are left for what waits. Counting entries would let whoever decides how large one is decide how much memory
    /// they take.
    room: Arc<Semaphore>,
    recent: Option<Mutex<Recent>>,
    /// Refused before any limit, and refused by one: neither takes the other's lines.
    noise: Sampler,
    limited: Sampler,
    config: DecisionLogConfig,
    written: Counter,
    dropped: Family<LostLabels, Counter>,
}

impl DecisionLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// A sentence that says why the target cannot be written.
    pub fn start(config: DecisionLogConfig, registry: &mut Registry) -> Result<Arc<Self>, String> {
        let (written, dropped) = (Counter::default(), Family::<LostLabels, Counter>::default());
        registry.register("docsgate_authz_decision_log_lines", "Decisions given to the log", written.clone());
        registry.register(
            "docsgate_authz_decision_log_dropped",
            "Decisions that are not in the log, by reason: queue_full, too_large, write_failed, sampled, noise",
            dropped.clone(),
        );
        for reason in lost::ALL {
            drop(dropped.get_or_create(&LostLabels { reason }));
        }
        let mut queue = None;
        if let Some(target) = &config.decision_log {
            let output = Output::open(target, &config)?;
            let (sender, receiver) = sync_channel(QUEUE);
            let lost = |reason| dropped.get_or_create(&LostLabels { reason }).clone();
            let (failed, too_large) = (lost(lost::WRITE_FAILED), lost(lost::TOO_LARGE));
            std::thread::Builder::new()
                .name("decision-log".into())
                .spawn(move || write_lines(&receiver, output, &failed, &too_large))
                .map_err(|error| format!("the decision log's thread does not start: {error}"))?;
            queue = Some(sender);
        }
        let recent = (config.recent_decisions > 0)
            .then(|| Mutex::new(Recent::new(config.recent_decisions, config.decision_log_memory)));
        let (noise, limited) = (Sampler::new(config.decision_log_noise), Sampler::new(config.decision_log_noise));
        let room = Arc::new(Semaphore::new(config.decision_log_memory));
        Ok(Arc::new(Self { queue, room, recent, noise, limited, config, written, dropped }))
    }

    /// Whether anybody wants records.
    pub fn wants_records(&self) -> bool {
        self.queue.is_some() || self.recent.is_some()
    }

    /// How much of addresses is kept.
    pub fn addresses(&self) -> RedactedAddresses {
        self.config.decision_log_addresses.into()
    }

    /// Bytes that each of the places where decisions wait may take.
    pub fn memory(&self) -> usize {
        self.config.decision_log_memory
    }

    /// The share of such decisions that is logged, if this one is to be recorded at all: whoever sends requests that are
    /// refused for nothing does not decide how fast lines of interest go.
    pub fn share(&self, decision: &Decision) -> Option<f64> {
        let sampler = match &decision.outcome {
            Outcome::Allow(_) | Outcome::Preflight => return Some(self.config.decision_log_sample),
            Outcome::Refuse(_) if decision.about.noise => &self.noise,
            Outcome::Refuse(Refusal::RateLimited { .. }) => &self.limited,
            Outcome::Refuse(_) => return Some(1.0),
        };
        let share = sampler.take();
        if share.is_none() {
            self.lose(lost::NOISE);
        }
        share
    }

    /// Takes one record. Returns at once.
    pub fn record(&self, mut record: DecisionRecord) {
        // With what the policy's texts and the allocator add.
        let bytes = record.trim() + 1024;
        let record = Arc::new(record);
        if let Some(recent) = &self.recent {
            recent.lock().push(Arc::clone(&record), bytes);
        }
        let Some(queue) = &self.queue else { return };
        // A refusal that is here was chosen when it was made.
        let chosen = record.decision.outcome == "refused" || is_sampled(&record.id, record.sampled);
        if !chosen {
            return self.lose(lost::SAMPLED);
        }
        // More than the semaphore can count is more than there is.
        let room = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(room) else {
            return self.lose(lost::QUEUE_FULL);
        };
        match queue.try_send(Entry::Record(record, room)) {
            Ok(()) => {
                self.written.inc();
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lose(lost::QUEUE_FULL),
        }
    }

    fn lose(&self, reason: &'static str) {
        self.dropped.get_or_create(&LostLabels { reason }).inc();
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
        self.recent.as_ref()?.lock().find(id)
    }

    /// Ids and outcomes of the most recent decisions, the last one first.
    pub fn latest(&self, most: usize) -> Vec<Arc<DecisionRecord>> {
        let Some(recent) = &self.recent else { return Vec::new() };
        recent.lock().latest(most)
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

fn write_lines(queue: &Receiver<Entry>, mut output: Output, failed: &Counter, too_large: &Counter) {
    let mut complained = false;
    // What the target still holds on to counts as waiting.
    let mut held = Vec::new();
    loop {
        let result = match queue.recv_timeout(FLUSH_EVERY) {
            Ok(Entry::Record(record, room)) => {
                held.push(room);
                match record.line() {
                    Ok(line) => output.line(&record, line),
                    Err(_) => {
                        too_large.inc();
                        Ok(())
                    }
                }
            }
            Ok(Entry::Finish(answer)) => {
                let result = output.flush();
                let _ = answer.send(());
                result
            }
            Err(RecvTimeoutError::Timeout) => output.flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if !output.holds_lines() {
            held.clear();
        }
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

#[cfg(test)]
mod tests;
