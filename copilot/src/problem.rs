//! Refusals and failures as problem+json (RFC 9457) and as gRPC statuses: what the client may know; causes go to the log.

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tonic::{Code, Status};

use crate::grant_guard::RequestId;

/// The types of problems, all of them: `docs/public/problems.md` lists them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemType {
    /// Something is wrong with the request, and the detail says what.
    BadRequest,
    /// There is no grant for the request.
    GrantRequired,
    /// The grant opens no corpus.
    NoCorpus,
    /// No such path.
    NotFound,
    /// A path that has other methods.
    MethodNotAllowed,
    /// A version of the answers that does not exist.
    UnknownVersion,
    /// The body did not arrive in time.
    Timeout,
    /// The body is too long.
    TooLarge,
    /// The body is of another type than JSON.
    UnsupportedMediaType,
    /// The caller has too many streams.
    TooManyStreams,
    /// Something broke.
    Internal,
    /// No index is loaded yet.
    NotReady,
    /// More work than the machine can do.
    Busy,
}

/// What a [`ProblemType`] is to the outside.
struct Outside {
    name: &'static str,
    status: StatusCode,
    /// `None` for what cannot happen to a gRPC call.
    grpc: Option<Code>,
    title: &'static str,
}

impl ProblemType {
    /// All of them, by status.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::GrantRequired,
        Self::NoCorpus,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnknownVersion,
        Self::Timeout,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyStreams,
        Self::Internal,
        Self::NotReady,
        Self::Busy,
    ];

    /// The last part of its URN `urn:docsgate:problem:…`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.outside().name
    }

    /// Its HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.outside().status
    }

    /// The code of a gRPC call that ends with it; `None` where none can.
    #[must_use]
    pub fn grpc_code(self) -> Option<Code> {
        self.outside().grpc
    }

    fn outside(self) -> Outside {
        let outside = |name, status, grpc, title| Outside { name, status, grpc, title };
        let wrong = Some(Code::InvalidArgument);
        match self {
            Self::BadRequest => outside("bad_request", StatusCode::BAD_REQUEST, wrong, "Bad request"),
            Self::GrantRequired => {
                outside("grant_required", StatusCode::FORBIDDEN, Some(Code::PermissionDenied), "Not granted")
            }
            Self::NoCorpus => {
                outside("no_corpus", StatusCode::FORBIDDEN, Some(Code::PermissionDenied), "No corpus granted")
            }
            Self::NotFound => outside("not_found", StatusCode::NOT_FOUND, None, "Not found"),
            Self::MethodNotAllowed => {
                outside("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, None, "Method not allowed")
            }
            Self::UnknownVersion => outside("unknown_version", StatusCode::NOT_ACCEPTABLE, None, "Unknown version"),
            Self::Timeout => outside("timeout", StatusCode::REQUEST_TIMEOUT, None, "Timeout"),
            Self::TooLarge => outside("too_large", StatusCode::PAYLOAD_TOO_LARGE, None, "Too large"),
            Self::UnsupportedMediaType => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                outside("unsupported_media_type", status, None, "Unsupported media type")
            }
            Self::TooManyStreams => {
                let code = Some(Code::ResourceExhausted);
                outside("too_many_streams", StatusCode::TOO_MANY_REQUESTS, code, "Too many streams")
            }
            Self::Internal => {
                outside("internal", StatusCode::INTERNAL_SERVER_ERROR, Some(Code::Internal), "Internal error")
            }
            Self::NotReady => {
                outside("not_ready", StatusCode::SERVICE_UNAVAILABLE, Some(Code::Unavailable), "Not ready")
            }
            Self::Busy => outside("busy", StatusCode::SERVICE_UNAVAILABLE, Some(Code::Unavailable), "Busy"),
        }
    }
}

/// A refusal or failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its type, which decides the status.
    pub kind: ProblemType,
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
    fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// Neither missing nor wrong grants are explained to whoever came without one.
    #[must_use]
    pub fn no_grant() -> Self {
        Self::new(ProblemType::GrantRequired, "This service answers requests that the gate has granted.")
    }

    /// A grant that opens no corpus.
    #[must_use]
    pub fn no_corpus() -> Self {
        Self::new(ProblemType::NoCorpus, "The grant opens no documents.")
    }

    /// Not loaded yet.
    #[must_use]
    pub fn not_ready() -> Self {
        Self { retry_after: Some(5), ..Self::new(ProblemType::NotReady, "The documents are not loaded yet.") }
    }

    /// More work than the machine can do.
    #[must_use]
    pub fn busy() -> Self {
        Self { retry_after: Some(1), ..Self::new(ProblemType::Busy, "Too many requests are being worked on.") }
    }

    /// More streams of one caller than allowed.
    #[must_use]
    pub fn too_many_streams(limit: usize) -> Self {
        let detail = format!("At most {limit} answers are streamed to one caller at a time.");
        Self { retry_after: Some(2), ..Self::new(ProblemType::TooManyStreams, detail) }
    }

    /// Something broke.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "The request could not be worked on. The request id leads to the cause in the log.";
        Self::new(ProblemType::Internal, detail)
    }

    /// No such path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ProblemType::NotFound, "There is nothing at this path.")
    }

    /// A path that has other methods.
    #[must_use]
    pub fn wrong_method(method: &Method, allowed: &str) -> Self {
        Self::new(ProblemType::MethodNotAllowed, format!("{method} is not possible here; expected {allowed}."))
    }

    /// A body that is too long.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(ProblemType::TooLarge, format!("The body is longer than {limit} bytes."))
    }

    /// A body that did not arrive.
    #[must_use]
    pub fn slow_body() -> Self {
        Self::new(ProblemType::Timeout, "The body did not arrive in time.")
    }

    /// A body of another type than JSON.
    #[must_use]
    pub fn wrong_type() -> Self {
        let detail = "The body must be JSON, with content-type application/json.";
        Self::new(ProblemType::UnsupportedMediaType, detail)
    }

    /// A version of the answers that does not exist.
    #[must_use]
    pub fn unknown_version() -> Self {
        Self::new(ProblemType::UnknownVersion, "There is one version of the answers: application/json; v=1.")
    }

    /// Anything else that is wrong with the request.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::BadRequest, detail)
    }

    /// The response, with the request's id.
    #[must_use]
    pub fn respond(&self, id: &RequestId) -> Response {
        let outside = self.kind.outside();
        let body = Body {
            r#type: format!("urn:docsgate:problem:{}", outside.name),
            title: outside.title,
            status: outside.status.as_u16(),
            detail: &self.detail,
            request_id: &id.0,
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (outside.status, headers, bytes).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        Self::new(problem.kind.grpc_code().unwrap_or(Code::Internal), problem.detail)
    }
}
