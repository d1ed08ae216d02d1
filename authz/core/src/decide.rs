//! The decision: one function, read as the numbered steps of the design.

mod noise;

use std::sync::Arc;

use crate::{
    client_ip::client_ip,
    corpus::{self, RouteCorpus},
    cors::{self, CorsProfile, CorsVerdict, Origin},
    decision::{About, Allow, Decision, Note, Outcome, Refusal, Trace, Undecided},
    entitlement::{Entitlements, MemberRecord},
    facts::Facts,
    identity::{self, ApiKeyFault, Identity, Presented, PresentedFault, TokenFault, TokenSource, VerifiedToken},
    limit::{self, LimitRule, Stage, Subject},
    policy::{OnStoreDown, Snapshot},
    request::{Malformed, RequestView},
    route::{Found, Route},
    time::Timestamp,
};

/// Decides on one request. Deterministic given the policy, the request, the facts and the time.
pub async fn decide<F: Facts>(
    policy: &Snapshot,
    request: &Result<RequestView, Malformed>,
    facts: &F,
    now: Timestamp,
    trace: &mut Trace,
) -> Decision {
    let mut about = About {
        policy: Arc::clone(&policy.version),
        route: None,
        client_ip: None,
        member: None,
        api_key: None,
        plan: None,
        cors: Vec::new(),
        limits: Vec::new(),
        notes: Vec::new(),
        shadowed: None,
        noise: false,
    };
    let outcome = match request {
        Ok(request) => steps(&Case { policy, request, facts, now }, &mut about, trace).await,
        Err(malformed) => Err(Refusal::Malformed(malformed.fault.clone())),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::Refuse(noise::charge(policy, request, facts, now, refusal, &mut about, trace).await),
    };
    if let Outcome::Refuse(refusal) = &outcome {
        trace.note("decision", || format!("refused with {}: {refusal}", refusal.status()));
    }
    Decision { outcome, about }
}

/// What stays the same through one decision.
struct Case<'a, F> {
    policy: &'a Snapshot,
    request: &'a RequestView,
    facts: &'a F,
    now: Timestamp,
}

/// Cheap refusals first; every early return is a refusal or the answer to a preflight.
async fn steps<F: Facts>(case: &Case<'_, F>, about: &mut About, trace: &mut Trace) -> Result<Outcome, Refusal> {
    // 1. The request is well formed: its type says so. 2. Route. A preflight belongs to the method that it asks for.
    let preflight = case.request.is_preflight();
    let origin = origin(case.request)?;
    let route = route(case, preflight, origin.as_ref(), about, trace)?;

    // 3. CORS. From here on every answer carries the headers that let a browser read it.
    let profile = route.cors.and_then(|index| case.policy.cors.get(index));
    let cors = check_cors(case, route, profile, origin.as_ref(), preflight, about, trace)?;

    // 4. The client's address. 5. Limits on addresses, before anything costs more.
    about.client_ip = client_ip(&case.policy.client_ip, case.request);
    trace.note("client_ip", || {
        about.client_ip.map_or("unknown".into(), |ip| format!("{} counts as {}", ip.address, ip.client()))
    });
    if about.client_ip.is_some_and(|ip| case.policy.client_ip.denies(&ip)) {
        shadowable(case, route, about, Refusal::AddressRefused)?;
    }
    if preflight {
        let rules = std::slice::from_ref(&case.policy.preflight_limit);
        charge(case, Stage::Preflight, route, rules, &Identity::Anonymous, None, about, trace).await?;
        return Ok(Outcome::Preflight);
    }
    charge(case, Stage::Flood, route, &route.flood_limits, &Identity::Anonymous, None, about, trace).await?;
    if let Some(retry_after) = route.maintenance {
        return Err(Refusal::Maintenance { retry_after });
    }

    // 6. Who is calling. 7. What they may see, now.
    let (identity, standing) = if looks_at_identity(case.policy, route) {
        let (identity, from_cookie) = identify(case, route, cors, about, trace).await?;
        standing(case, route, identity, from_cookie, about, trace).await?
    } else {
        (Identity::Anonymous, Known::Yes(Entitlements::default()))
    };

    // 8. Limits on callers. The corpora are computed first because a limit may count by corpus.
    let open = match &standing {
        Known::Yes(entitlements) => corpus::open_to(&case.policy.corpora, entitlements, case.now),
        Known::No => corpus::open_to(&case.policy.corpora, &Entitlements::default(), case.now),
    };
    charge(case, Stage::Caller, route, &route.caller_limits, &identity, open.first().map(AsRef::as_ref), about, trace)
        .await?;

    // 9. The corpora that are opened. The only place where a request is allowed.
    let corpora = choose_corpora(case, route, &identity, &standing, open, trace)?;
    trace.note("decision", || format!("allowed, corpora [{}]", corpora.join(", ")));
    Ok(Outcome::Allow(Allow::new(corpora)))
}

