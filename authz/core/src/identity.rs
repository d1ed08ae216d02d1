//! Step 6: who is calling.

pub mod issuer;
pub mod jwks;
pub mod token;

use std::{sync::Arc, time::Duration};

pub use issuer::{Issuer, KeySource, TokenAlgorithm, TokenSource};

use crate::{
    cors::CorsVerdict,
    entitlement::{MemberId, MemberRecord},
    request::{HeaderFault, RequestFault, RequestView},
    time::Timestamp,
};

/// Longest token that is looked at. A token with a dozen claims and an RSA signature has about a kilobyte.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest API key that is looked at.
pub const MAX_API_KEY_BYTES: usize = 256;

/// What the request presents as its identity, before anything is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// A cookie that does not count: neither an allowed `Origin` nor a same-site fetch (CSRF).
    UncountedCookie,
    /// A token.
    Token(PresentedToken<'a>),
    /// An API key, within [`MAX_API_KEY_BYTES`].
    ApiKey(&'a str),
}

/// A token that nobody has verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedToken<'a> {
    /// Compact serialisation, within [`MAX_TOKEN_BYTES`].
    pub text: &'a str,
    /// Where it was found.
    pub source: &'a TokenSource,
}

/// Why nothing that was presented can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresentedFault {
    /// The request is malformed.
    Request(RequestFault),
    /// A token and an API key together: which one counts must never be a guess.
    TwoIdentities,
    /// The token is oversized or not in the form of its scheme.
    MalformedToken(TokenFault),
    /// The API key is empty or oversized.
    MalformedApiKey,
}

/// A token whose signature and claims were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// `iss` and `sub`.
    pub member: MemberId,
    /// `jti`
    pub id: Option<String>,
    /// `exp`
    pub expires: Timestamp,
}

/// Why a token was refused. The class reaches the client (RFC 6750), the rest only the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFault {
    /// Longer than any token we accept.
    #[error("the token is oversized")]
    Oversized,
    /// Not a compact JWS with a JSON header and JSON claims.
    #[error("the token is malformed")]
    Malformed,
    /// `alg` is not allowed for this issuer, or does not fit the key.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// `typ` is not accepted.
    #[error("the token's type is not accepted")]
    Type,
    /// `crit` names extensions, and we understand none.
    #[error("the token has critical extensions")]
    Critical,
    /// No accepted issuer has this `iss`.
    #[error("the token's issuer is unknown")]
    UnknownIssuer,
    /// The token came from a place that its issuer does not use.
    #[error("the token's issuer does not use this source")]
    WrongSource,
    /// No key of the issuer fits.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The issuer's keys were never seen, or not for longer than `max_stale`.
    #[error("the issuer's keys are not known")]
    NoKeys,
    /// The signature does not match.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lie in the future.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// `exp` lies further away than the issuer's maximum lifetime.
    #[error("the token lives longer than allowed")]
    LivesTooLong,
    /// `aud` names somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A required claim is missing or of the wrong type.
    #[error("a required claim is missing or malformed")]
    Claims,
    /// Its `jti` was revoked.
    #[error("the token was revoked")]
    Revoked,
}

impl TokenFault {
    /// Every fault there is.
    pub const ALL: [Self; 16] = [
        Self::Oversized,
        Self::Malformed,
        Self::Algorithm,
        Self::Type,
        Self::Critical,
        Self::UnknownIssuer,
        Self::WrongSource,
        Self::UnknownKey,
        Self::NoKeys,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::LivesTooLong,
        Self::Audience,
        Self::Claims,
        Self::Revoked,
    ];

    /// The fault with this [`code`](Self::code).
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.code() == code)
    }

    /// Whether a reader with an old cookie would have it: such a cookie makes its bearer anonymous, never locked out.
    pub fn is_stale_session(self) -> bool {
        matches!(self, Self::Expired | Self::UnknownKey | Self::Revoked)
    }

    /// A short stable word for logs, metrics and tests.
    pub fn code(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Critical => "critical",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongSource => "wrong_source",
            Self::UnknownKey => "unknown_key",
            Self::NoKeys => "no_keys",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Revoked => "revoked",
        }
    }
}

