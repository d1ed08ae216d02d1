//! Live facts: limits, tokens, members and API keys, each asked within the deadline of one decision.

pub mod api_keys;
mod flights;
pub mod invalidation;
pub mod limits;
pub mod members;
pub mod tokens;

use std::{future::Future, sync::Arc};

use authz_core::{
    entitlement::{Membership, StoreUnavailable},
    facts::Facts,
    identity::{ApiKeyFault, ApiKeyRecord, Issuer, PresentedToken, TokenFault, VerifiedToken},
    limit::{Charge, Stage, StageOutcome},
    policy::Snapshot,
    time::Timestamp,
};
use tokio::time::{Instant, timeout_at};

use self::{api_keys::ApiKeys, limits::Limiter, members::Members, tokens::Tokens};

/// The sources of live facts, shared by all decisions.
#[derive(Debug)]
pub struct Sources {
    /// Rate limits.
    pub limits: Arc<Limiter>,
    /// Token verification.
    pub tokens: Arc<Tokens>,
    /// Members.
    pub members: Arc<Members>,
    /// API keys.
    pub api_keys: Arc<ApiKeys>,
}

impl Sources {
    /// Adopts a new policy.
    pub fn apply(&self, policy: &Snapshot) {
        self.limits.apply(policy);
        self.tokens.apply(policy);
        self.members.apply(&policy.entitlements);
        self.api_keys.apply(&policy.entitlements);
    }

    /// The facts of one decision, which must be known by `deadline`: a decision that takes longer than Envoy waits is
    /// an error page without CORS headers, so every question that takes too long is answered with doubt instead.
    pub fn until(&self, deadline: Instant) -> LiveFacts<'_> {
        LiveFacts { sources: self, limits: &self.limits, deadline }
    }
}

/// The facts of one decision.
#[derive(Debug)]
pub struct LiveFacts<'a> {
    sources: &'a Sources,
    limits: &'a Limiter,
    deadline: Instant,
}

impl<'a> LiveFacts<'a> {
    /// The same facts, with limits counted elsewhere.
    #[must_use]
    pub fn counted_in(self, limits: &'a Limiter) -> Self {
        Self { limits, ..self }
    }

    async fn within<T>(&self, question: impl Future<Output = T>, in_doubt: impl FnOnce() -> T) -> T {
        timeout_at(self.deadline, question).await.unwrap_or_else(|_| in_doubt())
    }
}

impl Facts for LiveFacts<'_> {
    async fn charge(&self, stage: Stage, charges: &[Charge], _: Timestamp) -> StageOutcome {
        let in_doubt = || StageOutcome { states: Vec::new(), undecidable: true };
        self.within(self.limits.charge(stage, charges), in_doubt).await
    }

    async fn verify(
        &self,
        token: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        self.within(self.sources.tokens.verify(token, issuers, now), || Err(TokenFault::NoKeys)).await
    }

    async fn membership(&self, token: &VerifiedToken) -> Result<Membership, StoreUnavailable> {
        let membership = self.sources.members.membership(&token.member, token.id.as_deref());
        self.within(membership, || Err(StoreUnavailable)).await
    }

    async fn api_key(&self, key: &str, now: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        let known = async {
            let key = self.sources.api_keys.holder(key, now).await?;
            match self.sources.members.membership(&key.member, None).await {
                Ok(Membership { record: Some(record), stale_for, .. }) => {
                    Ok(ApiKeyRecord { id: key.id.into(), record, stale_for: stale_for.max(key.stale_for) })
                }
                Ok(_) => Err(ApiKeyFault::Unknown),
                Err(StoreUnavailable) => Err(ApiKeyFault::StoreUnavailable),
            }
        };
        self.within(known, || Err(ApiKeyFault::StoreUnavailable)).await
    }
}
