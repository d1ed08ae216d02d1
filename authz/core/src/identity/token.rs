//! Member tokens: compact JWS (RFC 7515) with JWT claims (RFC 7519), by the advice of RFC 8725.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::{Issuer, MAX_TOKEN_BYTES, PresentedToken, TokenAlgorithm, TokenFault, VerifiedToken, jwks::KeySet};
use crate::{entitlement::MemberId, time::Timestamp};

/// Longest `sub` and `jti`.
const MAX_ID_BYTES: usize = 256;

/// The header fields that decide something. `jku`, `jwk`, `x5u` and `x5c` are never looked at: keys come from the
/// issuer's own set and from nowhere else.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// Algorithm.
    pub alg: String,
    /// Type.
    pub typ: Option<String>,
    /// Key id.
    pub kid: Option<String>,
    /// Critical extensions; we understand none.
    crit: Option<serde_json::Value>,
}

/// The claims that decide something. A claim of the wrong type, or given twice, makes the token malformed.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since the epoch; fractions are allowed (RFC 7519, section 2).
#[derive(Debug, Clone, Copy, Deserialize)]
struct NumericDate(f64);

impl NumericDate {
    fn timestamp(self) -> Result<Timestamp, TokenFault> {
        // 2^33 seconds: the year 2242.
        if !(0.0..8_589_934_592.0).contains(&self.0) {
            return Err(TokenFault::Claims);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
        Ok(Timestamp::from_nanos((self.0 * 1e9) as u64))
    }
}

/// The `iss` of a token, unverified: it selects the issuer whose keys must then verify it.
///
/// # Errors
/// [`TokenFault`] when the token is oversized or malformed.
pub fn claimed_issuer(token: &str) -> Result<String, TokenFault> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let (_, payload, _) = split(token)?;
    serde_json::from_slice::<Claimed>(&decode(payload)?).map(|claimed| claimed.iss).map_err(|_| TokenFault::Claims)
}

/// Verifies a token that names this issuer, at `now`.
///
/// # Errors
/// The first [`TokenFault`]: size, form, header, key, signature, then claims. Nothing of the claims is believed before
/// the signature was verified.
pub fn verify(
    token: PresentedToken<'_>,
    keys: &KeySet,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<VerifiedToken, TokenFault> {
    if !issuer.token_from.contains(token.source) {
        return Err(TokenFault::WrongSource);
    }
    let (header, payload) = verify_signature(token.text, keys, &issuer.algorithms)?;
    check_type(header.typ.as_deref(), &issuer.types)?;
    check_claims(&payload, issuer, now)
}

/// Verifies the signature alone and returns header and payload.
///
/// # Errors
/// [`TokenFault`] for everything up to the signature.
pub fn verify_signature(
    token: &str,
    keys: &KeySet,
    algorithms: &[TokenAlgorithm],
) -> Result<(Header, Vec<u8>), TokenFault> {
    let (head, payload, signature) = split(token)?;
    let header: Header = serde_json::from_slice(&decode(head)?).map_err(|_| TokenFault::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenFault::Critical);
    }
    let algorithm = TokenAlgorithm::from_name(&header.alg)
        .filter(|algorithm| algorithms.contains(algorithm))
        .ok_or(TokenFault::Algorithm)?;
    if !keys.knows(header.kid.as_deref()) {
        return Err(TokenFault::UnknownKey);
    }
    // Strict base64url: one signature has one spelling.
    let payload = decode(payload)?;
    decode(signature)?;
    let signed = token.get(..token.len() - signature.len() - 1).ok_or(TokenFault::Malformed)?;
    let mut candidates = keys.candidates(header.kid.as_deref(), algorithm).peekable();
    // The key is known but is of another type: the algorithm was chosen by whoever made the token.
    candidates.peek().ok_or(TokenFault::Algorithm)?;
    let verified = candidates.any(|key| {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.decoding, library(algorithm))
            .is_ok_and(|fits| fits)
    });
    drop(candidates);
    if verified { Ok((header, payload)) } else { Err(TokenFault::BadSignature) }
}

fn library(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::EdDSA => Algorithm::EdDSA,
        TokenAlgorithm::ES256 => Algorithm::ES256,
        TokenAlgorithm::ES384 => Algorithm::ES384,
        TokenAlgorithm::RS256 => Algorithm::RS256,
        TokenAlgorithm::PS256 => Algorithm::PS256,
    }
}

/// The three parts of a compact JWS, within bounds.
fn split(token: &str) -> Result<(&str, &str, &str), TokenFault> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::Oversized);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) if !header.is_empty() && !signature.is_empty() => {
            Ok((header, payload, signature))
        }
        _ => Err(TokenFault::Malformed),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// A token made for another purpose must not pass for an access token (RFC 8725, section 3.11).
fn check_type(typ: Option<&str>, accepted: &[String]) -> Result<(), TokenFault> {
    let typ = typ.map(str::to_ascii_lowercase);
    let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let fits = if accepted.is_empty() {
        matches!(typ, None | Some("jwt" | "at+jwt"))
    } else {
        typ.is_some_and(|typ| accepted.iter().any(|accepted| accepted == typ))
    };
    if fits { Ok(()) } else { Err(TokenFault::Type) }
}

fn check_claims(payload: &[u8], issuer: &Issuer, now: Timestamp) -> Result<VerifiedToken, TokenFault> {
    let claims: Claims = serde_json::from_slice(payload).map_err(|_| TokenFault::Claims)?;
    if claims.iss != issuer.issuer {
        return Err(TokenFault::UnknownIssuer);
    }
    let audiences = match &claims.aud {
        Audience::One(one) => std::slice::from_ref(one),
        Audience::Many(many) => many.as_slice(),
    };
    if !audiences.iter().any(|audience| issuer.audiences.contains(audience)) {
        return Err(TokenFault::Audience);
    }
    let too_long = |id: &str| id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control);
    if too_long(&claims.sub) || claims.jti.as_deref().is_some_and(too_long) {
        return Err(TokenFault::Claims);
    }
    if !issuer.required_claims.is_empty() {
        let all: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(payload).map_err(|_| TokenFault::Claims)?;
        if issuer.required_claims.iter().any(|name| all.get(name).is_none_or(serde_json::Value::is_null)) {
            return Err(TokenFault::Claims);
        }
    }
    let expires = claims.exp.timestamp()?;
    if now >= expires.plus(issuer.leeway) {
        return Err(TokenFault::Expired);
    }
    for begins in [claims.nbf, claims.iat].into_iter().flatten() {
        if begins.timestamp()? > now.plus(issuer.leeway) {
            return Err(TokenFault::NotYetValid);
        }
    }
    let begins = claims.iat.map_or(Ok(now), NumericDate::timestamp)?;
    if expires.since(begins) > issuer.max_lifetime {
        return Err(TokenFault::LivesTooLong);
    }
    Ok(VerifiedToken { member: MemberId { issuer: claims.iss, subject: claims.sub }, id: claims.jti, expires })
}

#[cfg(test)]
mod tests;
