//! Envoy's side: a `Check` comes in, a decision goes out.

pub mod request;
pub mod response;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use authz_core::{
    decide,
    decision::Trace,
    record::Recording,
    request::{Malformed, RequestFault, RequestView},
    time::Timestamp,
};
use docsgate_service::{Span, Traces};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, authorization_server::Authorization};

use crate::{
    audit::{Audit, Made},
    facts::Sources,
    policy_source::PolicySource,
    telemetry::{self, DecisionMetrics},
};
use response::Answerer;

/// Answers `envoy.service.auth.v3.Authorization/Check`.
#[derive(Debug)]
pub struct CheckService {
    /// The policy in force.
    pub policy: Arc<PolicySource>,
    /// Where facts come from.
    pub sources: Arc<Sources>,
    /// Renders decisions.
    pub answerer: Arc<Answerer>,
    /// Counts decisions.
    pub metrics: Arc<DecisionMetrics>,
    /// Takes decisions that were made.
    pub audit: Audit,
    /// Spans of decisions.
    pub traces: Traces,
    /// Time for one decision.
    pub deadline: Duration,
}

#[tonic::async_trait]
impl Authorization for CheckService {
    async fn check(
        &self,
        check: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        // Envoy's call has its own span in the metadata. What the client's request says of traces is not believed.
        let metadata = check.metadata();
        let span = self.traces.begin("check", |name| metadata.get(name)?.to_str().ok());
        Ok(tonic::Response::new(self.answer(check.get_ref(), span).await))
    }
}

impl CheckService {
    /// One request from `Check` to answer.
    async fn answer(&self, check: &CheckRequest, mut span: Span) -> CheckResponse {
        let started = Instant::now();
        let now = Timestamp::from_system(SystemTime::now());
        let policy = self.policy.current();
        let raw = request::raw(check);
        let view = raw.as_ref().ok_or_else(|| Malformed::from(RequestFault::NoHttp)).and_then(RequestView::read);
        let live = self.sources.until((started + self.deadline).into());
        let facts = Recording::new(&live);

        let decision = decide(&policy, &view, &facts, now, &mut Trace::off()).await;

        let asked = response::Asked::new(raw.as_ref(), view.as_ref().ok(), now);
        let (response, decision) = self.answerer.render(decision, &asked, &policy);
        self.metrics.record(&decision, asked.id, started.elapsed());
        log(&decision, &asked, started.elapsed());
        if span.is_recording() {
            telemetry::describe(&mut span, &decision, asked.id, &policy.version);
        }
        if self.audit.wanted() {
            let (id, subject) = (asked.id.to_owned(), self.answerer.pseudonym(&decision));
            let (said, took) = (facts.into_said(), started.elapsed());
            self.audit.record(Made { id, view, said, decision: &decision, policy: &policy, subject, now, took });
        }
        response
    }
}

/// A refusal is worth a line by itself; the decision log has all of them.
fn log(decision: &authz_core::decision::Decision, asked: &response::Asked<'_>, took: Duration) {
    if let authz_core::decision::Outcome::Refuse(refusal) = &decision.outcome {
        tracing::debug!(
            request_id = asked.id,
            route = decision.about.route.as_deref(),
            reason = refusal.kind(),
            cause = refusal.cause(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "refused"
        );
    }
}
