//! JSON Web Key Sets (RFC 7517): which keys of an issuer can verify which algorithms.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::TokenAlgorithm;

/// Largest set that is parsed, in bytes.
pub const MAX_SET_BYTES: usize = 512 * 1024;
/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 64;
/// Smallest RSA modulus (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus: verification time grows with it.
const MAX_RSA_BITS: usize = 8192;

/// The usable keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<String>,
}

/// One usable key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) decoding: DecodingKey,
    kind: Kind,
    alg: Option<TokenAlgorithm>,
}

/// The type of a key, which says what it can verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why a set was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Larger than [`MAX_SET_BYTES`].
    #[error("the key set has more than {MAX_SET_BYTES} bytes")]
    Oversized,
    /// Not JSON of the form `{"keys":[…]}`.
    #[error("not a JSON Web Key Set: {0}")]
    Malformed(String),
    /// None of its keys can be used; the reasons, one a key.
    #[error("no usable key: {0}")]
    NoUsableKey(String),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    public_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Parses a set. Keys that cannot be used are skipped: a set may hold keys for others.
    ///
    /// # Errors
    /// [`KeySetFault`] when no key is left.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetFault> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(KeySetFault::Oversized);
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| KeySetFault::Malformed(error.to_string()))?;
        let mut set = Self::default();
        for (index, value) in document.keys.into_iter().take(MAX_KEYS).enumerate() {
            match serde_json::from_value::<Jwk>(value).map_err(|error| error.to_string()).and_then(Key::new) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skipped.push(format!("key {index}: {reason}")),
            }
        }
        if set.keys.is_empty() {
            let reasons = if set.skipped.is_empty() { "the set is empty".to_owned() } else { set.skipped.join("; ") };
            return Err(KeySetFault::NoUsableKey(reasons));
        }
        Ok(set)
    }

    /// Why keys were skipped, one line each.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Number of usable keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token with this `kid` and algorithm. Without a `kid` every fitting key is tried:
    /// they are few and all the issuer's own.
    pub(super) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: TokenAlgorithm,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys
            .iter()
            .filter(move |key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)) && key.can_verify(algorithm))
    }

    /// Whether any key has this `kid`, whatever its type.
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.keys.iter().any(|key| key.kid.as_deref() == Some(kid)))
    }
}

impl Key {
    fn new(jwk: Jwk) -> Result<Self, String> {
        if jwk.public_use.as_deref().is_some_and(|public_use| public_use != "sig") {
            return Err("not for signatures (`use`)".into());
        }
        if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("not for verification (`key_ops`)".into());
        }
        let alg = match jwk.alg.as_deref() {
            None => None,
            Some(name) => {
                Some(TokenAlgorithm::from_name(name).ok_or_else(|| format!("algorithm `{name}` is not supported"))?)
            }
        };
        let coordinate = |value: &Option<String>, bytes: usize| {
            let value = value.clone().ok_or("a coordinate is missing")?;
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(&value).map_err(|_| "a coordinate is not base64url")?;
            if decoded.len() == bytes { Ok(value) } else { Err("a coordinate has the wrong length") }
        };
        let refused = |error: jsonwebtoken::errors::Error| error.to_string();
        let (kind, decoding) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (Kind::Rsa, rsa(jwk.n.as_deref(), jwk.e.as_deref())?),
            ("EC", Some("P-256")) => (
                Kind::P256,
                DecodingKey::from_ec_components(&coordinate(&jwk.x, 32)?, &coordinate(&jwk.y, 32)?).map_err(refused)?,
            ),
            ("EC", Some("P-384")) => (
                Kind::P384,
                DecodingKey::from_ec_components(&coordinate(&jwk.x, 48)?, &coordinate(&jwk.y, 48)?).map_err(refused)?,
            ),
            ("OKP", Some("Ed25519")) => {
                (Kind::Ed25519, DecodingKey::from_ed_components(&coordinate(&jwk.x, 32)?).map_err(refused)?)
            }
            (kty, crv) => return Err(format!("type `{kty}` {} is not supported", crv.unwrap_or_default())),
        };
        let key = Self { kid: jwk.kid, decoding, kind, alg: None };
        match alg {
            Some(alg) if !key.can_verify(alg) => Err("`alg` does not fit the key's type".into()),
            alg => Ok(Self { alg, ..key }),
        }
    }

    fn can_verify(&self, algorithm: TokenAlgorithm) -> bool {
        let fits = match algorithm {
            TokenAlgorithm::EdDSA => self.kind == Kind::Ed25519,
            TokenAlgorithm::ES256 => self.kind == Kind::P256,
            TokenAlgorithm::ES384 => self.kind == Kind::P384,
            TokenAlgorithm::RS256 | TokenAlgorithm::PS256 => self.kind == Kind::Rsa,
        };
        fits && self.alg.is_none_or(|alg| alg == algorithm)
    }
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<DecodingKey, String> {
    let (n, e) = n.zip(e).ok_or("modulus or exponent is missing")?;
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(n).map_err(|_| "the modulus is not base64url")?;
    let exponent = BASE64_URL_SAFE_NO_PAD.decode(e).map_err(|_| "the exponent is not base64url")?;
    let significant = modulus.iter().skip_while(|byte| **byte == 0);
    let bits =
        significant.clone().count() * 8 - significant.clone().next().map_or(0, |first| first.leading_zeros() as usize);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(format!("an RSA modulus of {bits} bits; expected {MIN_RSA_BITS} to {MAX_RSA_BITS}"));
    }
    if is_roca(&modulus) {
        return Err("an RSA modulus with the structure of CVE-2017-15361 (ROCA), which can be factored".into());
    }
    let value = exponent.iter().take(9).fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    if exponent.len() > 5 || value < 3 || value % 2 == 0 {
        return Err("an RSA exponent that is even, too small or too large".into());
    }
    DecodingKey::from_rsa_components(n, e).map_err(|error| error.to_string())
}

/// Primes for which the moduli of the faulty generator are powers of 65537, and others only by chance.
const ROCA_PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// Whether a modulus (big-endian) comes from the generator of CVE-2017-15361. An honest one looks like it once in about
/// a hundred million.
fn is_roca(modulus: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let generator = 65_537 % prime;
        // The powers of the generator, until they begin again at 1.
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * generator % prime;
            if power == 1 {
                return false;
            }
        }
    })
}
