//! Recorded decisions, decided again with another policy.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{
    decide,
    facts::immediately,
    limit::memory::MemoryLimits,
    policy::Snapshot,
    record::{DecisionRecord, RecordedDecision, RedactedAddresses, ReplayedFacts},
};

/// How often the state of limits is swept: it must not grow with the log.
const SWEEP_EVERY: u64 = 100_000;

/// What one record became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Nothing that a caller would notice.
    Same,
    /// Another decision.
    Changed(Box<RecordedDecision>),
    /// The record does not hold what the new policy asks for.
    Undetermined,
    /// The record does not hold the whole request.
    Truncated,
}

/// Replays a log, record by record, on the recorded clock.
#[derive(Debug)]
pub struct Replay<'a> {
    policy: &'a Snapshot,
    limits: Mutex<MemoryLimits>,
    /// What was found.
    pub summary: Summary,
}

/// The result of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records read.
    pub records: u64,
    /// Records that come out differently.
    pub changed: u64,
    /// Records that were allowed (or answered as a preflight) and would be refused.
    pub newly_refused: u64,
    /// Records that were refused and would be allowed.
    pub newly_allowed: u64,
    /// Records that cannot be decided again.
    pub undetermined: u64,
    /// Records that are not whole and were not decided again.
    pub truncated: u64,
    /// Records whose limits were not replayed: the log is sampled or its addresses are truncated.
    pub without_limits: u64,
    /// Changes by route, decision then and decision now, with the ids of the first examples.
    pub changes: BTreeMap<(String, String, String), Change>,
}

/// Records that changed in the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// How many.
    pub count: u64,
    /// Ids of the first of them.
    pub examples: Vec<String>,
}

/// Examples that are kept of each change.
const EXAMPLES: usize = 3;

impl<'a> Replay<'a> {
    /// Begins with limits that nobody has used.
    pub fn new(policy: &'a Snapshot) -> Self {
        Self { policy, limits: Mutex::default(), summary: Summary::default() }
    }

    /// Decides one record again.
    ///
    /// # Errors
    /// When the record makes no sense.
    pub fn record(&mut self, record: &DecisionRecord) -> Result<Replayed, String> {
        let now = record.timestamp()?;
        self.summary.records += 1;
        if self.summary.records.is_multiple_of(SWEEP_EVERY) {
            self.limits.lock().forget_full(now);
        }
        if record.request.malformed {
            return Ok(Replayed::Same);
        }
        if record.truncated {
            self.summary.truncated += 1;
            return Ok(Replayed::Truncated);
        }
        let complete = record.sampled >= 1.0 && record.request.addresses == RedactedAddresses::Full;
        self.summary.without_limits += u64::from(!complete);
        let facts = ReplayedFacts::new(&record.facts, complete.then_some(&self.limits));
        let view = record.request.view(&record.id);
        let decision = immediately(decide(self.policy, &view, &facts, now)).ok_or("recorded facts never wait")?;
        let after = RecordedDecision::of(&decision);
        // Without limits, what they refused then is taken as refused now; so is what is still noise.
        let refused_by_limit = record.decision.reason == "rate_limited" && (!complete || decision.about.noise);
        if facts.unanswered() {
            self.summary.undetermined += 1;
            return Ok(Replayed::Undetermined);
        }
        if refused_by_limit || !record.decision.differs(&after) {
            return Ok(Replayed::Same);
        }
        self.changed(record, &after);
        Ok(Replayed::Changed(Box::new(after)))
    }

    fn changed(&mut self, record: &DecisionRecord, after: &RecordedDecision) {
        let summary = &mut self.summary;
        let refused = |decision: &RecordedDecision| decision.outcome == "refused";
        summary.changed += 1;
        summary.newly_refused += u64::from(!refused(&record.decision) && refused(after));
        summary.newly_allowed += u64::from(refused(&record.decision) && !refused(after));
        let route = after.route.as_ref().or(record.decision.route.as_ref()).cloned().unwrap_or_else(|| "none".into());
        let change = summary.changes.entry((route, record.decision.in_words(), after.in_words())).or_default();
        change.count += 1;
        if change.examples.len() < EXAMPLES {
            change.examples.push(record.id.clone());
        }
    }
}
