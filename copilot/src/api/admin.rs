//! The operators' listener, never reachable through the gate, and the one for metrics and probes alone.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use docsgate_service::operators;
use serde_json::json;

use crate::app::App;

/// The operators' listener at `bound`: `/unanswered`, beside metrics and probes. Questions are their askers'.
pub fn router(app: &App, bound: SocketAddr) -> Router {
    let own = Router::new().route("/unanswered", get(unanswered)).with_state(app.clone());
    operators::listener(probes(app), own, bound)
}

/// The listener for Prometheus and the kubelet: `/healthz`, `/readyz`, `/metrics`.
pub fn metrics_router(app: &App) -> Router {
    operators::metrics_listener(probes(app))
}

fn probes(app: &App) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app.clone())
}

/// 200 when every corpus has an index; 503 with the reasons otherwise. A refused newer artifact is reported, but what is in
/// service keeps serving.
async fn ready(State(app): State<App>) -> Response {
    let states = app.live.states();
    let missing: Vec<String> = states
        .iter()
        .filter(|state| state.version.is_none())
        .map(|state| {
            let reason = state.fault.as_deref().unwrap_or("it is still being loaded");
            format!("corpus {} has no index: {reason}", state.corpus)
        })
        .collect();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": missing.is_empty(), "reasons": missing, "corpora": states});
    (status, axum::Json(body)).into_response()
}

/// What the documents did not answer, for the docs team.
async fn unanswered(State(app): State<App>) -> Response {
    axum::Json(app.unanswered.rows()).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.render(&app.live.states())).into_response()
}
