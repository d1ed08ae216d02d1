//! What Prometheus sees of members.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    result: &'static str,
}

#[derive(Debug)]
pub(super) struct MemberMetrics {
    lookups: Family<LookupLabels, Counter>,
    pub(super) invalidations: Counter,
    pub(super) flushes: Counter,
    pub(super) listening: Gauge,
}

impl MemberMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            lookups: Family::default(),
            invalidations: Counter::default(),
            flushes: Counter::default(),
            listening: Gauge::default(),
        };
        registry.register("docsgate_authz_member_lookups", "Look-ups of members, by result", metrics.lookups.clone());
        registry.register(
            "docsgate_authz_member_invalidations",
            "Changes of members that the database announced",
            metrics.invalidations.clone(),
        );
        registry.register(
            "docsgate_authz_member_flushes",
            "Times that every member had to be read again because the database announced a change of everything",
            metrics.flushes.clone(),
        );
        registry.register(
            "docsgate_authz_database_listening",
            "Whether the database announces changes of members to this process",
            metrics.listening.clone(),
        );
        metrics
    }

    pub(super) fn count(&self, result: &'static str) {
        self.lookups.get_or_create(&LookupLabels { result }).inc();
    }
}
