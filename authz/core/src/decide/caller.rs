//! Steps 6 and 7: who is calling, and what they may see now.

use std::sync::Arc;

use super::Evaluation;
use crate::{
    cors::CorsVerdict,
    decision::{Note, Refusal, Undecided},
    entitlement::{Entitlements, MemberRecord},
    facts::Facts,
    identity::{
        self, ApiKeyFault, ApiKeyRecord, Identity, Presented, PresentedFault, PresentedToken, TokenFault, TokenSource,
    },
    request::RequestView,
    route::Route,
    time::Timestamp,
};

/// Whom a request is decided for.
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) known: Known,
    /// The corpora that are open to this caller, the best first.
    pub(super) corpora: Vec<Arc<str>>,
}

/// What is known of a caller.
pub(super) enum Known {
    /// Plan and entitlements.
    Record(Arc<MemberRecord>),
    /// That there is neither plan nor entitlement.
    NoRecord,
    /// Nothing: the store is away and nothing recent enough is cached.
    Nothing,
}

impl Caller {
    pub(super) fn anonymous() -> Self {
        Self::new(Identity::Anonymous, Known::NoRecord)
    }

    fn new(identity: Identity, known: Known) -> Self {
        Self { identity, known, corpora: Vec::new() }
    }

    pub(super) fn plan(&self) -> Option<&str> {
        match &self.known {
            Known::Record(record) => record.plan.as_deref(),
            Known::NoRecord | Known::Nothing => None,
        }
    }

    pub(super) fn entitlements(&self) -> &Entitlements {
        match &self.known {
            Known::Record(record) => &record.entitlements,
            Known::NoRecord | Known::Nothing => Entitlements::NONE,
        }
    }
}

impl<F: Facts> Evaluation<'_, F> {
    pub(super) async fn identify(
        &mut self,
        route: &Route,
        request: &RequestView,
        cors: CorsVerdict,
    ) -> Result<Caller, Refusal> {
        match identity::presented(&route.issuers, self.policy.api_key_header.as_deref(), request, cors) {
            Ok(Presented::Nothing) => {
                self.trace.note("identity", || "no credential: anonymous".into());
                Ok(Caller::anonymous())
            }
            Ok(Presented::UncountedCookie) => {
                let text = "the cookie does not count: no allowed Origin and no same-site fetch";
                self.trace.note("identity", || text.into());
                self.about.notes.push(Note::UncountedCookie);
                Ok(Caller::anonymous())
            }
            Ok(Presented::ApiKey(key)) => {
                let looked_up = self.facts.api_key(key, self.now).await;
                self.key_holder(looked_up)
            }
            Ok(Presented::Token(token)) => self.member(route, token).await,
            Err(PresentedFault::Request(fault)) => Err(Refusal::Malformed(fault)),
            Err(PresentedFault::TwoIdentities) => Err(Refusal::TwoIdentities),
            Err(PresentedFault::MalformedToken(fault)) => self.invalid_token(route, false, fault),
            Err(PresentedFault::MalformedApiKey) => self.key_holder(Err(ApiKeyFault::Malformed)),
        }
    }

    fn key_holder(&mut self, looked_up: Result<ApiKeyRecord, ApiKeyFault>) -> Result<Caller, Refusal> {
        match self.about.facts.api_key.insert(looked_up).clone() {
            Ok(key) => {
                self.trace.note("identity", || format!("API key {}", key.id));
                if key.stale_for.is_some() {
                    self.about.notes.push(Note::Stale);
                }
                let record = Arc::clone(&key.record);
                Ok(self.unless_suspended(Identity::ApiKey(key), record))
            }
            Err(ApiKeyFault::StoreUnavailable) => Err(Refusal::Undecidable(Undecided::Entitlements)),
            Err(fault) => {
                self.trace.note("identity", || fault.to_string());
                self.refuse_or_shadow(Refusal::InvalidApiKey).map(|()| Caller::anonymous())
            }
        }
    }

    async fn member(&mut self, route: &Route, token: PresentedToken<'_>) -> Result<Caller, Refusal> {
        let from_cookie = matches!(token.source, TokenSource::Cookie(_));
        let verified = self.facts.verify(token, &route.issuers, self.now).await;
        let token = match self.about.facts.token.insert(verified).clone() {
            Ok(token) => token,
            Err(fault) => return self.invalid_token(route, from_cookie, fault),
        };
        self.trace.note("identity", || format!("member {} of {}", token.member.subject, token.member.issuer));
        let membership = self.facts.membership(&token).await;
        match self.about.facts.membership.insert(membership).clone() {
            // As any token that is not valid: 401, or anonymous where the route or the kind of session says so.
            Ok(membership) if membership.token_revoked => self.invalid_token(route, from_cookie, TokenFault::Revoked),
            Ok(membership) => {
                if membership.stale_for.is_some() {
                    self.about.notes.push(Note::Stale);
                }
                let identity = Identity::Member(token);
                let Some(record) = membership.record else {
                    self.trace.note("entitlement", || "the store knows no such member".into());
                    self.about.notes.push(Note::UnknownMember);
                    return Ok(Caller::new(identity, Known::NoRecord));
                };
                Ok(self.unless_suspended(identity, record))
            }
            Err(unavailable) => {
                self.trace.note("entitlement", || unavailable.to_string());
                self.about.notes.push(Note::StoreDown);
                Ok(Caller::new(Identity::Member(token), Known::Nothing))
            }
        }
    }

    /// Whoever is suspended is served as an anonymous caller.
    fn unless_suspended(&mut self, identity: Identity, record: Arc<MemberRecord>) -> Caller {
        if record.suspended {
            self.trace.note("entitlement", || "the member is suspended: served as anonymous".into());
            self.about.notes.push(Note::Suspended);
            return Caller::anonymous();
        }
        let now = self.now;
        self.trace.note("entitlement", || describe(&record, now));
        self.about.plan.clone_from(&record.plan);
        Caller::new(identity, Known::Record(record))
    }

    /// A token that does not verify: 401, or anonymous where the route or the kind of session says so. A reader with an old
    /// cookie is never locked out.
    fn invalid_token(&mut self, route: &Route, from_cookie: bool, fault: TokenFault) -> Result<Caller, Refusal> {
        self.trace.note("identity", || fault.to_string());
        let note = if from_cookie && fault.is_stale_session() {
            Note::StaleSession(fault)
        } else if route.anonymous_on_invalid_token {
            Note::InvalidTokenIgnored(fault)
        } else if fault == TokenFault::NoKeys {
            return Err(Refusal::Undecidable(Undecided::Keys));
        } else {
            return self.refuse_or_shadow(Refusal::InvalidToken(fault)).map(|()| Caller::anonymous());
        };
        self.about.notes.push(note);
        Ok(Caller::anonymous())
    }
}

fn describe(record: &MemberRecord, now: Timestamp) -> String {
    let features = record.entitlements.0.iter().map(|one| {
        let state = if record.entitlements.in_force(&one.feature, now) { "in force" } else { "not in force" };
        format!("{} {state}", one.feature)
    });
    format!("plan {}; {}", record.plan.as_deref().unwrap_or("none"), features.collect::<Vec<_>>().join(", "))
}
