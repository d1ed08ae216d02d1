//! The admin listener: metrics, health and the state of the policy. Not for the outside.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;

use crate::{facts::Sources, policy_source::PolicySource, serve::drain::Drain};

/// What the admin listener shows.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// All metrics.
    pub registry: Arc<Registry>,
    /// The policy in force.
    pub policy: Arc<PolicySource>,
    /// Where facts come from.
    pub sources: Arc<Sources>,
    /// Whether the process is going away.
    pub drain: Drain,
}

/// The routes of the admin listener.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/policy", get(policy))
        .with_state(state)
}

/// Ready needs a policy and, unless the policy says otherwise, keys; never Postgres or Redis, which public documents
/// do without.
pub fn readiness(state: &AdminState) -> Result<(), String> {
    if state.drain.has_begun() {
        return Err("draining".to_owned());
    }
    state.sources.tokens.readiness(&state.policy.current())
}

async fn readyz(State(state): State<AdminState>) -> Response {
    match readiness(&state) {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &state.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn policy(State(state): State<AdminState>) -> Response {
    Json(state.policy.status()).into_response()
}
