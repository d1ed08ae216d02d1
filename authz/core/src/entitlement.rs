//! Step 7: what a member may see, in force *now*.

use std::{sync::Arc, time::Duration};

use crate::time::Timestamp;

/// A member: the issuer's URL and the subject in its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
}

/// One entitlement, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// The feature it opens.
    pub feature: String,
    /// In force from here, inclusive.
    pub starts: Timestamp,
    /// In force until here, exclusive; `None` for ever.
    pub ends: Option<Timestamp>,
}

/// Entitlements of one caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entitlements(pub Vec<Entitlement>);

impl Entitlements {
    /// Of a caller who has none.
    pub const NONE: &Self = &Self(Vec::new());

    /// Whether `feature` is in force at `now`. A cached entitlement so starts and ends at its very moment.
    pub fn in_force(&self, feature: &str, now: Timestamp) -> bool {
        self.0.iter().any(|one| one.feature == feature && one.starts <= now && one.ends.is_none_or(|ends| now < ends))
    }
}

/// A member, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Suspended members are served as anonymous ones.
    pub suspended: bool,
    /// The plan, which selects the tier of limits.
    pub plan: Option<String>,
    /// Entitlements that were not revoked, past and future ones included.
    pub entitlements: Entitlements,
}

/// The membership behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The member's record; `None` if the store does not know the member.
    pub record: Option<Arc<MemberRecord>>,
    /// This very token (`jti`) was revoked.
    pub token_revoked: bool,
    /// How old the answer is, when the store cannot be read now, or only from a standby.
    pub stale_for: Option<Duration>,
}

/// The store could not be read and nothing recent enough is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entitlements cannot be known: the store is away and nothing recent enough is cached")]
pub struct StoreUnavailable;
