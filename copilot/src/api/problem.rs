//! Refusals and failures as problem+json (RFC 9457): what the client may know; causes go to the log.

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::grant_guard::RequestId;

/// A refusal or failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Last part of the type's URN.
    pub kind: &'static str,
    /// The same for every problem of the kind.
    pub title: &'static str,
    /// What is wrong with this request.
    pub detail: String,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), retry_after: None }
    }

    /// Neither missing nor wrong grants are explained to whoever came without one.
    #[must_use]
    pub fn no_grant() -> Self {
        let detail = "This service answers requests that the gate has granted.";
        Self::new(StatusCode::FORBIDDEN, "grant-required", "Not granted", detail)
    }

    /// A grant that opens no corpus.
    #[must_use]
    pub fn no_corpus() -> Self {
        Self::new(StatusCode::FORBIDDEN, "no-corpus", "No corpus granted", "The grant opens no documents.")
    }

    /// Not loaded yet.
    #[must_use]
    pub fn not_ready() -> Self {
        let detail = "The documents are not loaded yet.";
        Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail) }
    }

    /// More work than the machine can do.
    #[must_use]
    pub fn busy() -> Self {
        let detail = "Too many requests are being worked on.";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail) }
    }

    /// More streams of one caller than allowed.
    #[must_use]
    pub fn too_many_streams(limit: usize) -> Self {
        let detail = format!("At most {limit} answers are streamed to one caller at a time.");
        Self {
            retry_after: Some(2),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", "Too many streams", detail)
        }
    }

    /// Something broke.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "The request could not be worked on. The request id leads to the cause in the log.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// No such path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "There is nothing at this path.")
    }

    /// A path that has other methods.
    #[must_use]
    pub fn wrong_method(method: &Method, allowed: &str) -> Self {
        let detail = format!("{method} is not possible here; expected {allowed}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// A body that is too long.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("The body is longer than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    /// A body that did not arrive.
    #[must_use]
    pub fn slow_body() -> Self {
        let detail = "The body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Timeout", detail)
    }

    /// A body of another type than JSON.
    #[must_use]
    pub fn wrong_type() -> Self {
        let detail = "The body must be JSON, with content-type application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
    }

    /// A version of the answers that does not exist.
    #[must_use]
    pub fn unknown_version() -> Self {
        let detail = "There is one version of the answers: application/json; v=1.";
        Self::new(StatusCode::NOT_ACCEPTABLE, "unknown-version", "Unknown version", detail)
    }

    /// Anything else that is wrong with the request.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", detail)
    }

    /// The response, with the request's id.
    #[must_use]
    pub fn respond(&self, id: &RequestId) -> Response {
        let body = Body {
            r#type: format!("urn:docsgate:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id: &id.0,
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, bytes).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
