//! Who issues tokens, and which of them are accepted.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One compiled issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Name in the policy.
    pub name: Arc<str>,
    /// `iss`, compared exactly.
    pub issuer: String,
    /// Accepted audiences.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Accepted algorithms.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where its tokens are found, in order.
    pub token_from: Vec<TokenSource>,
    /// Accepted `typ` values in lower case; empty for the defaults (`jwt`, `at+jwt`, or none).
    pub types: Vec<String>,
    /// Claims that must be present.
    pub required_claims: Vec<String>,
    /// Tolerated clock difference.
    pub leeway: Duration,
    /// Longest accepted lifetime.
    pub max_lifetime: Duration,
    /// How often keys are fetched when the response does not say.
    pub refresh: Duration,
    /// How long the last good keys serve while the issuer is away.
    pub max_stale: Duration,
    /// The gate is ready before it has seen this issuer's keys.
    pub ready_without_keys: bool,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A JWKS by URL.
    Url(String),
    /// A JWKS on disk.
    File(String),
}

/// Where a token may be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// A header with the `Bearer` scheme; name in lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
}

/// A signature algorithm (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    /// Ed25519.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// RSASSA-PKCS1-v1_5 with SHA-256; keys of 2048 bits or more.
    RS256,
    /// RSASSA-PSS with SHA-256; keys of 2048 bits or more.
    PS256,
}

impl TokenAlgorithm {
    /// The supported algorithm of this name. `none` and every HMAC are not among them.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "EdDSA" => Self::EdDSA,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "RS256" => Self::RS256,
            "PS256" => Self::PS256,
            _ => return None,
        })
    }
}
