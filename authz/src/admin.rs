//! The operators' listener: everything that authz tells about itself, and a reload. What a cluster may see of it, metrics and
//! probes, can have a listener of its own.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use docsgate_service::operators;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// What both listeners show.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The engine.
    pub gate: Arc<Gate>,
    /// Whether the process is going away.
    pub drain: CancellationToken,
}

impl AdminState {
    /// Whether this process should be asked.
    ///
    /// # Errors
    /// Why not.
    pub fn readiness(&self) -> Result<(), String> {
        if self.drain.is_cancelled() { Err("draining".to_owned()) } else { self.gate.readiness() }
    }
}

/// The operators' listener at `bound`. Decisions, limits and the policy are nobody's but theirs.
pub fn router(state: AdminState, bound: SocketAddr) -> Router {
    let own = Router::new()
        .route("/policy", get(policy))
        .route("/policy/reload", post(reload))
        .route("/decisions", get(decisions))
        .route("/decisions/{id}", get(decision))
        .route("/candidate", get(candidate))
        .route("/limits", get(limits))
        .with_state(state.clone());
    operators::listener(probes(state), own, bound)
}

/// The listener for Prometheus and the kubelet.
pub fn metrics_router(state: AdminState) -> Router {
    operators::metrics_listener(probes(state))
}

fn probes(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn readyz(State(state): State<AdminState>) -> Response {
    match state.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &state.gate.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn policy(State(state): State<AdminState>) -> Response {
    Json(state.gate.policy.status()).into_response()
}

/// Looks at the files now; answers with what is in force after that.
async fn reload(State(state): State<AdminState>) -> Response {
    state.gate.policy.reload().await;
    Json(state.gate.policy.status()).into_response()
}

/// The most recent decisions, without their inputs.
async fn decisions(State(state): State<AdminState>) -> Response {
    let latest = state.gate.audit.log.latest(100);
    let lines = latest.iter().map(|record| {
        serde_json::json!({
            "id": record.id, "time": record.time, "route": record.decision.route,
            "decision": record.decision.in_words(), "micros": record.micros,
        })
    });
    Json(lines.collect::<Vec<_>>()).into_response()
}

/// One recent decision, as the decision log has it.
async fn decision(State(state): State<AdminState>, Path(id): Path<String>) -> Response {
    match state.gate.audit.log.recent(&id) {
        Some(record) => Json(record.as_ref()).into_response(),
        None => (StatusCode::NOT_FOUND, "no such decision among the most recent ones\n").into_response(),
    }
}

/// What the candidate policy would have decided differently.
async fn candidate(State(state): State<AdminState>) -> Response {
    match &state.gate.audit.candidate {
        Some(candidate) => Json(candidate.report()).into_response(),
        None => (StatusCode::NOT_FOUND, "no candidate: set --candidate-policy\n").into_response(),
    }
}

/// What limits have counted, and the keys that are counted most.
async fn limits(State(state): State<AdminState>) -> Response {
    Json(state.gate.sources.limits.report()).into_response()
}
