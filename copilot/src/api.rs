//! The HTTP interface. Every answer is JSON with the version in its media type, or problem+json (RFC 9457).

pub mod admin;
pub mod chat;
pub mod events;
pub mod generated;
pub mod json;
pub mod search;

use axum::{
    Extension, Router,
    extract::Request,
    http::{HeaderValue, Method, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    app::App,
    grant_guard::RequestId,
    interface::{Interface, admit, observe},
    metrics::Protocol,
    problem::Problem,
};

/// The public listener.
pub fn router(app: &App) -> Router {
    let interface = Interface::new(app, Protocol::Http);
    let guarded = Router::new()
        .route("/api/docs-search", get(search::search))
        .route("/api/docs-chat", post(chat::chat))
        .route("/copilot/widget.js", get(widget))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(interface.clone(), admit));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(guarded)
        .layer(middleware::from_fn_with_state(interface, observe))
        .with_state(app.clone())
}

/// The web component, as it is in this program: it changes with releases only.
async fn widget() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, include_str!("../widget/docs-copilot.js")).into_response()
}

async fn not_found(Extension(id): Extension<RequestId>) -> Response {
    Problem::not_found().respond(&id)
}

async fn wrong_method(method: Method, Extension(id): Extension<RequestId>, request: Request) -> Response {
    let allowed = match request.uri().path() {
        "/api/docs-chat" => "POST",
        _ => "GET, HEAD",
    };
    let mut response = Problem::wrong_method(&method, allowed).respond(&id);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

#[cfg(test)]
mod tests;
