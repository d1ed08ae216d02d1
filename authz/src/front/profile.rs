//! What a proxy without gRPC `ext_authz` says of the original request, and what it can carry of the answer. Each proxy has
//! its own way; only the headers of the profile that was chosen are believed, and one profile only is in force.
//!
//! | profile | the original request | a reply that the client must see |
//! | --- | --- | --- |
//! | `nginx` | `X-Original-Method`, `X-Original-URL`, `X-Real-IP`, `X-Request-Id` | 401 as it is; all others as 403, with the status in `X-Docsgate-Status` and the body in `X-Docsgate-Problem` |
//! | `traefik`, `caddy` | `X-Forwarded-Method`, `-Host`, `-Uri`, the last entry of `-For`; the request id is the gate's own | as it is; a 2xx, which would let the request pass, as 403 with `X-Docsgate-Status` |
//! | `envoy` | the request itself, `X-Docsgate-Peer`, `X-Request-Id` | as it is |

use std::net::IpAddr;

use authz_core::{
    client_ip::parse_entry,
    request::{RawRequest, RequestFault},
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::answer::{Answer, Forward, Reply};

/// How one kind of proxy asks over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// nginx's `auth_request`, ingress-nginx's `auth-url`.
    Nginx,
    /// Traefik's ForwardAuth.
    Traefik,
    /// Caddy's `forward_auth`.
    Caddy,
    /// Envoy's `ext_authz` with `http_service`.
    Envoy,
}

/// The status that the client is to see, where the proxy passes on another one.
pub const STATUS_HEADER: &str = "x-docsgate-status";
/// The body that the client is to see, where the proxy passes none on.
pub const PROBLEM_HEADER: &str = "x-docsgate-problem";
/// Goes before the name of each field of an answer's metadata.
pub const METADATA_PREFIX: &str = "x-docsgate-meta-";
/// Envoy removes the request headers that are listed here.
const ENVOY_REMOVES: &str = "x-envoy-auth-headers-to-remove";
/// Headers of the proxy's own call, which are not the client's.
const HOP_BY_HOP: [&str; 6] = ["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"];

/// The proxy's call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl Profile {
    /// The request that the proxy asks about; `fresh` is its id where the proxy gives none.
    ///
    /// # Errors
    /// [`RequestFault::Undescribed`] names what the proxy did not say, or said twice.
    pub fn original<'a>(self, call: Call<'a>, fresh: &'a str) -> Result<RawRequest<'a>, RequestFault> {
        let said = |name: &'static str| single(call.headers, name).ok_or(RequestFault::Undescribed(name));
        match self {
            Self::Nginx => {
                let (host, path) = split(said("x-original-url")?).ok_or(RequestFault::Undescribed("x-original-url"))?;
                let peer = parse_entry(said("x-real-ip")?);
                let (id, method) = (said("x-request-id")?, said("x-original-method")?);
                let own = ["x-original-method", "x-original-url", "x-real-ip", "x-request-id"];
                Ok(RawRequest { id, method, host, path, headers: lines(call.headers, &own, peer), peer })
            }
            Self::Traefik | Self::Caddy => {
                let (method, path) = (said("x-forwarded-method")?, said("x-forwarded-uri")?);
                let host = said("x-forwarded-host")?;
                let peer = last_forwarded_for(call.headers);
                let own = ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-request-id"];
                Ok(RawRequest { id: fresh, method, host, path, headers: lines(call.headers, &own, peer), peer })
            }
            Self::Envoy => itself(call, said("x-request-id")?, parse_entry(said("x-docsgate-peer")?)),
        }
    }

    /// A request that a proxy hands on as it is, for the gate to answer itself.
    ///
    /// # Errors
    /// [`RequestFault::Undescribed`] when it has no host.
    pub fn handed_on<'a>(call: Call<'a>, fresh: &'a str) -> Result<RawRequest<'a>, RequestFault> {
        itself(call, fresh, last_forwarded_for(call.headers))
    }

    /// The answer in the form that this proxy carries.
    pub fn response(self, answer: Answer, id: &str) -> Response {
        let mut response = match answer {
            Answer::Forward(forward) => self.forward(&forward),
            Answer::Reply(reply) => self.reply(reply),
        };
        if matches!(self, Self::Traefik | Self::Caddy) {
            // The id is ours: the proxy sets it on the request to the backend, which holds it against the grant.
            response.line("x-request-id", id);
        }
        response
    }

    fn forward(self, forward: &Forward) -> Response {
        let mut response = Response::new(StatusCode::OK);
        for (name, value) in forward.set.iter().chain(forward.response.iter().map(|header| &header.line)) {
            response.line(name, value);
        }
        if self == Self::Envoy {
            response.line(ENVOY_REMOVES, &forward.remove.join(","));
        }
        self.metadata(&forward.metadata, &mut response);
        response
    }

    fn reply(self, reply: Reply) -> Response {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let carried = match self {
            Self::Nginx if status == StatusCode::UNAUTHORIZED => status,
            Self::Nginx => StatusCode::FORBIDDEN,
            Self::Traefik | Self::Caddy if status.is_success() => StatusCode::FORBIDDEN,
            // To Envoy only 200 is a yes, and no reply has it.
            Self::Traefik | Self::Caddy | Self::Envoy => status,
        };
        let mut response = Response::new(carried);
        for (name, value) in &reply.headers {
            response.line(name, value);
        }
        if self == Self::Nginx || carried != status {
            response.line(STATUS_HEADER, status.as_str());
        }
        if self == Self::Nginx {
            response.line(PROBLEM_HEADER, &ascii_json(&reply.body));
        }
        self.metadata(&reply.metadata, &mut response);
        response.body = reply.body;
        response
    }

    /// Where the proxy chooses which headers its clients see, its access log can have the reasons.
    fn metadata(self, metadata: &[(&'static str, String)], response: &mut Response) {
        if matches!(self, Self::Nginx | Self::Envoy) {
            for (name, value) in metadata {
                response.line(&format!("{METADATA_PREFIX}{}", name.replace('_', "-")), &ascii_json(value));
            }
        }
    }
}

/// What the proxy gets.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: String,
}

