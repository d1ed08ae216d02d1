//! What was verified is not verified again, and what failed fails cheaply.
//!
//! Entries are keyed by the SHA-256 of the token, never by the token. They carry the digest of the key set: a withdrawn
//! key voids whatever it had verified, and for ever. Times are checked again at every use.

use std::{sync::Arc, time::Duration};

use authz_core::{
    identity::{Issuer, PresentedToken, TokenFault, TokenSource, VerifiedToken},
    time::Timestamp,
};
use moka::sync::Cache;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sha2::{Digest, Sha256};

use super::keys::SetDigest;

/// Most verified tokens remembered; each has a few hundred bytes.
const MAX_VERIFIED: u64 = 100_000;
/// Most failures remembered.
const MAX_FAILED: u64 = 20_000;
/// Longest time that a verified token is remembered.
const VERIFIED_FOR: Duration = Duration::from_secs(600);
/// Time that a failure is remembered: long enough to make a flood of one bad token cheap.
const FAILED_FOR: Duration = Duration::from_secs(10);

type DigestKey = [u8; 32];

#[derive(Debug, Clone)]
struct Verified {
    token: Arc<VerifiedToken>,
    issuer: Arc<Issuer>,
    source: TokenSource,
    set: SetDigest,
}

/// What is to be verified, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// The token.
    pub token: PresentedToken<'a>,
    /// Its issuer.
    pub issuer: &'a Arc<Issuer>,
    /// The issuer's keys.
    pub set: SetDigest,
    /// When.
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

/// Remembers verifications.
#[derive(Debug)]
pub struct VerifiedCache {
    verified: Cache<DigestKey, Verified>,
    failed: Cache<(DigestKey, SetDigest), TokenFault>,
    lookups: Family<CacheLabels, Counter>,
}

impl VerifiedCache {
    /// Empty.
    pub fn new(registry: &mut Registry) -> Self {
        let lookups = Family::default();
        registry.register(
            "docsgate_authz_token_cache_lookups",
            "Look-ups of verified tokens, by result",
            Family::clone(&lookups),
        );
        Self {
            verified: Cache::builder().max_capacity(MAX_VERIFIED).time_to_live(VERIFIED_FOR).build(),
            failed: Cache::builder().max_capacity(MAX_FAILED).time_to_live(FAILED_FOR).build(),
            lookups,
        }
    }

    /// The remembered result, or that of `verify`.
    ///
    /// # Errors
    /// The remembered or fresh [`TokenFault`].
    pub fn get_or_verify(
        &self,
        verification: &Verification<'_>,
        verify: impl FnOnce() -> Result<VerifiedToken, TokenFault>,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        let Verification { token, issuer, set, now } = *verification;
        let digest: DigestKey = Sha256::digest(token.text.as_bytes()).into();
        if let Some(known) = self.verified.get(&digest) {
            let same = known.set == set && known.source == *token.source && same_issuer(&known.issuer, issuer);
            if same && now < known.token.expires.plus(issuer.leeway) {
                self.count("hit");
                return Ok(known.token);
            }
            self.verified.invalidate(&digest);
        }
        if let Some(fault) = self.failed.get(&(digest, set)) {
            self.count("failed_hit");
            return Err(fault);
        }
        self.count("miss");
        let result = verify().map(Arc::new);
        match &result {
            Ok(verified) => {
                let (source, token) = (token.source.clone(), Arc::clone(verified));
                self.verified.insert(digest, Verified { token, issuer: Arc::clone(issuer), source, set });
            }
            // Only what can never become true under these keys; an unknown key may be known in a moment.
            Err(TokenFault::BadSignature) => self.failed.insert((digest, set), TokenFault::BadSignature),
            Err(_) => {}
        }
        result
    }

    fn count(&self, result: &'static str) {
        self.lookups.get_or_create(&CacheLabels { result }).inc();
    }
}

/// A changed policy may accept less than the one that was in force.
fn same_issuer(known: &Arc<Issuer>, issuer: &Arc<Issuer>) -> bool {
    Arc::ptr_eq(known, issuer) || known == issuer
}
