//! Nothing is served without a grant of the gate's for exactly this request.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use docsgate_grant::{Binding, Keys, verify};

use crate::{api::App, problem::Problem};

/// Header that carries the grant.
pub const HEADER: &str = "x-docsgate-grant";
/// Header with Envoy's request id.
pub const REQUEST_ID: &str = "x-request-id";
/// Longest request id that is repeated.
const MAX_REQUEST_ID: usize = 128;

/// Who decides what a request may read.
#[derive(Debug)]
pub enum Guard {
    /// Grants signed with these keys.
    Grants(Keys),
    /// Development only: everybody may read these corpora.
    Open(Vec<String>),
}

/// What a request may read; only the guard makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Corpora, best first.
    pub corpora: Vec<String>,
    /// Pseudonym of the member or key.
    pub subject: Option<String>,
}

/// The request's id, for answers and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

impl RequestId {
    /// Envoy's id, or a fresh one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let usable =
            sent.filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|b| b.is_ascii_graphic()));
        Self(usable.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }
}

impl Guard {
    /// What the request may read, or the reason, for the log alone.
    ///
    /// # Errors
    /// The reason as one phrase.
    pub fn admit(&self, headers: &HeaderMap, binding: Binding<'_>, now: u64) -> Result<Granted, String> {
        match self {
            Self::Open(corpora) => Ok(Granted { corpora: corpora.clone(), subject: None }),
            Self::Grants(keys) => {
                let mut sent = headers.get_all(HEADER).iter();
                let (Some(grant), None) = (sent.next(), sent.next()) else {
                    return Err("no grant, or more than one".to_owned());
                };
                let grant = grant.to_str().map_err(|_| "the grant is not text".to_owned())?;
                let claims = verify(keys, grant, binding, now).map_err(|fault| fault.to_string())?;
                Ok(Granted { corpora: claims.corpora, subject: claims.sub })
            }
        }
    }
}

/// Seconds since the epoch.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Lets a request pass with its [`Granted`], or refuses it.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let binding = Binding { host: &host, method: request.method().as_str(), path };
    match app.guard.admit(request.headers(), binding, now()) {
        Ok(granted) => {
            request.extensions_mut().insert(granted);
            request.extensions_mut().insert(id);
            next.run(request).await
        }
        Err(reason) => {
            app.metrics.refused_grant();
            tracing::warn!(request_id = id.0, reason, "request without a valid grant");
            Problem::no_grant().respond(&id).into_response()
        }
    }
}
