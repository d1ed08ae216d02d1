//! The facts that a decision needs: limits, tokens, members and API keys.
//!
//! The server gives live facts, `authz test` written ones, `authz replay` recorded ones. The trait knows no executor.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    entitlement::{MemberId, Membership, StoreUnavailable},
    identity::{ApiKeyFault, ApiKeyRecord, Issuer, PresentedToken, TokenFault, VerifiedToken},
    limit::{Charge, Stage, StageOutcome},
    time::Timestamp,
};

/// The source of the facts of one decision.
pub trait Facts: Sync {
    /// Charges all limits of a stage, or none of them when an enforced one does not fit.
    fn charge(&self, stage: Stage, charges: &[Charge], now: Timestamp) -> impl Future<Output = StageOutcome> + Send;

    /// Verifies a token that must be of one of these issuers.
    fn verify(
        &self,
        token: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        now: Timestamp,
    ) -> impl Future<Output = Result<Arc<VerifiedToken>, TokenFault>> + Send;

    /// Looks up the membership behind a token, and whether the token was revoked.
    fn membership(&self, token: &VerifiedToken) -> impl Future<Output = Result<Membership, StoreUnavailable>> + Send;

    /// Looks an API key up.
    fn api_key(&self, key: &str, now: Timestamp) -> impl Future<Output = Result<ApiKeyRecord, ApiKeyFault>> + Send;
}

/// The facts about the caller that one decision looked up. What it did not look up is `None`.
#[derive(Debug, Clone, Default)]
pub struct CallerFacts {
    /// How the verification of the token ended.
    pub token: Option<Result<Arc<VerifiedToken>, TokenFault>>,
    /// The membership behind the token.
    pub membership: Option<Result<Membership, StoreUnavailable>>,
    /// The holder of the API key.
    pub api_key: Option<Result<ApiKeyRecord, ApiKeyFault>>,
}

impl CallerFacts {
    /// The member of a token that verified, suspended or not.
    pub fn member(&self) -> Option<&MemberId> {
        self.token.as_ref()?.as_ref().ok().map(|token| &token.member)
    }

    /// The public id of an API key that is valid.
    pub fn api_key_id(&self) -> Option<&str> {
        self.api_key.as_ref()?.as_ref().ok().map(|key| &*key.id)
    }
}

/// The value of a future that never waits, such as a decision with written facts; `None` if it does wait.
pub fn immediately<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