/// The request's origin. Repeated or malformed values are refused: which one counts must never be a guess.
fn origin(request: &RequestView) -> Result<Option<Origin>, Refusal> {
    match request.single("origin") {
        Ok(None) => Ok(None),
        Ok(Some(value)) => Origin::parse(value).map(Some).map_err(|_| Refusal::MalformedOrigin),
        Err(_) => Err(Refusal::MalformedOrigin),
    }
}

fn route<'a, F>(
    case: &Case<'a, F>,
    preflight: bool,
    origin: Option<&Origin>,
    about: &mut About,
    trace: &mut Trace,
) -> Result<&'a Arc<Route>, Refusal> {
    let request = case.request;
    let method = if preflight {
        let asked = request.single("access-control-request-method").map_err(|_| Refusal::MalformedPreflight)?;
        asked
            .filter(|method| {
                !method.is_empty() && method.len() <= 32 && method.bytes().all(crate::request::is_token_byte)
            })
            .ok_or(Refusal::MalformedPreflight)?
    } else {
        request.method.as_str()
    };
    match case.policy.router.find(request, method) {
        Found::Route(route) => {
            about.route = Some(Arc::clone(&route.name));
            trace.note("route", || format!("{method} {} belongs to route `{}`", request.path, route.name));
            Ok(route)
        }
        Found::WrongMethod { allowed, nearest } => {
            trace.note("route", || {
                format!("{} is route `{}`, which does not take {method}", request.path, nearest.name)
            });
            about.route = Some(Arc::clone(&nearest.name));
            let profile = nearest.cors.and_then(|index| case.policy.cors.get(index));
            if let (Some(profile), Some(origin)) = (profile, origin)
                && profile.check(origin) != CorsVerdict::Refused
            {
                about.cors = profile.response_headers(origin);
            }
            Err(Refusal::WrongMethod { allowed })
        }
        Found::Nothing => {
            trace.note("route", || format!("no route takes {} on host {}", request.path, request.host));
            Err(Refusal::NoRoute)
        }
    }
}

