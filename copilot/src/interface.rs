//! What the interfaces have in common: every request is observed (span, metrics, access log), and what is not open to all is
//! admitted by its grant. HTTP and gRPC differ in how a path is named and how a refusal is written, and in nothing else.

use std::time::Instant;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::Uri,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use docsgate_service::Span;
use tonic::{Code, Status};

use crate::{
    app::App,
    clock::now,
    grant_guard::{Admitted, RequestId},
    metrics::{Protocol, Request as Observed},
    problem::Problem,
    retrieval::Provenance,
};

/// Header and trailer with the outcome of a call.
const GRPC_STATUS: &str = "grpc-status";
/// Bytes of a path that the access log shows.
const MAX_LOGGED_PATH: usize = 256;

/// One way to reach [`App`].
#[derive(Debug, Clone)]
pub struct Interface {
    app: App,
    protocol: Protocol,
}

impl Interface {
    /// To `app`, by `protocol`.
    #[must_use]
    pub fn new(app: &App, protocol: Protocol) -> Self {
        Self { app: app.clone(), protocol }
    }

    /// Name of what is asked for, in metrics, spans and the log. None is taken from the request.
    fn route(&self, uri: &Uri) -> &'static str {
        match (self.protocol, uri.path()) {
            (Protocol::Http, "/api/docs-search") | (Protocol::Grpc, "/docsgate.copilot.v1.Retrieval/Search") => {
                "search"
            }
            (Protocol::Http, "/api/docs-chat") | (Protocol::Grpc, "/docsgate.copilot.v1.Retrieval/Ask") => "chat",
            (Protocol::Http, "/copilot/widget.js") => "widget",
            (Protocol::Http, "/healthz") => "health",
            (Protocol::Grpc, path) if path.starts_with("/grpc.health.v1.Health/") => "health",
            (Protocol::Grpc, path) if path.starts_with("/grpc.reflection.") => "reflection",
            _ => "other",
        }
    }

    /// The refusal as this protocol writes it.
    fn refuse(&self, problem: Problem, id: &RequestId) -> Response {
        match self.protocol {
            Protocol::Http => problem.respond(id),
            Protocol::Grpc => Status::from(problem).into_http::<Body>().into_response(),
        }
    }

    /// The outcome as an HTTP status, which is what metrics, spans and the log count for calls too. A call that fails tells
    /// so in the response's head; one whose head does not has been answered.
    fn status(&self, response: &Response) -> u16 {
        let sent = response.headers().get(GRPC_STATUS);
        match (self.protocol, sent) {
            (Protocol::Http, _) | (Protocol::Grpc, None) => response.status().as_u16(),
            (Protocol::Grpc, Some(code)) => http_status(Code::from_bytes(code.as_bytes())),
        }
    }
}

/// The HTTP status that stands for a gRPC code. Only what is our fault is 5xx.
fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// One span, one measurement and one log line for each request; the question is in none of them. Gives the request its id.
pub async fn observe(State(interface): State<Interface>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = interface.route(request.uri());
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(MAX_LOGGED_PATH).collect();
    let id = RequestId::of(request.headers());
    let headers = request.headers();
    let mut span = interface.app.traces.begin("answer", |name| headers.get(name)?.to_str().ok());
    request.extensions_mut().insert(id.clone());
    let response = next.run(request).await;
    let (status, elapsed, protocol) = (interface.status(&response), started.elapsed(), interface.protocol);
    interface.app.metrics.request(Observed { route, protocol, status, elapsed });
    if span.is_recording() {
        span.set("docsgate.route", route);
        span.set("docsgate.protocol", protocol.name());
        span.set("docsgate.request_id", id.0.clone());
        set_outcome(&mut span, status, response.extensions().get());
    }
    // Probes would drown everything else.
    if route != "health" {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let protocol = protocol.name();
        tracing::info!(request_id = id.0, protocol, %method, path, status, micros, "request");
    }
    response
}

fn set_outcome(span: &mut Span, status: u16, provenance: Option<&Provenance>) {
    span.set("http.response.status_code", i64::from(status));
    if let Some(provenance) = provenance {
        span.set("docsgate.index_version", provenance.index_version.clone());
    }
    if status >= 500 {
        span.fail("server error");
    }
}

/// Lets a request pass as [`Admitted`], or refuses it. Only behind [`observe`].
pub async fn admit(
    State(interface): State<Interface>,
    Extension(id): Extension<RequestId>,
    mut request: Request,
    next: Next,
) -> Response {
    match interface.app.guard.admit(&request, now()) {
        Ok(granted) => {
            request.extensions_mut().insert(Admitted { granted, id });
            next.run(request).await
        }
        Err(reason) => {
            interface.app.metrics.refused_grant();
            let protocol = interface.protocol.name();
            tracing::warn!(request_id = id.0, protocol, reason, "request without a valid grant");
            interface.refuse(Problem::no_grant(), &id)
        }
    }
}
