//! Token verification with live keys: who issued it, with which key, and has it been seen before.

pub mod cache;
pub mod keys;

use std::{collections::HashMap, sync::Arc};

use authz_core::{
    identity::{Issuer, KeySource, PresentedToken, TokenFault, VerifiedToken, token},
    policy::Snapshot,
    time::Timestamp,
};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use cache::{Verification, VerifiedCache};
use keys::{KeyMetrics, KeyState};

/// Process settings for tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokenOptions {
    /// Keys may be fetched over http (development).
    pub allow_http: bool,
}

/// Verifies tokens and keeps the keys of all issuers fresh.
#[derive(Debug)]
pub struct Tokens {
    options: TokenOptions,
    /// One state for each place that keys come from, while the policy names it.
    states: Mutex<HashMap<KeySource, Arc<KeyState>>>,
    cache: VerifiedCache,
    metrics: KeyMetrics,
}

impl Tokens {
    /// Without any keys; [`Tokens::apply`] says where they come from.
    pub fn new(options: TokenOptions, registry: &mut Registry) -> Arc<Self> {
        Arc::new(Self {
            options,
            states: Mutex::default(),
            cache: VerifiedCache::new(registry),
            metrics: KeyMetrics::new(registry),
        })
    }

    /// Follows the key sources of this policy: new ones are fetched at once, known ones keep their keys, others stop.
    pub fn apply(self: &Arc<Self>, policy: &Snapshot) {
        let mut states = self.states.lock();
        states.retain(|source, _| policy.issuers.iter().any(|issuer| issuer.keys == *source));
        for issuer in &policy.issuers {
            let state = states.entry(issuer.keys.clone()).or_insert_with(|| {
                KeyState::follow(issuer.keys.clone(), self.options.allow_http, self.metrics.clone())
            });
            state.set_refresh(issuer.refresh);
        }
    }

    /// Verifies a token that must be of one of these issuers.
    ///
    /// # Errors
    /// [`TokenFault`], the first that was found.
    pub async fn verify(
        &self,
        token: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        let claimed = token::claimed_issuer(token.text)?;
        let issuer = issuers.iter().find(|issuer| issuer.issuer == claimed).ok_or(TokenFault::UnknownIssuer)?;
        let state = self.state(&issuer.keys).ok_or(TokenFault::NoKeys)?;
        let result = self.verify_with(&state, token, issuer, now);
        if !matches!(result, Err(TokenFault::UnknownKey | TokenFault::NoKeys)) {
            return result;
        }
        // The issuer may have a new key: ask, at most once in an interval whatever arrives.
        if !state.refetched_on_demand().await {
            return result;
        }
        self.verify_with(&state, token, issuer, now)
    }

    fn verify_with(
        &self,
        state: &KeyState,
        token: PresentedToken<'_>,
        issuer: &Arc<Issuer>,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        let loaded = state.usable(issuer.max_stale).ok_or(TokenFault::NoKeys)?;
        let verification = Verification { token, issuer, set: loaded.set, now };
        self.cache.get_or_verify(&verification, || token::verify(token, &loaded.keys, issuer, now))
    }

    fn state(&self, source: &KeySource) -> Option<Arc<KeyState>> {
        self.states.lock().get(source).cloned()
    }

    /// Whether every issuer that must have keys before the gate is ready has them.
    ///
    /// # Errors
    /// Names the issuer that has none, and why.
    pub fn readiness(&self, policy: &Snapshot) -> Result<(), String> {
        for issuer in policy.issuers.iter().filter(|issuer| !issuer.ready_without_keys) {
            let state = self.state(&issuer.keys);
            if state.as_ref().and_then(|state| state.usable(issuer.max_stale)).is_none() {
                let why = state.and_then(|state| state.last_error()).unwrap_or_else(|| "not fetched yet".into());
                return Err(format!("the keys of issuer `{}` are not known: {why}", issuer.name));
            }
        }
        Ok(())
    }
}