fn check_cors<F>(
    case: &Case<'_, F>,
    route: &Route,
    profile: Option<&CorsProfile>,
    origin: Option<&Origin>,
    preflight: bool,
    about: &mut About,
    trace: &mut Trace,
) -> Result<CorsVerdict, Refusal> {
    let (Some(origin), Some(profile)) = (origin, profile) else {
        trace.note("cors", || match (origin, profile) {
            (None, Some(profile)) => format!("no Origin header; profile `{}` has nothing to check", profile.name),
            _ => "the route has no CORS profile".into(),
        });
        if profile.is_some() {
            about.cors = cors::vary_only();
        }
        if origin.is_none() && route.require_origin {
            return shadowable(case, route, about, Refusal::OriginRequired).map(|()| CorsVerdict::NotCors);
        }
        // A cross-origin script has no business on a route without a profile, and its preflight must say so.
        return if preflight { Err(Refusal::OriginRefused) } else { Ok(CorsVerdict::NotCors) };
    };
    let verdict = profile.check(origin);
    trace.note("cors", || format!("origin {origin} against profile `{}`: {verdict:?}", profile.name));
    if verdict == CorsVerdict::Refused {
        // Another origin gets another answer; caches must know.
        about.cors = cors::vary_only();
        // A refused preflight stays refused in shadow mode too: a browser would not send the request anyway.
        if preflight {
            return Err(Refusal::OriginRefused);
        }
        return shadowable(case, route, about, Refusal::OriginRefused).map(|()| CorsVerdict::Refused);
    }
    if !preflight {
        about.cors = profile.response_headers(origin);
        return Ok(verdict);
    }
    let header = |name| case.request.single(name).map_err(|_| Refusal::MalformedPreflight);
    let method = header("access-control-request-method")?.unwrap_or_default();
    let asked = header("access-control-request-headers")?.filter(|asked| !asked.is_empty());
    if asked.is_some_and(|asked| !cors::is_header_list(asked)) {
        return Err(Refusal::MalformedPreflight);
    }
    let private_network = header("access-control-request-private-network")? == Some("true");
    about.cors = profile.preflight_headers(origin, method, asked, private_network);
    Ok(verdict)
}

/// Charges the limits of one stage: all of them, or none when one does not fit.
#[expect(clippy::too_many_arguments, reason = "the stage, its rules and whom they count are all the caller's to say")]
async fn charge<F: Facts>(
    case: &Case<'_, F>,
    stage: Stage,
    route: &Route,
    rules: &[Arc<LimitRule>],
    identity: &Identity,
    corpus: Option<&str>,
    about: &mut About,
    trace: &mut Trace,
) -> Result<(), Refusal> {
    let plan = about.plan.clone();
    let subject = Subject { ip: about.client_ip, identity, plan: plan.as_deref(), route: &route.name, corpus };
    let cost = if stage == Stage::Preflight { 1 } else { route.cost };
    let charges = limit::charges(rules, &subject, cost);
    if charges.is_empty() {
        return Ok(());
    }
    let outcome = case.facts.charge(stage, &charges, case.now).await;
    trace.note("limits", || {
        let said = outcome.states.iter().map(|state| {
            format!("{} {} ({} left)", state.name, if state.fits { "fits" } else { "does not fit" }, state.remaining)
        });
        format!("{stage:?}: {}", said.collect::<Vec<_>>().join("; "))
    });
    if outcome.undecidable {
        return Err(Refusal::Undecidable(Undecided::Limits));
    }
    let refused = outcome
        .refusing()
        .map(|state| Refusal::RateLimited { limit: Arc::clone(&state.name), retry_after: state.retry_after });
    about.limits.extend(outcome.states);
    match refused {
        Some(refusal) => shadowable(case, route, about, refusal),
        None => Ok(()),
    }
}

/// A route that serves only public corpora never looks at tokens.
fn looks_at_identity(policy: &Snapshot, route: &Route) -> bool {
    match route.corpus {
        RouteCorpus::None => false,
        RouteCorpus::Auto => true,
        RouteCorpus::Only(index) => policy.corpora.get(index).is_none_or(|corpus| corpus.entitlement.is_some()),
    }
}

