//! The facts of a decision as they are kept, and as they are given again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    entitlement::{Entitlement, Entitlements, MemberId, MemberRecord, Membership, StoreUnavailable},
    facts::{CallerFacts, Facts},
    identity::{ApiKeyFault, ApiKeyRecord, Issuer, PresentedToken, TokenFault, VerifiedToken},
    limit::{Charge, LimitState, Stage, StageOutcome, memory::MemoryLimits},
    time::Timestamp,
};

/// What was known of the caller. What was not asked is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedFacts {
    /// How the verification of the token ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<RecordedToken>,
    /// What the store said of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<RecordedMember>,
    /// What the store said of the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<RecordedApiKey>,
}

/// A token without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedToken {
    /// It verified.
    Valid {
        /// `iss`
        issuer: String,
        /// A keyed hash of the subject.
        subject: String,
        /// `exp`
        expires: String,
    },
    /// It did not, for this reason.
    Fault(String),
}

/// A member's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedMember {
    /// The store could not be read.
    Unavailable,
    /// The store knows no such member.
    Unknown {
        /// The token was revoked.
        token_revoked: bool,
    },
    /// The store knows the member.
    Known {
        /// The record.
        record: RecordedRecord,
        /// The token was revoked.
        token_revoked: bool,
        /// Age of the record in seconds, if the store could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stale_seconds: Option<u64>,
    },
}

/// Plan and entitlements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRecord {
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Whether the member is suspended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Entitlements: feature, start, end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<(String, String, Option<String>)>,
}

/// An API key without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedApiKey {
    /// It is valid.
    Valid {
        /// Its public id.
        id: String,
        /// Whom it stands for.
        record: RecordedRecord,
        /// Age of the record in seconds, if the store could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stale_seconds: Option<u64>,
    },
    /// It is malformed, unknown, revoked or expired.
    Refused,
    /// The store could not be read.
    Unavailable,
}

impl RecordedFacts {
    /// What the log keeps. `pseudonym` stands for the subject.
    pub fn of(facts: &CallerFacts, pseudonym: Option<&str>) -> Self {
        let token = facts.token.as_ref().map(|token| match token {
            Ok(token) => RecordedToken::Valid {
                issuer: token.member.issuer.clone(),
                subject: pseudonym.unwrap_or("unknown").to_owned(),
                expires: token.expires.rfc3339(),
            },
            Err(fault) => RecordedToken::Fault(fault.code().to_owned()),
        });
        let member = facts.membership.as_ref().map(|membership| match membership {
            Err(StoreUnavailable) => RecordedMember::Unavailable,
            Ok(Membership { record: None, token_revoked, .. }) => {
                RecordedMember::Unknown { token_revoked: *token_revoked }
            }
            Ok(Membership { record: Some(record), token_revoked, stale_for }) => RecordedMember::Known {
                record: RecordedRecord::from(&**record),
                token_revoked: *token_revoked,
                stale_seconds: stale_for.map(|age| age.as_secs()),
            },
        });
        let api_key = facts.api_key.as_ref().map(|key| match key {
            Ok(key) => RecordedApiKey::Valid {
                id: key.id.to_string(),
                record: RecordedRecord::from(&*key.record),
                stale_seconds: key.stale_for.map(|age| age.as_secs()),
            },
            Err(ApiKeyFault::StoreUnavailable) => RecordedApiKey::Unavailable,
            Err(_) => RecordedApiKey::Refused,
        });
        Self { token, member, api_key }
    }
}

impl From<&MemberRecord> for RecordedRecord {
    fn from(record: &MemberRecord) -> Self {
        let entitlements = record.entitlements.0.iter();
        Self {
            plan: record.plan.clone(),
            suspended: record.suspended,
            entitlements: entitlements
                .map(|one| (one.feature.clone(), one.starts.rfc3339(), one.ends.map(Timestamp::rfc3339)))
                .collect(),
        }
    }
}

