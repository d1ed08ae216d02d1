//! Live facts: limits, tokens, members and API keys, each asked within the deadline of one decision.

pub mod api_keys;
pub mod invalidation;
pub mod limits;
pub mod members;
pub mod tokens;

use std::{future::Future, sync::Arc};

use authz_core::{
    entitlement::{MemberId, Standing, StoreUnavailable},
    facts::Facts,
    identity::{ApiKeyFault, ApiKeyRecord, TokenFault, TokenSource, VerifiedToken},
    limit::{Charge, Stage, StageOutcome},
    policy::Snapshot,
    route::Route,
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
        LiveFacts { sources: self, deadline }
    }
}

/// The facts of one decision.
#[derive(Debug)]
pub struct LiveFacts<'a> {
    sources: &'a Sources,
    deadline: Instant,
}

impl LiveFacts<'_> {
    async fn within<T>(&self, question: impl Future<Output = T>, in_doubt: impl FnOnce() -> T) -> T {
        timeout_at(self.deadline, question).await.unwrap_or_else(|_| in_doubt())
    }
}

impl Facts for LiveFacts<'_> {
    async fn charge(&self, stage: Stage, charges: &[Charge], now: Timestamp) -> StageOutcome {
        let in_doubt = || StageOutcome { states: Vec::new(), undecidable: true };
        self.within(self.sources.limits.charge(stage, charges, now), in_doubt).await
    }

    async fn verify(
        &self,
        token: &str,
        source: &TokenSource,
        route: &Route,
        policy: &Snapshot,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenFault> {
        self.within(self.sources.tokens.verify(token, source, route, policy, now), || Err(TokenFault::NoKeys)).await
    }

    async fn standing(
        &self,
        member: &MemberId,
        token_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Standing, StoreUnavailable> {
        self.within(self.sources.members.standing(member, token_id, now), || Err(StoreUnavailable)).await
    }

    async fn api_key(&self, key: &str, now: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        let known = async {
            let key = self.sources.api_keys.holder(key, now).await?;
            match self.sources.members.standing(&key.member, None, now).await {
                Ok(Standing { record: Some(record), stale_for, .. }) => {
                    Ok(ApiKeyRecord { id: key.id, record, stale_for: stale_for.max(key.stale_for) })
                }
                Ok(_) => Err(ApiKeyFault::Unknown),
                Err(StoreUnavailable) => Err(ApiKeyFault::StoreUnavailable),
            }
        };
        self.within(known, || Err(ApiKeyFault::StoreUnavailable)).await
    }
}