/// The caller, and whether a cookie told: a reader with an old cookie is never locked out.
async fn identify<F: Facts>(
    case: &Case<'_, F>,
    route: &Route,
    cors: CorsVerdict,
    about: &mut About,
    trace: &mut Trace,
) -> Result<(Identity, bool), Refusal> {
    let presented = match identity::presented(case.policy, route, case.request, cors) {
        Ok(presented) => presented,
        Err(PresentedFault::Request(fault)) => return Err(Refusal::Malformed(fault)),
        Err(PresentedFault::TwoIdentities) => return Err(Refusal::TwoIdentities),
        Err(PresentedFault::Malformed(fault)) => {
            return invalid_token(case, route, false, fault, about, trace).map(|identity| (identity, false));
        }
    };
    let from_cookie = matches!(presented, Presented::Token { source: TokenSource::Cookie(_), .. });
    let identity = match presented {
        Presented::Nothing => {
            trace.note("identity", || "no credential: anonymous".into());
            Ok(Identity::Anonymous)
        }
        Presented::UncountedCookie => {
            trace.note("identity", || "the cookie does not count: no allowed Origin and no same-site fetch".into());
            about.notes.push(Note::UncountedCookie);
            Ok(Identity::Anonymous)
        }
        Presented::ApiKey(key) => match case.facts.api_key(key, case.now).await {
            Ok(record) => {
                trace.note("identity", || format!("API key {}", record.id));
                about.api_key = Some(record.id.clone());
                Ok(Identity::ApiKey(record))
            }
            Err(ApiKeyFault::StoreUnavailable) => Err(Refusal::Undecidable(Undecided::Entitlements)),
            Err(fault) => {
                trace.note("identity", || fault.to_string());
                shadowable(case, route, about, Refusal::InvalidApiKey).map(|()| Identity::Anonymous)
            }
        },
        Presented::Token { token, source } => {
            match case.facts.verify(token, source, route, case.policy, case.now).await {
                Ok(token) => {
                    trace.note("identity", || format!("member {} of {}", token.member.subject, token.member.issuer));
                    about.member = Some(token.member.clone());
                    Ok(Identity::Member(token))
                }
                Err(fault) => invalid_token(case, route, from_cookie, fault, about, trace),
            }
        }
    };
    identity.map(|identity| (identity, from_cookie))
}

/// A token that does not verify: 401, or anonymous where the route or the kind of session says so.
fn invalid_token<F>(
    case: &Case<'_, F>,
    route: &Route,
    from_cookie: bool,
    fault: TokenFault,
    about: &mut About,
    trace: &mut Trace,
) -> Result<Identity, Refusal> {
    trace.note("identity", || fault.to_string());
    let note = if from_cookie && fault.is_stale_session() {
        Note::StaleSession(fault)
    } else if route.anonymous_on_invalid_token {
        Note::InvalidTokenIgnored(fault)
    } else if fault == TokenFault::NoKeys {
        return Err(Refusal::Undecidable(Undecided::Keys));
    } else {
        return shadowable(case, route, about, Refusal::InvalidToken(fault)).map(|()| Identity::Anonymous);
    };
    about.notes.push(note);
    Ok(Identity::Anonymous)
}

/// Whether entitlements are known.
enum Known {
    Yes(Entitlements),
    /// The store is away and nothing recent enough is cached.
    No,
}

/// The caller's entitlements. Whoever is not in good standing becomes an anonymous caller.
async fn standing<F: Facts>(
    case: &Case<'_, F>,
    route: &Route,
    identity: Identity,
    from_cookie: bool,
    about: &mut About,
    trace: &mut Trace,
) -> Result<(Identity, Known), Refusal> {
    let nobody = |identity| Ok((identity, Known::Yes(Entitlements::default())));
    let (identity, record) = match identity {
        Identity::Anonymous => return nobody(Identity::Anonymous),
        Identity::ApiKey(key) => {
            let record = key.record.clone();
            if key.stale_for.is_some() {
                about.notes.push(Note::Stale);
            }
            (Identity::ApiKey(key), record)
        }
        Identity::Member(token) => match member_record(case, route, &token, from_cookie, about, trace).await? {
            Looked::Record(record) => (Identity::Member(token), record),
            Looked::UnknownMember => return nobody(Identity::Member(token)),
            Looked::NoSession => return nobody(Identity::Anonymous),
            Looked::StoreDown => return Ok((Identity::Member(token), Known::No)),
        },
    };
    if record.suspended {
        trace.note("entitlement", || "the member is suspended: served as anonymous".into());
        about.notes.push(Note::Suspended);
        return nobody(Identity::Anonymous);
    }
    trace.note("entitlement", || describe(&record, case.now));
    about.plan = record.plan;
    Ok((identity, Known::Yes(record.entitlements)))
}

