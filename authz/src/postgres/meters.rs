//! What Prometheus sees of the database.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Database;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    endpoint: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    endpoint: String,
}

/// Reads the pools when it is asked.
#[derive(Debug)]
struct Pools(Arc<Database>);

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let connections = Family::<ByState, Gauge>::default();
        let in_use = Family::<ByEndpoint, Gauge>::default();
        let chosen = self.0.pool().map(std::ptr::from_ref);
        for endpoint in &self.0.endpoints {
            let idle = i64::try_from(endpoint.pool.num_idle()).unwrap_or(i64::MAX);
            let busy = i64::from(endpoint.pool.size()).saturating_sub(idle);
            for (state, number) in [("idle", idle), ("busy", busy)] {
                let labels = ByState { endpoint: endpoint.name.clone(), state };
                connections.get_or_create(&labels).set(number);
            }
            let here = chosen == Some(std::ptr::from_ref(&endpoint.pool));
            in_use.get_or_create(&ByEndpoint { endpoint: endpoint.name.clone() }).set(i64::from(here));
        }
        let help = "Connections to the database";
        let to =
            encoder.encode_descriptor("docsgate_authz_database_connections", help, None, connections.metric_type())?;
        connections.encode(to)?;
        let help = "1 for the endpoint that is read from";
        let to = encoder.encode_descriptor("docsgate_authz_database_endpoint", help, None, in_use.metric_type())?;
        in_use.encode(to)
    }
}

/// Registers the database's metrics.
pub(super) fn register(database: &Arc<Database>, registry: &mut Registry) {
    registry.register_collector(Box::new(Pools(Arc::clone(database))));
    registry.register(
        "docsgate_authz_database_switches",
        "Times that reads moved to another endpoint",
        database.switches.clone(),
    );
}
