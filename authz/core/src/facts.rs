//! What the core must be told: limits, tokens, members and API keys.
//!
//! The server gives live facts, `authz test` written ones, `authz replay` recorded ones. The trait knows no executor.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::{
    entitlement::{MemberId, Standing, StoreUnavailable},
    identity::{ApiKeyFault, ApiKeyRecord, TokenFault, TokenSource, VerifiedToken},
    limit::{Charge, Stage, StageOutcome},
    policy::Snapshot,
    route::Route,
    time::Timestamp,
};

/// Answers the questions of one decision.
pub trait Facts: Sync {
    /// Charges all limits of a stage, or none of them when an enforced one does not fit.
    fn charge(&self, stage: Stage, charges: &[Charge], now: Timestamp) -> impl Future<Output = StageOutcome> + Send;

    /// Verifies a token against the issuers that `route` accepts.
    fn verify(
        &self,
        token: &str,
        source: &TokenSource,
        route: &Route,
        policy: &Snapshot,
        now: Timestamp,
    ) -> impl Future<Output = Result<VerifiedToken, TokenFault>> + Send;

    /// What the store says of a member and of the token that names it.
    fn standing(
        &self,
        member: &MemberId,
        token_id: Option<&str>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Standing, StoreUnavailable>> + Send;

    /// Looks an API key up.
    fn api_key(&self, key: &str, now: Timestamp) -> impl Future<Output = Result<ApiKeyRecord, ApiKeyFault>> + Send;
}

/// The value of a future that never waits, such as a decision with written facts; `None` if it does wait.
pub fn immediately<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