/// An API key and its holder, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Public id of the key: never the key.
    pub id: Arc<str>,
    /// Whom it stands for: plan and entitlements.
    pub record: Arc<MemberRecord>,
    /// How old that is, when the store cannot be read now, or only from a standby.
    pub stale_for: Option<Duration>,
}

/// Why an API key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyFault {
    /// Not in the form of our keys.
    #[error("the API key is malformed")]
    Malformed,
    /// Unknown, revoked or expired: the client is not told which.
    #[error("the API key is unknown, revoked or expired")]
    Unknown,
    /// The store cannot be read.
    #[error("the API key cannot be looked up")]
    StoreUnavailable,
}

/// Who the caller is, once verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody that we know.
    Anonymous,
    /// A member with a verified token.
    Member(Arc<VerifiedToken>),
    /// A service with an API key.
    ApiKey(ApiKeyRecord),
}

/// Finds what the request presents, in the places that the accepted issuers use. The first source that is present is
/// used; there is no falling back from it.
///
/// # Errors
/// [`PresentedFault`] when the request is ambiguous or the credential has no valid form.
pub fn presented<'a>(
    issuers: &'a [Arc<Issuer>],
    api_key_header: Option<&str>,
    request: &'a RequestView,
    cors: CorsVerdict,
) -> Result<Presented<'a>, PresentedFault> {
    let api_key = match api_key_header {
        Some(name) => request.headers.single(name).map_err(|fault| header_fault("x-api-key", fault))?,
        None => None,
    };
    match (presented_token(issuers, request, cors)?, api_key) {
        (Presented::Token(_), Some(_)) => Err(PresentedFault::TwoIdentities),
        (Presented::Token(token), None) if token.text.len() > MAX_TOKEN_BYTES => {
            Err(PresentedFault::MalformedToken(TokenFault::Oversized))
        }
        (_, Some(key)) if key.is_empty() || key.len() > MAX_API_KEY_BYTES => Err(PresentedFault::MalformedApiKey),
        (_, Some(key)) => Ok(Presented::ApiKey(key)),
        (presented, None) => Ok(presented),
    }
}

fn presented_token<'a>(
    issuers: &'a [Arc<Issuer>],
    request: &'a RequestView,
    cors: CorsVerdict,
) -> Result<Presented<'a>, PresentedFault> {
    let mut without_token = Presented::Nothing;
    for source in issuers.iter().flat_map(|issuer| &issuer.token_from) {
        let text = match source {
            TokenSource::Header(name) => bearer(request, name)?,
            TokenSource::Cookie(name) => {
                let cookie = request.headers.cookie(name).map_err(|fault| header_fault("cookie", fault))?;
                if cookie.is_some() && !counts(request, cors) {
                    without_token = Presented::UncountedCookie;
                    continue;
                }
                cookie
            }
        };
        if let Some(text) = text {
            return Ok(Presented::Token(PresentedToken { text, source }));
        }
    }
    Ok(without_token)
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1). Other schemes are ignored.
fn bearer<'a>(request: &'a RequestView, name: &str) -> Result<Option<&'a str>, PresentedFault> {
    let value = request.headers.single(name).map_err(|fault| header_fault("authorization", fault))?;
    let Some(value) = value else { return Ok(None) };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)) {
        return Err(PresentedFault::MalformedToken(TokenFault::Malformed));
    }
    Ok(Some(token))
}

/// Whether a cookie counts: another site can make a browser send it, but cannot choose `Origin` or `Sec-Fetch-Site`.
fn counts(request: &RequestView, cors: CorsVerdict) -> bool {
    let fetch_site = request.headers.single("sec-fetch-site").ok().flatten();
    match cors {
        CorsVerdict::Allowed => true,
        CorsVerdict::Refused | CorsVerdict::AllowedAnonymously => false,
        CorsVerdict::NotCors => matches!(fetch_site, Some("same-origin" | "same-site")),
    }
}

fn header_fault(name: &'static str, fault: HeaderFault) -> PresentedFault {
    PresentedFault::Request(RequestFault::Header { name, fault })
}
