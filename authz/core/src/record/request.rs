//! The request of a record, and the request made from a record.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MAX_BYTES;
use crate::{
    client_ip,
    identity::TokenSource,
    policy::Snapshot,
    request::{Malformed, RawRequest, RequestFault, RequestView},
};

/// What stands in place of a credential.
pub(super) const PLACEHOLDER: &str = "recorded";
/// Longest value of a header that is looked at: a record that holds more would be cut further.
const LONGEST: usize = MAX_BYTES;
/// Parameters of a query that are kept.
const MAX_PARAMETERS: usize = 32;
/// Longest name of a parameter that is kept.
const LONGEST_NAME: usize = 64;
/// Headers that decide something and hold no secret.
const KEPT: [&str; 8] = [
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "access-control-request-private-network",
    "sec-fetch-site",
    "x-forwarded-for",
    "content-type",
    "upgrade",
];
/// Headers whose value is a credential.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// How much of addresses the log keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedactedAddresses {
    /// All of them: limits can be replayed.
    Full,
    /// The network only: IPv4 /24, IPv6 /48.
    #[default]
    Truncated,
}

/// A request without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRequest {
    /// Method.
    pub method: String,
    /// `:authority`.
    pub host: String,
    /// Path and query, without the values of parameters that no route matches on.
    pub path: String,
    /// Peer of the TCP connection to Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// How much of addresses was kept.
    #[serde(default)]
    pub addresses: RedactedAddresses,
    /// Headers that decide something; credentials only as `recorded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The request was not well formed: it cannot be decided again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub malformed: bool,
    /// Something was left out for its length. The record as a whole says so.
    #[serde(skip)]
    pub(super) cut: bool,
}

impl RecordedRequest {
    /// What the log keeps of a request under this policy.
    pub fn of(view: &RequestView, policy: &Snapshot, addresses: RedactedAddresses) -> Self {
        let matchers = || policy.router.routes().iter().map(|route| &route.matcher);
        let matched_header =
            |name: &str| matchers().any(|matcher| matcher.headers.iter().any(|(known, _)| known == name));
        let token_header =
            |name: &str| sources(policy).any(|source| matches!(source, TokenSource::Header(header) if header == name));
        let is_secret =
            |name: &str| SECRET.contains(&name) || token_header(name) || policy.api_key_header.as_deref() == Some(name);
        let (path, mut cut) = redact_query(view, policy);
        let mut headers = Vec::new();
        for (name, value) in view.headers.iter() {
            if name == "cookie" {
                headers.extend(cookies(view, policy));
            } else if is_secret(name) {
                // The scheme tells whether it is ours to judge; the rest is the secret.
                let is_bearer =
                    value.len() > 7 && value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
                let value = if is_bearer { format!("Bearer {PLACEHOLDER}") } else { PLACEHOLDER.to_owned() };
                headers.push((name.to_owned(), value));
            } else if KEPT.contains(&name) || policy.client_ip.header.as_deref() == Some(name) || matched_header(name) {
                cut |= value.len() > LONGEST;
                let text = String::from_utf8_lossy(value.get(..value.len().min(LONGEST)).unwrap_or_default());
                let is_address = name == "x-forwarded-for" || policy.client_ip.header.as_deref() == Some(name);
                let text = if is_address { redact_list(&text, addresses) } else { text.into_owned() };
                headers.push((name.to_owned(), text));
            }
        }
        headers.dedup_by(|a, b| a == b && a.0 == "cookie");
        Self {
            method: view.method.clone(),
            host: view.authority.clone(),
            path,
            peer: view.peer.map(|peer| redact(peer, addresses)),
            addresses,
            headers,
            malformed: false,
            cut,
        }
    }

    /// What the log keeps of a request that could not be parsed.
    pub fn malformed() -> Self {
        Self { malformed: true, ..Self::default() }
    }

    /// The request, to be decided again.
    ///
    /// # Errors
    /// When it was malformed.
    pub fn view(&self, id: &str) -> Result<RequestView, Malformed> {
        if self.malformed {
            return Err(RequestFault::NoHttp.into());
        }
        RequestView::read(&RawRequest {
            id,
            method: &self.method,
            host: &self.host,
            path: &self.path,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            peer: self.peer.as_deref().and_then(|peer| peer.parse().ok()),
        })
    }
}

fn sources(policy: &Snapshot) -> impl Iterator<Item = &TokenSource> {
    policy.issuers.iter().flat_map(|issuer| &issuer.token_from)
}

/// The cookies that carry tokens under this policy, by name only.
fn cookies(view: &RequestView, policy: &Snapshot) -> Option<(String, String)> {
    let mut names: Vec<&str> = sources(policy)
        .filter_map(|source| match source {
            TokenSource::Cookie(name) => Some(name.as_str()),
            TokenSource::Header(_) => None,
        })
        .filter(|name| !matches!(view.headers.cookie(name), Ok(None)))
        .collect();
    names.sort_unstable();
    names.dedup();
    let pairs: Vec<String> = names.iter().map(|name| format!("{name}={PLACEHOLDER}")).collect();
    (!pairs.is_empty()).then(|| ("cookie".to_owned(), pairs.join("; ")))
}

/// A question is personal data: values stay only where a route matches on them. Also tells whether more was left out.
fn redact_query(view: &RequestView, policy: &Snapshot) -> (String, bool) {
    let path = view.raw_target.split('?').next().unwrap_or_default();
    let Some(query) = &view.query else { return (path.to_owned(), false) };
    let mut cut = query.split('&').nth(MAX_PARAMETERS).is_some();
    let kept = |name: &str| {
        policy.router.routes().iter().any(|route| route.matcher.query.iter().any(|(known, _)| known == name))
    };
    let pairs: Vec<String> = query
        .split('&')
        .take(MAX_PARAMETERS)
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            if kept(name) {
                pair.to_owned()
            } else {
                cut |= name.len() > LONGEST_NAME;
                format!("{}=", name.chars().take(LONGEST_NAME).collect::<String>())
            }
        })
        .collect();
    (format!("{path}?{}", pairs.join("&")), cut)
}

fn redact(address: IpAddr, addresses: RedactedAddresses) -> String {
    if addresses == RedactedAddresses::Full {
        return address.to_string();
    }
    client_ip::around(address.into()).addr().to_string()
}

fn redact_list(text: &str, addresses: RedactedAddresses) -> String {
    if addresses == RedactedAddresses::Full {
        return text.to_owned();
    }
    let entries = text.split(',').map(|entry| {
        client_ip::parse_entry(entry).map_or_else(|| "unknown".to_owned(), |address| redact(address, addresses))
    });
    entries.collect::<Vec<_>>().join(", ")
}
