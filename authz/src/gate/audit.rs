//! What happens with a decision once it is made: the log, the memory of recent ones, the candidate policy.

use std::{sync::Arc, time::Duration};

use authz_core::{
    decision::Decision,
    policy::Snapshot,
    record::{DecisionRecord, RecordedDecision, RecordedFacts, RecordedRequest, SCHEMA},
    request::{Malformed, RequestView},
    time::Timestamp,
};

use crate::{
    candidate::{Candidate, Job},
    decision_log::DecisionLog,
};

/// A decision that was made and answered.
#[derive(Debug)]
pub struct Event<'a> {
    /// Request id.
    pub id: String,
    /// The request.
    pub view: Result<RequestView, Malformed>,
    /// The decision.
    pub decision: &'a Decision,
    /// The policy that decided.
    pub policy: &'a Snapshot,
    /// The caller's pseudonym.
    pub subject: Option<String>,
    /// When.
    pub now: Timestamp,
    /// How long it took.
    pub took: Duration,
}

/// Keeps decisions that were answered.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The decision log.
    pub log: Arc<DecisionLog>,
    /// The candidate, if there is one.
    pub candidate: Option<Arc<Candidate>>,
}

impl Audit {
    /// Whether anybody wants to know.
    pub fn wanted(&self) -> bool {
        self.log.wants_records() || self.candidate.is_some()
    }

    /// Records one decision. Returns at once, and never changes it.
    pub fn record(&self, event: Event<'_>) {
        let Some(sampled) = self.log.share(event.decision) else {
            if let Some(candidate) = &self.candidate {
                candidate.skip();
            }
            return;
        };
        let addresses = self.log.addresses();
        let request = match &event.view {
            Ok(view) => RecordedRequest::of(view, event.policy, addresses),
            Err(_) => RecordedRequest::malformed(),
        };
        let record = DecisionRecord {
            schema: SCHEMA.to_owned(),
            time: event.now.rfc3339(),
            id: event.id,
            policy: event.policy.version.to_string(),
            sampled,
            truncated: false,
            request,
            facts: RecordedFacts::of(&event.decision.about.facts, event.subject.as_deref()),
            decision: RecordedDecision::of(event.decision),
            candidate: None,
            micros: u64::try_from(event.took.as_micros()).unwrap_or(u64::MAX),
        };
        let Some(candidate) = &self.candidate else { return self.log.record(record) };
        if let Err(refused) = candidate.compare(Job { view: event.view, now: event.now, record }) {
            self.log.record(refused.record);
        }
    }
}
