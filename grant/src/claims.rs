//! Minting and verifying one grant.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::Keys;

/// `iss` of every grant.
pub const ISSUER: &str = "docsgate-authz";
/// `aud` of every grant.
pub const AUDIENCE: &str = "docsgate-copilot";
/// Seconds between `iat` and `exp`. A grant may be used again within that time, for Envoy's retries.
pub const LIFETIME_SECONDS: u64 = 30;
/// Clock difference between the two pods that is tolerated, in seconds.
pub const LEEWAY_SECONDS: u64 = 5;

/// `typ` of every grant, so that no other token of the same key can pass for one (RFC 8725, section 3.11).
const TYPE: &str = "docsgate-grant+jwt";
/// Longest grant that is parsed at all: the path is bounded by Envoy's header limits.
const MAX_BYTES: usize = 96 * 1024;

/// What a grant says. Unknown claims are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer, always [`ISSUER`].
    pub iss: String,
    /// Audience, always [`AUDIENCE`].
    pub aud: String,
    /// Names of the corpora that may be read. Empty: none.
    pub corpora: Vec<String>,
    /// Keyed pseudonym of the member or API key; absent for anonymous callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Request id (`x-request-id`), which is also the decision id.
    pub rid: String,
    /// `:authority` as forwarded.
    pub host: String,
    /// Method as forwarded.
    pub method: String,
    /// Raw path and query as forwarded.
    pub path: String,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// Expires at, seconds since the epoch.
    pub exp: u64,
}

/// The request that a grant is bound to, as seen by whoever mints or verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// `:authority` / `Host`.
    pub host: &'a str,
    /// Method, as sent.
    pub method: &'a str,
    /// Raw path and query.
    pub path: &'a str,
    /// `x-request-id`; empty if there is none.
    pub request_id: &'a str,
}

/// Why a grant was refused. The text is for the log; the client learns only that it has no valid grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Larger than any grant can be.
    #[error("the grant is oversized")]
    Oversized,
    /// Not a compact JWS of the expected type and algorithm.
    #[error("the grant is malformed")]
    Malformed,
    /// Signed with a key that is neither the current nor the previous one.
    #[error("the grant names an unknown key")]
    UnknownKey,
    /// The signature does not match.
    #[error("the grant's signature is wrong")]
    BadSignature,
    /// Past its expiry, or issued in the future, beyond the leeway.
    #[error("the grant is expired or not yet valid")]
    Expired,
    /// Issuer or audience are not ours, or the lifetime is longer than allowed.
    #[error("the grant was not made by this gate for this service")]
    Foreign,
    /// Made for another request: host, method, path or request id differ.
    #[error("the grant is bound to another {0}")]
    OtherRequest(&'static str),
    /// The key could not sign.
    #[error("the grant could not be signed")]
    Unsignable,
}

/// What is granted, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Names of the corpora that it opens, the best first.
    pub corpora: Vec<String>,
    /// The caller's pseudonym, if there is one.
    pub subject: Option<String>,
}

/// Signs a grant for the request in `binding`, valid from `now` (seconds since the epoch) for [`LIFETIME_SECONDS`].
///
/// # Errors
/// [`Fault::Unsignable`] when the cryptographic library refuses, which is a reason to refuse the request.
pub fn mint(keys: &Keys, binding: Binding<'_>, grant: Grant, now: u64) -> Result<String, Fault> {
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        corpora: grant.corpora,
        sub: grant.subject,
        rid: binding.request_id.to_owned(),
        host: binding.host.to_owned(),
        method: binding.method.to_owned(),
        path: binding.path.to_owned(),
        iat: now,
        exp: now.saturating_add(LIFETIME_SECONDS),
    };
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(keys.current.kid.clone());
    let key = EncodingKey::from_secret(&keys.current.secret);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| Fault::Unsignable)
}

/// Verifies a grant against the request it came with, at `now` (seconds since the epoch).
///
/// # Errors
/// [`Fault`] names the first thing that is wrong; every one of them means: serve nothing.
pub fn verify(keys: &Keys, grant: &str, binding: Binding<'_>, now: u64) -> Result<Claims, Fault> {
    if grant.len() > MAX_BYTES {
        return Err(Fault::Oversized);
    }
    let header = jsonwebtoken::decode_header(grant).map_err(|_| Fault::Malformed)?;
    if header.typ.as_deref() != Some(TYPE) || header.alg != Algorithm::HS256 {
        return Err(Fault::Malformed);
    }
    let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(Fault::UnknownKey)?;
    // Time, issuer and audience are compared below, against the caller's clock and with our own faults.
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Claims>(grant, &DecodingKey::from_secret(&key.secret), &validation)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => Fault::BadSignature,
            _ => Fault::Malformed,
        })?
        .claims;
    if claims.iss != ISSUER || claims.aud != AUDIENCE || claims.exp.saturating_sub(claims.iat) > LIFETIME_SECONDS {
        return Err(Fault::Foreign);
    }
    if now > claims.exp.saturating_add(LEEWAY_SECONDS) || claims.iat > now.saturating_add(LEEWAY_SECONDS) {
        return Err(Fault::Expired);
    }
    if !claims.host.eq_ignore_ascii_case(binding.host) {
        return Err(Fault::OtherRequest("host"));
    }
    if claims.method != binding.method {
        return Err(Fault::OtherRequest("method"));
    }
    if claims.path != binding.path {
        return Err(Fault::OtherRequest("path"));
    }
    if claims.rid != binding.request_id {
        return Err(Fault::OtherRequest("request id"));
    }
    Ok(claims)
}