impl From<&RecordedRecord> for MemberRecord {
    fn from(record: &RecordedRecord) -> Self {
        // A time that cannot be read opens nothing: it starts never and has ended.
        let entitlements = record.entitlements.iter().map(|(feature, starts, ends)| Entitlement {
            feature: feature.clone(),
            starts: Timestamp::parse(starts).unwrap_or(Timestamp::from_nanos(u64::MAX)),
            ends: ends.as_deref().map(|ends| Timestamp::parse(ends).unwrap_or_default()),
        });
        Self {
            suspended: record.suspended,
            plan: record.plan.clone(),
            entitlements: Entitlements(entitlements.collect()),
        }
    }
}

/// Facts of a record, given again. A question that was not asked then cannot be answered now: that is noted.
#[derive(Debug)]
pub struct ReplayedFacts<'a> {
    facts: &'a RecordedFacts,
    limits: Option<&'a Mutex<MemoryLimits>>,
    unanswered: AtomicBool,
}

impl<'a> ReplayedFacts<'a> {
    /// Facts of one record. Without `limits` every charge fits.
    pub fn new(facts: &'a RecordedFacts, limits: Option<&'a Mutex<MemoryLimits>>) -> Self {
        Self { facts, limits, unanswered: AtomicBool::new(false) }
    }

    /// Whether a question was asked that the record cannot answer.
    pub fn unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed)
    }

    fn unknown<T>(&self, answer: T) -> T {
        self.unanswered.store(true, Ordering::Relaxed);
        answer
    }
}

impl Facts for ReplayedFacts<'_> {
    async fn charge(&self, stage: Stage, charges: &[Charge], now: Timestamp) -> StageOutcome {
        // The log holds a sample of noise: how much there was is not known, and it is refused either way.
        if let (Some(limits), false) = (self.limits, stage == Stage::Noise) {
            return limits.lock().charge(charges, now);
        }
        let fits = |charge: &Charge| LimitState {
            name: charge.rule.name.clone(),
            allowance: charge.allowance,
            fits: true,
            shadow: charge.rule.shadow,
            remaining: charge.allowance.burst(),
            reset_after: Duration::ZERO,
            retry_after: Duration::ZERO,
        };
        StageOutcome { states: charges.iter().map(fits).collect(), undecidable: false }
    }

    async fn verify(
        &self,
        _: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        match &self.facts.token {
            None => self.unknown(Err(TokenFault::NoKeys)),
            Some(RecordedToken::Fault(code)) => {
                Err(TokenFault::from_code(code).unwrap_or_else(|| self.unknown(TokenFault::Malformed)))
            }
            Some(RecordedToken::Valid { issuer, subject, expires }) => {
                let by = issuers.iter().find(|by| by.issuer == *issuer).ok_or(TokenFault::UnknownIssuer)?;
                let expires = Timestamp::parse(expires).unwrap_or_default();
                if expires.plus(by.leeway) <= now {
                    return Err(TokenFault::Expired);
                }
                let member = MemberId { issuer: issuer.clone(), subject: subject.clone() };
                Ok(Arc::new(VerifiedToken { member, id: None, expires }))
            }
        }
    }

    async fn membership(&self, _: &VerifiedToken) -> Result<Membership, StoreUnavailable> {
        match &self.facts.member {
            None => self.unknown(Err(StoreUnavailable)),
            Some(RecordedMember::Unavailable) => Err(StoreUnavailable),
            Some(RecordedMember::Unknown { token_revoked }) => {
                Ok(Membership { record: None, token_revoked: *token_revoked, stale_for: None })
            }
            Some(RecordedMember::Known { record, token_revoked, stale_seconds }) => Ok(Membership {
                record: Some(Arc::new(record.into())),
                token_revoked: *token_revoked,
                stale_for: stale_seconds.map(Duration::from_secs),
            }),
        }
    }

    async fn api_key(&self, _: &str, _: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        match &self.facts.api_key {
            None => self.unknown(Err(ApiKeyFault::StoreUnavailable)),
            Some(RecordedApiKey::Unavailable) => Err(ApiKeyFault::StoreUnavailable),
            Some(RecordedApiKey::Refused) => Err(ApiKeyFault::Unknown),
            Some(RecordedApiKey::Valid { id, record, stale_seconds }) => Ok(ApiKeyRecord {
                id: id.as_str().into(),
                record: Arc::new(record.into()),
                stale_for: stale_seconds.map(Duration::from_secs),
            }),
        }
    }
}
