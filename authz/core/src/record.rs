//! What the decision log keeps of a decision: enough to decide again, and nothing that must not be kept.
//!
//! Tokens, keys and cookies never reach a record: only that there was one, and how its verification ended. Values of
//! query parameters (readers' questions) are left out unless a route matches on them.

mod bound;
mod facts;
mod request;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bound::{MAX_BYTES, TooLarge};
use facts::{RecordedApiKey, RecordedMember};
pub use facts::{RecordedFacts, ReplayedFacts};
pub use request::{RecordedRequest, RedactedAddresses};

use crate::{
    decision::{Decision, Outcome},
    time::Timestamp,
};

/// One line of the decision log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// Always `docsgate.decision/v1`.
    pub schema: String,
    /// When it was decided (UTC).
    pub time: String,
    /// Envoy's request id, which is in the refusal, the logs and the traces too.
    pub id: String,
    /// Version of the policy that decided.
    pub policy: String,
    /// Share of such decisions that the log keeps; 1 for all.
    pub sampled: f64,
    /// The request was larger than a line may be, and not all of it is here: it cannot be decided again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The request.
    pub request: RecordedRequest,
    /// What was known of the caller.
    pub facts: RecordedFacts,
    /// The decision.
    pub decision: RecordedDecision,
    /// What the candidate policy would have decided, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<RecordedDecision>,
    /// Time that the decision took, in microseconds.
    pub micros: u64,
}

/// The name of this format.
pub const SCHEMA: &str = "docsgate.decision/v1";

impl DecisionRecord {
    /// When it was decided.
    ///
    /// # Errors
    /// When the time is not in UTC.
    pub fn timestamp(&self) -> Result<Timestamp, String> {
        Timestamp::parse(&self.time)
    }
}

/// A decision as the log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedDecision {
    /// `allowed`, `preflight` or `refused`.
    pub outcome: String,
    /// HTTP status of the gate's answer; 200 for allowed.
    pub status: u16,
    /// `allowed`, `preflight`, or the last part of the problem type.
    pub reason: String,
    /// More than the reason, such as the limit that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Corpora that were opened, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corpora: Vec<String>,
    /// The caller's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Limits that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<RecordedLimit>,
    /// Things that did not decide but explain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What shadow mode would have refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed: Option<String>,
}

/// What a limit said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedLimit {
    /// Its name.
    pub name: String,
    /// Whether the request fitted.
    pub fits: bool,
    /// Tokens left.
    pub remaining: u32,
}

impl RecordedDecision {
    /// What the log tells of a decision.
    pub fn of(decision: &Decision) -> Self {
        let about = &decision.about;
        let (outcome, status, reason) = crate::cases::summary(decision);
        let (corpora, cause) = match &decision.outcome {
            Outcome::Allow(allow) => (allow.corpora().iter().map(ToString::to_string).collect(), None),
            Outcome::Preflight => (Vec::new(), None),
            Outcome::Refuse(refusal) => (Vec::new(), Some(refusal.cause())),
        };
        let limits = about.limits.iter().map(|state| RecordedLimit {
            name: state.name.to_string(),
            fits: state.fits,
            remaining: state.remaining,
        });
        Self {
            outcome: outcome.to_owned(),
            status,
            reason: reason.to_owned(),
            cause,
            route: about.route_name().map(str::to_owned),
            corpora,
            plan: about.plan.clone(),
            limits: limits.collect(),
            notes: about.notes.iter().map(|note| note.code().to_owned()).collect(),
            shadowed: about.shadowed.as_ref().map(|refusal| refusal.kind().to_owned()),
        }
    }

    /// Whether a caller would notice: another outcome, reason or set of corpora. What is left of a limit does not count.
    pub fn differs(&self, other: &Self) -> bool {
        (self.status, &self.reason, &self.corpora, &self.shadowed)
            != (other.status, &other.reason, &other.corpora, &other.shadowed)
    }

    /// The decision in a few words: `200 member+public`, `429 rate_limited`.
    pub fn in_words(&self) -> String {
        if self.outcome == "allowed" {
            let corpora = if self.corpora.is_empty() { "no corpus".to_owned() } else { self.corpora.join("+") };
            format!("{} {corpora}", self.status)
        } else {
            format!("{} {}", self.status, self.reason)
        }
    }
}

/// The JSON Schema (draft 2020-12) of one line.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(DecisionRecord).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$id".into(), "urn:docsgate:schema:decision:v1".into());
        object.insert("title".into(), "docsgate decision log line".into());
    }
    schema
}

#[cfg(test)]
mod tests;