impl Response {
    /// Without headers and body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: String::new() }
    }

    /// Answers are well formed; a line that is not would be left out, and with it at most what it grants.
    fn line(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            && !value.is_empty()
        {
            self.headers.append(name, value);
        }
    }
}

/// The request as it came.
fn itself<'a>(call: Call<'a>, id: &'a str, peer: Option<IpAddr>) -> Result<RawRequest<'a>, RequestFault> {
    let host = single(call.headers, "host").ok_or(RequestFault::Undescribed("host"))?;
    let path = call.uri.path_and_query().map_or("/", |target| target.as_str());
    let headers = lines(call.headers, &["x-request-id", "x-docsgate-peer"], peer);
    Ok(RawRequest { id, method: call.method.as_str(), host, path, headers, peer })
}

/// The one value of a header; `None` where it is missing, repeated, empty or not visible ASCII.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next()?.to_str().ok().filter(|value| !value.is_empty())?;
    lines.next().is_none().then_some(value)
}

/// `SCHEME://HOST/PATH?QUERY` by parts, both as they were sent. Nothing is decoded: the backend will see the same bytes.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split_at_checked(rest.find('/')?)
}

/// The address that the proxy itself wrote: the right-most entry of the last line.
fn last_forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let line = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    parse_entry(line.rsplit(',').next()?)
}

/// The client's header lines: without those that the proxy made for its call and for this profile, and without the entry
/// that it wrote into `X-Forwarded-For` for its `peer`.
fn lines<'a>(headers: &'a HeaderMap, own: &[&str], peer: Option<IpAddr>) -> Vec<(&'a str, &'a [u8])> {
    let is_own = |name: &str| own.contains(&name) || HOP_BY_HOP.contains(&name);
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| !is_own(name))
        .collect();
    if let Some((_, line)) = lines.iter_mut().rev().find(|(name, _)| *name == "x-forwarded-for") {
        let comma = line.iter().rposition(|byte| *byte == b',');
        let (before, last) = line.split_at(comma.unwrap_or(0));
        let written = std::str::from_utf8(last).ok().and_then(|entry| parse_entry(entry.trim_start_matches(',')));
        if written.is_some() && written == peer.map(|peer| peer.to_canonical()) {
            *line = before;
        }
    }
    lines
}

/// JSON text with every letter outside ASCII escaped (RFC 8259, section 7): a header carries no others.
fn ascii_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if (' '..='~').contains(&c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
