//! Nothing is served without a grant of the gate's for exactly this request.

use axum::http::{HeaderMap, Request, Version, header};
use docsgate_grant::{Binding, Keys, verify};

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

/// A request that the guard let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What it may read.
    pub granted: Granted,
    /// Its id.
    pub id: RequestId,
}

impl Guard {
    /// What the request may read, or the reason, for the log alone.
    ///
    /// # Errors
    /// The reason as one phrase.
    pub fn admit<B>(&self, request: &Request<B>, now: u64) -> Result<Granted, String> {
        let keys = match self {
            Self::Open(corpora) => return Ok(Granted { corpora: corpora.clone(), subject: None }),
            Self::Grants(keys) => keys,
        };
        let mut sent = request.headers().get_all(HEADER).iter();
        let (Some(grant), None) = (sent.next(), sent.next()) else {
            return Err("no grant, or more than one".to_owned());
        };
        let grant = grant.to_str().map_err(|_| "the grant is not text".to_owned())?;
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let request_id =
            request_id(request).ok_or_else(|| "more than one request id, or none that is text".to_owned())?;
        let binding = Binding { host: host(request), method: request.method().as_str(), path, request_id };
        let claims = verify(keys, grant, binding, now).map_err(|fault| fault.to_string())?;
        Ok(Granted { corpora: claims.corpora, subject: claims.sub })
    }
}

/// The id that a request was sent with; empty if it has none, as in a grant.
fn request_id<B>(request: &Request<B>) -> Option<&str> {
    let mut ids = request.headers().get_all(REQUEST_ID).iter();
    match (ids.next(), ids.next()) {
        (None, _) => Some(""),
        (Some(id), None) => id.to_str().ok(),
        _ => None,
    }
}

/// The host that a request names: its `:authority` in HTTP/2, else its one `Host` header.
fn host<B>(request: &Request<B>) -> &str {
    if let (Version::HTTP_2, Some(authority)) = (request.version(), request.uri().authority()) {
        return authority.as_str();
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    }
}
