//! Written facts: the tokens, members and limits of a case.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{MemberDocument, RequestDocument, StoreDocument, TokenDocument};
use crate::{
    entitlement::{Entitlement, Entitlements, MemberId, MemberRecord, Membership, StoreUnavailable},
    facts::Facts,
    identity::{ApiKeyFault, ApiKeyRecord, Issuer, PresentedToken, TokenFault, TokenSource, VerifiedToken},
    limit::{Charge, Stage, StageOutcome, memory::MemoryLimits},
    policy::{Snapshot, document::TokenSourceDocument},
    time::{Timestamp, parse_duration},
};

/// One request and everything that is known about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The request.
    pub request: RequestDocument,
    /// The token that comes with it.
    #[serde(default)]
    pub token: Option<TokenDocument>,
    /// The public id of the API key that comes with it.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The state of the store.
    #[serde(default)]
    pub store: StoreDocument,
    /// Members that the store knows, by subject.
    #[serde(default)]
    pub members: BTreeMap<String, MemberDocument>,
    /// API keys that the store knows, by public id.
    #[serde(default)]
    pub api_keys: BTreeMap<String, MemberDocument>,
    /// When it happens (UTC).
    #[serde(default)]
    pub clock: Option<String>,
}

/// The token that a scene sends in place of a real one.
const TOKEN: &str = "written-token";
/// The API key that a scene sends in place of a real one.
const API_KEY: &str = "written-key";

/// Facts of one scene; the state of limits lives on from scene to scene.
#[derive(Debug, Default)]
pub struct WrittenFacts {
    limits: Mutex<MemoryLimits>,
    token: Option<WrittenToken>,
    store: StoreDocument,
    members: BTreeMap<String, Arc<MemberRecord>>,
    api_key: Option<String>,
    api_keys: BTreeMap<String, Arc<MemberRecord>>,
}

#[derive(Debug)]
struct WrittenToken {
    issuer: Arc<Issuer>,
    source: TokenSource,
    verified: Result<Arc<VerifiedToken>, TokenFault>,
    revoked: bool,
}