enum Looked {
    Record(MemberRecord),
    UnknownMember,
    /// A revoked token that makes its bearer anonymous.
    NoSession,
    StoreDown,
}

async fn member_record<F: Facts>(
    case: &Case<'_, F>,
    route: &Route,
    token: &VerifiedToken,
    from_cookie: bool,
    about: &mut About,
    trace: &mut Trace,
) -> Result<Looked, Refusal> {
    match case.facts.standing(&token.member, token.id.as_deref(), case.now).await {
        Ok(standing) if standing.token_revoked => {
            // As any token that is not valid: 401, or anonymous where the route or the kind of session says so.
            invalid_token(case, route, from_cookie, TokenFault::Revoked, about, trace)?;
            Ok(Looked::NoSession)
        }
        Ok(standing) => {
            if standing.stale_for.is_some() {
                about.notes.push(Note::Stale);
            }
            match standing.record {
                Some(record) => Ok(Looked::Record(record)),
                None => {
                    trace.note("entitlement", || "the store knows no such member".into());
                    about.notes.push(Note::UnknownMember);
                    Ok(Looked::UnknownMember)
                }
            }
        }
        Err(unavailable) => {
            trace.note("entitlement", || unavailable.to_string());
            about.notes.push(Note::StoreDown);
            Ok(Looked::StoreDown)
        }
    }
}

fn describe(record: &MemberRecord, now: Timestamp) -> String {
    let features = record.entitlements.0.iter().map(|one| {
        let state = if record.entitlements.in_force(&one.feature, now) { "in force" } else { "not in force" };
        format!("{} {state}", one.feature)
    });
    format!("plan {}; {}", record.plan.as_deref().unwrap_or("none"), features.collect::<Vec<_>>().join(", "))
}

/// A corpus that needs an entitlement is opened by an entitlement in force, and by nothing else: shadow mode included.
fn choose_corpora<F>(
    case: &Case<'_, F>,
    route: &Route,
    identity: &Identity,
    standing: &Known,
    open: Vec<Arc<str>>,
    trace: &mut Trace,
) -> Result<Vec<Arc<str>>, Refusal> {
    match route.corpus {
        RouteCorpus::None => Ok(Vec::new()),
        RouteCorpus::Auto => {
            if matches!(standing, Known::No) {
                if case.policy.entitlements.on_store_down == OnStoreDown::Unavailable {
                    return Err(Refusal::Undecidable(Undecided::Entitlements));
                }
                trace.note("corpus", || "entitlements are not known: public corpora only".into());
            }
            Ok(open)
        }
        RouteCorpus::Only(index) => {
            let Some(corpus) = case.policy.corpora.get(index) else {
                return Err(Refusal::Undecidable(Undecided::Policy));
            };
            let Some(entitlement) = &corpus.entitlement else { return Ok(vec![Arc::clone(&corpus.name)]) };
            match (standing, identity) {
                (Known::No, _) => Err(Refusal::Undecidable(Undecided::Entitlements)),
                (Known::Yes(_), _) if open.contains(&corpus.name) => Ok(vec![Arc::clone(&corpus.name)]),
                (Known::Yes(_), Identity::Anonymous) => Err(Refusal::IdentityRequired),
                (Known::Yes(_), Identity::Member(_) | Identity::ApiKey(_)) => {
                    Err(Refusal::MissingEntitlement { entitlement: entitlement.clone() })
                }
            }
        }
    }
}

/// Refuses, unless this route or the whole policy only shadows and the refusal is one that may be: then it is noted.
fn shadowable<F>(case: &Case<'_, F>, route: &Route, about: &mut About, refusal: Refusal) -> Result<(), Refusal> {
    if (case.policy.shadow || route.shadow) && refusal.may_be_shadowed() {
        about.shadowed.get_or_insert(refusal);
        return Ok(());
    }
    Err(refusal)
}

#[cfg(test)]
mod tests;
