//! The HTTP interface. Every answer is JSON with the version in its media type, or problem+json (RFC 9457).

pub mod admin;
pub mod chat;
pub mod room;
pub mod search;
pub mod stream;

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use docsgate_service::{Span, Traces};
use serde::Serialize;

use crate::{
    answer,
    corpus::shelf::Shelf,
    grant_guard::{Granted, Guard, RequestId, guard},
    index::reader::LoadedIndex,
    metrics::Metrics,
    problem::Problem,
    search::{Synonyms, Tuning},
    unanswered::Unanswered,
};

/// Media type of answers: fields are only ever added under one version.
pub const MEDIA_TYPE: &str = "application/json; v=1";
/// Largest body of a question.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Everything that requests share.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
#[derive(Debug)]
pub struct Shared {
    /// Corpora in service.
    pub shelf: Shelf,
    /// Who may read what.
    pub guard: Guard,
    /// Synonyms of the operator's.
    pub synonyms: Synonyms,
    /// Numbers of the ranking.
    pub tuning: Tuning,
    /// How questions are answered.
    pub answering: answer::Settings,
    /// Counters and durations.
    pub metrics: Metrics,
    /// What the documents did not answer.
    pub unanswered: Unanswered,
    /// Spans of requests.
    pub traces: Traces,
    /// Memory for searches under way.
    pub room: room::Room,
    /// Streams under way, per caller.
    pub streams: stream::Streams,
}

impl App {
    /// Shares `parts`.
    #[must_use]
    pub fn new(parts: Shared) -> Self {
        Self(Arc::new(parts))
    }

    /// Begins the span of a request, in the trace that Envoy is in.
    pub fn begin<B>(&self, request: &axum::http::Request<B>) -> Span {
        let headers = request.headers();
        self.traces.begin("answer", |name| headers.get(name)?.to_str().ok())
    }

    /// The indexes that `granted` opens.
    ///
    /// # Errors
    /// When it opens none, or none is in service yet.
    pub fn indexes(&self, granted: &Granted) -> Result<Vec<Arc<LoadedIndex>>, Problem> {
        if granted.corpora.is_empty() {
            return Err(Problem::no_corpus());
        }
        let indexes = self.shelf.granted(&granted.corpora);
        if indexes.is_empty() { Err(Problem::not_ready()) } else { Ok(indexes) }
    }

    /// Runs `work`, which takes `bytes` of memory at most, on a thread for work when there is room for it.
    ///
    /// # Errors
    /// When there is none within the time that a reader waits, or the work broke off.
    pub async fn work<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.room.take(bytes).await?;
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&app)
        });
        done.await.map_err(|_| Problem::internal())
    }
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What every answer says about where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The best corpus that was searched.
    pub corpus: String,
    /// Versions of all indexes that were searched, `corpus:version` joined by `+` when there are several.
    pub index_version: String,
    /// The request's id.
    pub request_id: String,
}

impl Provenance {
    /// Of a request over `indexes`.
    #[must_use]
    pub fn of(indexes: &[Arc<LoadedIndex>], id: &RequestId) -> Self {
        let name = |index: &Arc<LoadedIndex>| format!("{}:{}", index.corpus, index.version);
        Self {
            corpus: indexes.first().map_or_else(String::new, |index| index.corpus.clone()),
            index_version: indexes.iter().map(name).collect::<Vec<_>>().join("+"),
            request_id: id.0.clone(),
        }
    }
}

/// The public listener.
pub fn router(app: &App) -> Router {
    let guarded = Router::new()
        .route("/api/docs-search", get(search::search))
        .route("/api/docs-chat", post(chat::chat))
        .route("/copilot/widget.js", get(widget))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(guarded)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
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

async fn wrong_method(method: Method, request: Request) -> Response {
    let allowed = match request.uri().path() {
        "/api/docs-chat" => "POST",
        _ => "GET, HEAD",
    };
    let id = RequestId::of(request.headers());
    let mut response = Problem::wrong_method(&method, allowed).respond(&id);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// One log line and one measurement for each request; the question is in neither.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let id = RequestId::of(request.headers());
    let mut span = app.begin(&request);
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let route = match path.as_str() {
        "/api/docs-search" => "search",
        "/api/docs-chat" => "chat",
        "/copilot/widget.js" => "widget",
        "/healthz" => "health",
        _ => "other",
    };
    let elapsed = started.elapsed();
    app.metrics.request(route, status, elapsed);
    if span.is_recording() {
        span.set("docsgate.route", route);
        span.set("docsgate.request_id", id.0.clone());
        span.set("http.response.status_code", i64::from(status));
        if let Some(provenance) = response.extensions().get::<Provenance>() {
            span.set("docsgate.index_version", provenance.index_version.clone());
        }
        if status >= 500 {
            span.fail("server error");
        }
    }
    if route != "health" {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let path: String = path.chars().take(256).collect();
        tracing::info!(request_id = id.0, %method, path, status, micros, "request");
    }
    response
}

/// Refuses a client that asks for another version of the answers than there is.
///
/// # Errors
/// The refusal.
pub fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().unwrap_or_default();
        for range in value.split(',') {
            let wants = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("v="));
            if wants.is_none_or(|version| version.trim_matches('"') == "1") {
                return Ok(());
            }
        }
    }
    if headers.contains_key(header::ACCEPT) { Err(Problem::unknown_version()) } else { Ok(()) }
}

/// An answer as JSON.
pub fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::OK, headers, bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
