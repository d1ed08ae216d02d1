//! The metrics and spans of decisions. One event emits both.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use authz_core::decision::{Decision, Outcome};
use docsgate_service::Span;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter, exemplar::HistogramWithExemplars, family::Family, gauge::Gauge,
        histogram::exponential_buckets,
    },
    registry::Registry,
};

/// Outcome and reason of a decision, in the words of metrics and traces.
fn outcome_and_reason(decision: &Decision) -> (&'static str, &'static str) {
    match (&decision.outcome, &decision.about.shadowed) {
        (Outcome::Allow(_), Some(refusal)) => ("shadowed", refusal.kind()),
        (Outcome::Allow(_), None) => ("allowed", "allowed"),
        (Outcome::Preflight, _) => ("preflight", "preflight"),
        (Outcome::Refuse(refusal), _) => ("refused", refusal.kind()),
    }
}

/// What a trace shows of a decision: nothing that identifies a client.
pub fn describe(span: &mut Span, decision: &Decision, id: &str, version: &str) {
    let (outcome, reason) = outcome_and_reason(decision);
    span.set("docsgate.outcome", outcome);
    span.set("docsgate.reason", reason);
    span.set("docsgate.request_id", id.to_owned());
    span.set("docsgate.policy_version", version.to_owned());
    if let Some(route) = decision.about.route_name() {
        span.set("docsgate.route", route.to_owned());
    }
    match &decision.outcome {
        Outcome::Allow(allow) => {
            let corpora: Vec<&str> = allow.corpora().iter().map(AsRef::as_ref).collect();
            span.set("docsgate.corpora", corpora.join(","));
        }
        Outcome::Refuse(refusal) if refusal.status() >= 500 => span.fail(reason),
        Outcome::Preflight | Outcome::Refuse(_) => {}
    }
}

/// Labels of a decision. No label ever takes a client's text: that would let clients grow memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    route: String,
    outcome: &'static str,
    reason: &'static str,
    corpus: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    revision: &'static str,
}

impl Default for BuildLabels {
    fn default() -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), revision: docsgate_service::revision::REVISION.unwrap_or("unknown") }
    }
}

/// With the request ids of slow decisions.
type Seconds = HistogramWithExemplars<Vec<(&'static str, String)>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// Counts and times decisions.
#[derive(Debug)]
pub struct DecisionMetrics {
    decisions: Family<DecisionLabels, Counter>,
    seconds: Family<RouteLabels, Seconds, fn() -> Seconds>,
}

/// A decision that took longer than this is named by its request id, an exemplar of its bucket.
const EXEMPLARY: Duration = Duration::from_millis(1);

impl DecisionMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Arc<Self> {
        let metrics = Self {
            decisions: Family::default(),
            // 10 µs to 0.3 s.
            seconds: Family::new_with_constructor(|| Seconds::new(exponential_buckets(0.000_01, 2.0, 16))),
        };
        registry.register(
            "docsgate_authz_decisions",
            "Decisions by route, outcome, reason and best corpus",
            metrics.decisions.clone(),
        );
        registry.register("docsgate_authz_decision_seconds", "Time to decide, by route", metrics.seconds.clone());
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels::default()).set(1);
        registry.register("docsgate_authz_build_info", "Version and commit of this program; always 1", build);
        Arc::new(metrics)
    }

    /// Records one decision, with the id of its request.
    pub fn record(&self, decision: &Decision, id: &str, took: Duration) {
        let (outcome, reason) = outcome_and_reason(decision);
        let corpus = match &decision.outcome {
            Outcome::Allow(allow) => allow.corpora().first().map_or("none", AsRef::as_ref),
            Outcome::Preflight | Outcome::Refuse(_) => "none",
        };
        let by_route = RouteLabels { route: decision.about.route_name().unwrap_or("none").to_owned() };
        let timed = self.seconds.get_or_create(&by_route);
        let route = by_route.route;
        self.decisions.get_or_create(&DecisionLabels { route, outcome, reason, corpus: corpus.to_owned() }).inc();
        // What stands there is ours: Envoy makes request ids. Another one would only be left out.
        let plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let exemplar = (took >= EXEMPLARY && plain).then(|| vec![("request_id", id.to_owned())]);
        let at = exemplar.is_some().then(SystemTime::now);
        timed.observe(took.as_secs_f64(), exemplar, at);
    }
}