impl WrittenFacts {
    /// Takes over the facts of a scene; returns the header lines of its request.
    pub(super) fn prepare(
        &mut self,
        policy: &Snapshot,
        scene: &Scene,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, String> {
        let request = &scene.request;
        let mut headers: Vec<(String, String)> = Vec::new();
        headers.extend(request.origin.as_ref().map(|origin| ("origin".to_owned(), origin.clone())));
        if let Some(method) = &request.preflight {
            headers.push(("access-control-request-method".to_owned(), method.clone()));
        }
        for (name, values) in &request.headers {
            headers.extend(values.as_slice().iter().map(|value| (name.clone(), value.clone())));
        }
        self.token = scene.token.as_ref().map(|token| written_token(policy, token, now)).transpose()?;
        match self.token.as_ref().map(|token| &token.source) {
            Some(TokenSource::Header(name)) => headers.push((name.clone(), format!("Bearer {TOKEN}"))),
            Some(TokenSource::Cookie(name)) => headers.push(("cookie".to_owned(), format!("{name}={TOKEN}"))),
            None => {}
        }
        self.api_key.clone_from(&scene.api_key);
        if scene.api_key.is_some() {
            let name = policy.api_key_header.clone().unwrap_or_else(|| "x-api-key".to_owned());
            headers.push((name, API_KEY.to_owned()));
        }
        self.store = scene.store;
        self.members = records(&scene.members)?;
        self.api_keys = records(&scene.api_keys)?;
        Ok(headers)
    }
}

fn written_token(policy: &Snapshot, token: &TokenDocument, now: Timestamp) -> Result<WrittenToken, String> {
    let issuer = match &token.issuer {
        None => policy.issuers.first().ok_or("token: the policy has no issuer")?,
        Some(name) => {
            let known = policy.issuers.iter().find(|issuer| *issuer.name == **name);
            known.ok_or_else(|| format!("token: there is no issuer `{name}`"))?
        }
    };
    let source = match &token.from {
        Some(TokenSourceDocument::Header(name)) => TokenSource::Header(name.to_ascii_lowercase()),
        Some(TokenSourceDocument::Cookie(name)) => TokenSource::Cookie(name.clone()),
        None => issuer.token_from.first().cloned().unwrap_or_else(|| TokenSource::Header("authorization".to_owned())),
    };
    let lifetime = token.expires_in.as_deref().map_or(Ok(Duration::from_secs(3600)), parse_duration)?;
    let expires = now.plus(lifetime);
    let fault = match &token.fault {
        Some(code) => Some(TokenFault::from_code(code).ok_or_else(|| {
            let known: Vec<&str> = TokenFault::ALL.iter().map(|fault| fault.code()).collect();
            format!("token: there is no fault `{code}`; known: {}", known.join(", "))
        })?),
        None => (expires <= now).then_some(TokenFault::Expired),
    };
    let member = MemberId { issuer: issuer.issuer.clone(), subject: token.subject.clone() };
    let verified = VerifiedToken { member, id: Some("written".to_owned()), expires };
    let verified = fault.map_or_else(|| Ok(Arc::new(verified)), Err);
    Ok(WrittenToken { issuer: Arc::clone(issuer), source, verified, revoked: token.revoked })
}

fn records(members: &BTreeMap<String, MemberDocument>) -> Result<BTreeMap<String, Arc<MemberRecord>>, String> {
    let record = |(name, member): (&String, &MemberDocument)| {
        let time = |text: &Option<String>| text.as_deref().map(Timestamp::parse).transpose();
        let mut entitlements = Vec::with_capacity(member.entitlements.len());
        for one in &member.entitlements {
            let starts = time(&one.starts)?.unwrap_or_default();
            entitlements.push(Entitlement { feature: one.feature.clone(), starts, ends: time(&one.ends)? });
        }
        let record = MemberRecord {
            suspended: member.suspended,
            plan: member.plan.clone(),
            entitlements: Entitlements(entitlements),
        };
        Ok((name.clone(), Arc::new(record)))
    };
    members.iter().map(record).collect()
}

impl WrittenFacts {
    fn stale_for(&self) -> Option<Duration> {
        (self.store == StoreDocument::Stale).then_some(Duration::from_secs(60))
    }
}

impl Facts for WrittenFacts {
    async fn charge(&self, _: Stage, charges: &[Charge], now: Timestamp) -> StageOutcome {
        self.limits.lock().charge(charges, now)
    }

    async fn verify(
        &self,
        token: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        _: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        let written = self.token.as_ref().filter(|_| token.text == TOKEN).ok_or(TokenFault::Malformed)?;
        if !issuers.contains(&written.issuer) {
            return Err(TokenFault::UnknownIssuer);
        }
        if *token.source != written.source {
            return Err(TokenFault::WrongSource);
        }
        written.verified.clone()
    }

    async fn membership(&self, token: &VerifiedToken) -> Result<Membership, StoreUnavailable> {
        if self.store == StoreDocument::Down {
            return Err(StoreUnavailable);
        }
        Ok(Membership {
            record: self.members.get(&token.member.subject).cloned(),
            token_revoked: self.token.as_ref().is_some_and(|token| token.revoked),
            stale_for: self.stale_for(),
        })
    }

    async fn api_key(&self, key: &str, _: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        if self.store == StoreDocument::Down {
            return Err(ApiKeyFault::StoreUnavailable);
        }
        let id = self.api_key.as_ref().filter(|_| key == API_KEY).ok_or(ApiKeyFault::Malformed)?;
        let record = self.api_keys.get(id).cloned().ok_or(ApiKeyFault::Unknown)?;
        Ok(ApiKeyRecord { id: id.as_str().into(), record, stale_for: self.stale_for() })
    }
}
