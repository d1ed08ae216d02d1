//! The decision as a whole, with written facts. Each test reads as one sentence of the design.

use std::{
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    client_ip::ClientIpPolicy,
    corpus::Corpus,
    cors::{DEFAULT_EXPOSED, Names, OriginPattern, OriginSet},
    entitlement::{Entitlement, MemberId, Standing, StoreUnavailable},
    identity::{ApiKeyRecord, TokenFault},
    limit::{Charge, LimitState, Quota, StageOutcome},
    policy::{EntitlementsPolicy, Issuer, KeySource, LimiterPolicy, TokenAlgorithm, document::LimitKeyPart},
    request::RawRequest,
    route::{Matcher, PathMatch, Router},
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const ORIGIN: &str = "https://docs.example.org";

fn limit(name: &str, key: LimitKeyPart) -> Arc<LimitRule> {
    Arc::new(LimitRule {
        name: name.into(),
        key: vec![key],
        quota: Quota { count: 60, window: Duration::from_secs(60), burst: 10 },
        tiers: [("team".to_owned(), Quota { count: 600, window: Duration::from_secs(60), burst: 100 })].into(),
        shadow: false,
        exempt_networks: Vec::new(),
        exempt_api_keys: Vec::new(),
    })
}

fn route(name: &str, path: &str, methods: &[&str], corpus: RouteCorpus) -> Route {
    Route {
        name: name.into(),
        matcher: Matcher {
            path: PathMatch::Exact(path.into()),
            methods: methods.iter().map(ToString::to_string).collect(),
            hosts: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        cors: (corpus != RouteCorpus::None).then_some(0),
        require_origin: false,
        corpus,
        anonymous_on_invalid_token: false,
        issuers: vec![0],
        flood_limits: vec![limit("flood", LimitKeyPart::ClientIp)],
        caller_limits: vec![limit("caller", LimitKeyPart::Caller)],
        cost: 1,
        maintenance: None,
        shadow: false,
    }
}

fn policy() -> Snapshot {
    let public = Corpus { name: "public".into(), entitlement: None };
    let member = Corpus { name: "member".into(), entitlement: Some("academy".into()) };
    Snapshot {
        version: "v1".into(),
        shadow: false,
        allow_env_overrides: false,
        sign_in_url: None,
        client_ip: ClientIpPolicy::default(),
        cors: vec![CorsProfile {
            name: "docs".into(),
            origins: OriginSet::new([OriginPattern::parse(ORIGIN).unwrap()], false),
            anonymous: OriginSet::default(),
            methods: Names::Listed(vec!["GET".into(), "POST".into()]),
            headers: Names::Listed(vec!["authorization".into()]),
            expose: DEFAULT_EXPOSED.map(str::to_owned).into(),
            credentials: true,
            max_age: None,
            private_network: false,
        }],
        issuers: vec![Arc::new(Issuer {
            name: "learn".into(),
            issuer: "https://learn.example.org".into(),
            audiences: vec!["docs".into()],
            keys: KeySource::File("unused".into()),
            algorithms: vec![TokenAlgorithm::EdDSA],
            token_from: vec![TokenSource::Header("authorization".into()), TokenSource::Cookie("__Secure-docs".into())],
            types: Vec::new(),
            required_claims: Vec::new(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(86_400),
            refresh: Duration::from_secs(300),
            max_stale: Duration::from_secs(86_400),
            ready_without_keys: false,
        })],
        api_key_header: Some("x-api-key".into()),
        entitlements: EntitlementsPolicy::default(),
        corpora: vec![public, member],
        limits: Vec::new(),
        limiter: LimiterPolicy::default(),
        preflight_limit: limit("preflight", LimitKeyPart::ClientIp),
        noise_limit: limit("noise", LimitKeyPart::ClientIp),
        router: Router::new(vec![
            route("chat", "/chat", &["POST"], RouteCorpus::Auto),
            route("search", "/search", &["GET"], RouteCorpus::Auto),
            route("members", "/members", &["GET"], RouteCorpus::Only(1)),
            route("open", "/open", &["GET"], RouteCorpus::Only(0)),
            route("health", "/healthz", &[], RouteCorpus::None),
        ]),
    }
}

/// Facts as written down. A token is its own verdict: `good`, or the name of a fault.
#[derive(Debug)]
struct Written {
    standing: Result<Standing, StoreUnavailable>,
    refusing: Option<&'static str>,
    charged: Mutex<Vec<String>>,
}

impl Default for Written {
    fn default() -> Self {
        Self { standing: Ok(member(Some(("academy", None)))), refusing: None, charged: Mutex::default() }
    }
}

fn member(entitlement: Option<(&str, Option<Timestamp>)>) -> Standing {
    let entitlements =
        entitlement.map(|(feature, ends)| Entitlement { feature: feature.into(), starts: Timestamp::default(), ends });
    Standing {
        record: Some(MemberRecord {
            suspended: false,
            plan: Some("team".into()),
            entitlements: Entitlements(entitlements.into_iter().collect()),
        }),
        token_revoked: false,
        stale_for: None,
    }
}

impl Facts for Written {
    async fn charge(&self, stage: Stage, charges: &[Charge], _now: Timestamp) -> StageOutcome {
        let mut states = Vec::new();
        for charge in charges {
            let key = format!("{stage:?} {} {} cost {}", charge.key.0, charge.quota.burst, charge.cost);
            self.charged.lock().unwrap().push(key);
            let fits = self.refusing != Some(charge.rule.name.as_ref());
            states.push(LimitState {
                name: charge.rule.name.clone(),
                quota: charge.quota,
                fits,
                shadow: charge.rule.shadow,
                remaining: if fits { 9 } else { 0 },
                reset_after: Duration::from_secs(1),
                retry_after: if fits { Duration::ZERO } else { Duration::from_millis(1500) },
            });
        }
        StageOutcome { states, undecidable: self.refusing == Some("undecidable") }
    }

    async fn verify(
        &self,
        token: &str,
        _: &TokenSource,
        _: &Route,
        _: &Snapshot,
        _: Timestamp,
    ) -> Result<VerifiedToken, TokenFault> {
        match token {
            "good" => Ok(VerifiedToken {
                member: MemberId { issuer: "https://learn.example.org".into(), subject: "42".into() },
                id: Some("jti".into()),
                expires: NOW.plus(Duration::from_secs(60)),
            }),
            "expired" => Err(TokenFault::Expired),
            "nokeys" => Err(TokenFault::NoKeys),
            _ => Err(TokenFault::BadSignature),
        }
    }

    async fn standing(&self, _: &MemberId, _: Option<&str>, _: Timestamp) -> Result<Standing, StoreUnavailable> {
        self.standing.clone()
    }

    async fn api_key(&self, key: &str, _: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        match (key, &self.standing) {
            ("good", Ok(standing)) => Ok(ApiKeyRecord {
                id: "k1".into(),
                record: standing.record.clone().unwrap(),
                stale_for: standing.stale_for,
            }),
            ("good", Err(_)) => Err(ApiKeyFault::StoreUnavailable),
            _ => Err(ApiKeyFault::Unknown),
        }
    }
}

/// Written facts never wait, so one poll is enough.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("written facts never wait"),
    }
}

fn ask(policy: &Snapshot, facts: &Written, method: &str, path: &str, headers: &[(&str, &str)]) -> Decision {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let peer = Some("203.0.113.9".parse().unwrap());
    let view = RequestView::read(&RawRequest { id: "r", method, host: "docs", path, headers, peer });
    ready(decide(policy, &view, facts, NOW, &mut Trace::recording()))
}

/// The outcome in a few words.
fn said(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Allow(allow) => format!("allow {}", allow.corpora().join("+")),
        Outcome::Preflight => "preflight".into(),
        Outcome::Refuse(refusal) => format!("{} {}", refusal.status(), refusal.kind()),
    }
}

fn outcome(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    said(&ask(&policy(), &Written::default(), method, path, headers))
}

const TOKEN: (&str, &str) = ("authorization", "Bearer good");
const COOKIE: (&str, &str) = ("cookie", "__Secure-docs=good");
const FROM_DOCS: (&str, &str) = ("origin", ORIGIN);

#[test]
fn a_member_reads_both_corpora_and_anybody_the_public_one() {
    assert_eq!(outcome("POST", "/chat", &[FROM_DOCS]), "allow public");
    assert_eq!(outcome("POST", "/chat", &[TOKEN]), "allow member+public");
    assert_eq!(outcome("GET", "/members", &[TOKEN]), "allow member");
    assert_eq!(outcome("GET", "/open", &[("authorization", "Bearer nonsense")]), "allow public");
    assert_eq!(outcome("GET", "/healthz", &[]), "allow ");
}

#[test]
fn no_route_and_wrong_method_are_refused_before_anything_else() {
    assert_eq!(outcome("GET", "/nowhere", &[TOKEN, FROM_DOCS]), "404 no_route");
    let wrong = ask(&policy(), &Written::default(), "GET", "/chat", &[FROM_DOCS]);
    assert_eq!(said(&wrong), "405 method_not_allowed");
    assert!(wrong.about.cors.contains(&("access-control-allow-origin", ORIGIN.into())));
    let unknown = ask(&policy(), &Written::default(), "GET", "/nowhere", &[FROM_DOCS]);
    assert!(unknown.about.cors.is_empty());
}

#[test]
fn origins_are_checked_and_refusals_stay_readable() {
    let foreign = ask(&policy(), &Written::default(), "POST", "/chat", &[("origin", "https://evil.example"), TOKEN]);
    assert_eq!(said(&foreign), "403 origin_not_allowed");
    assert_eq!(foreign.about.cors, [("vary", "Origin".to_owned())]);
    let bad = ask(&policy(), &Written::default(), "POST", "/chat", &[FROM_DOCS, ("authorization", "Bearer bad")]);
    assert_eq!(said(&bad), "401 invalid_token");
    assert!(bad.about.cors.contains(&("access-control-allow-origin", ORIGIN.into())));
    for malformed in ["nonsense", "https://a https://b", ""] {
        assert_eq!(outcome("POST", "/chat", &[("origin", malformed)]), "400 malformed_origin", "{malformed}");
    }
    assert_eq!(outcome("POST", "/chat", &[FROM_DOCS, FROM_DOCS]), "400 malformed_origin");
}

#[test]
fn a_preflight_belongs_to_the_method_it_asks_for() {
    let preflight = |asked| {
        let facts = Written::default();
        let decision =
            ask(&policy(), &facts, "OPTIONS", "/chat", &[FROM_DOCS, ("access-control-request-method", asked)]);
        let charged = facts.charged.lock().unwrap().clone();
        (said(&decision), charged)
    };
    assert_eq!(preflight("POST"), ("preflight".into(), vec!["Preflight preflight|ip=203.0.113.9/32 10 cost 1".into()]));
    assert_eq!(preflight("DELETE").0, "405 method_not_allowed");
    assert_eq!(preflight("PO ST").0, "400 malformed_preflight");
    assert_eq!(outcome("OPTIONS", "/chat", &[FROM_DOCS]), "405 method_not_allowed");
    let asked = ("access-control-request-method", "POST");
    assert_eq!(outcome("OPTIONS", "/chat", &[("origin", "https://evil.example"), asked]), "403 origin_not_allowed");
    assert_eq!(outcome("OPTIONS", "/nowhere", &[FROM_DOCS, asked]), "404 no_route");
}

#[test]
fn identity_is_never_guessed() {
    assert_eq!(outcome("GET", "/search", &[TOKEN, ("x-api-key", "good")]), "400 two_identities");
    assert_eq!(outcome("GET", "/search", &[TOKEN, TOKEN]), "400 malformed_request");
    assert_eq!(outcome("GET", "/search", &[("x-api-key", "good")]), "allow member+public");
    assert_eq!(outcome("GET", "/search", &[("x-api-key", "unknown")]), "401 invalid_api_key");
    assert_eq!(outcome("GET", "/search", &[("authorization", "Bearer ")]), "401 invalid_token");
    assert_eq!(outcome("GET", "/search", &[("authorization", "Basic dTpw")]), "allow public");
    let huge = format!("Bearer {}", "a".repeat(identity::MAX_TOKEN_BYTES + 1));
    assert_eq!(outcome("GET", "/search", &[("authorization", &huge)]), "401 invalid_token");
}

#[test]
fn a_cookie_counts_only_from_the_site_itself() {
    assert_eq!(outcome("GET", "/search", &[COOKIE]), "allow public");
    assert_eq!(outcome("GET", "/search", &[COOKIE, FROM_DOCS]), "allow member+public");
    assert_eq!(outcome("GET", "/search", &[COOKIE, ("sec-fetch-site", "same-site")]), "allow member+public");
    assert_eq!(outcome("GET", "/search", &[COOKIE, ("sec-fetch-site", "cross-site")]), "allow public");
    let stale =
        ask(&policy(), &Written::default(), "GET", "/search", &[FROM_DOCS, ("cookie", "__Secure-docs=expired")]);
    assert_eq!(said(&stale), "allow public");
    assert_eq!(stale.about.notes, [Note::StaleSession(TokenFault::Expired)]);
    assert_eq!(outcome("GET", "/search", &[FROM_DOCS, ("cookie", "__Secure-docs=forged")]), "401 invalid_token");
}

#[test]
fn entitlements_decide_now() {
    let with = |standing: Result<Standing, StoreUnavailable>, path: &str| {
        said(&ask(&policy(), &Written { standing, ..Written::default() }, "GET", path, &[TOKEN]))
    };
    let ended = member(Some(("academy", Some(NOW))));
    assert_eq!(with(Ok(ended.clone()), "/search"), "allow public");
    assert_eq!(with(Ok(ended), "/members"), "403 insufficient_entitlement");
    let running = member(Some(("academy", Some(NOW.plus(Duration::from_nanos(1))))));
    assert_eq!(with(Ok(running), "/members"), "allow member");
    assert_eq!(with(Ok(member(Some(("other", None)))), "/members"), "403 insufficient_entitlement");
    assert_eq!(with(Err(StoreUnavailable), "/search"), "allow public");
    assert_eq!(with(Err(StoreUnavailable), "/members"), "503 undecidable");
    assert_eq!(outcome("GET", "/members", &[]), "401 identity_required");
    let mut suspended = member(Some(("academy", None)));
    suspended.record.as_mut().unwrap().suspended = true;
    assert_eq!(with(Ok(suspended.clone()), "/search"), "allow public");
    assert_eq!(with(Ok(suspended), "/members"), "401 identity_required");
    let revoked = Standing { token_revoked: true, ..member(Some(("academy", None))) };
    assert_eq!(with(Ok(revoked), "/search"), "401 invalid_token");
    let unknown = Standing { record: None, token_revoked: false, stale_for: None };
    assert_eq!(with(Ok(unknown.clone()), "/search"), "allow public");
    assert_eq!(with(Ok(unknown), "/members"), "403 insufficient_entitlement");
}

#[test]
fn what_is_known_of_a_caller_only_from_before_is_noted_as_stale() {
    let stale = Standing { stale_for: Some(Duration::from_secs(60)), ..member(Some(("academy", None))) };
    for caller in [TOKEN, ("x-api-key", "good")] {
        let facts = Written { standing: Ok(stale.clone()), ..Written::default() };
        let decision = ask(&policy(), &facts, "GET", "/members", &[caller]);
        assert_eq!(said(&decision), "allow member");
        assert_eq!(decision.about.notes, [Note::Stale]);
        assert_eq!(ask(&policy(), &Written::default(), "GET", "/members", &[caller]).about.notes, []);
    }
}

#[test]
fn limits_are_charged_by_stage_key_tier_and_cost() {
    let facts = Written::default();
    ask(&policy(), &facts, "POST", "/chat", &[TOKEN]);
    assert_eq!(
        *facts.charged.lock().unwrap(),
        ["Flood flood|ip=203.0.113.9/32 10 cost 1", "Caller caller|member=https://learn.example.org|42 100 cost 1"]
    );
    let refuses = |name| {
        said(&ask(&policy(), &Written { refusing: Some(name), ..Written::default() }, "POST", "/chat", &[TOKEN]))
    };
    assert_eq!(refuses("flood"), "429 rate_limited");
    assert_eq!(refuses("caller"), "429 rate_limited");
    assert_eq!(refuses("undecidable"), "503 undecidable");
}

#[test]
fn shadow_mode_lets_go_on_but_never_opens_the_member_corpus() {
    let mut shadow = policy();
    shadow.shadow = true;
    let said = |headers: &[(&str, &str)], path: &str| said(&ask(&shadow, &Written::default(), "GET", path, headers));
    assert_eq!(said(&[("origin", "https://evil.example")], "/search"), "allow public");
    assert_eq!(said(&[("authorization", "Bearer bad")], "/search"), "allow public");
    assert_eq!(said(&[("authorization", "Bearer bad")], "/members"), "401 identity_required");
    let decision = ask(&shadow, &Written { refusing: Some("flood"), ..Written::default() }, "GET", "/search", &[]);
    assert!(matches!(decision.about.shadowed, Some(Refusal::RateLimited { .. })));
}

#[test]
fn the_trace_tells_each_step() {
    let view =
        RequestView::read(&RawRequest { method: "GET", host: "docs", path: "/members", ..RawRequest::default() });
    let mut trace = Trace::recording();
    ready(decide(&policy(), &view, &Written::default(), NOW, &mut trace));
    let steps: String = trace.steps().iter().map(|step| format!("{}: {}\n", step.step, step.text)).collect();
    insta::assert_snapshot!(steps, @r"
    route: GET /members belongs to route `members`
    cors: no Origin header; profile `docs` has nothing to check
    client_ip: unknown
    limits: Flood: flood fits (9 left)
    identity: no credential: anonymous
    limits: Caller: caller fits (9 left)
    decision: refused with 401: identity_required (Sign in to read this)
    ");
}

#[test]
fn a_revoked_token_is_refused_as_any_invalid_one() {
    let mut standing = member(Some(("academy", None)));
    standing.token_revoked = true;
    let facts = Written { standing: Ok(standing), ..Written::default() };
    let mut policy = policy();
    assert_eq!(said(&ask(&policy, &facts, "GET", "/search", &[TOKEN])), "401 invalid_token");
    let mut lenient = route("search", "/search", &["GET"], RouteCorpus::Auto);
    lenient.anonymous_on_invalid_token = true;
    policy.router = Router::new(vec![lenient]);
    assert_eq!(said(&ask(&policy, &facts, "GET", "/search", &[TOKEN])), "allow public");
}

proptest! {
    /// The first guarantee: whatever is sent and whatever the facts are, the member corpus opens only for a token (or
    /// key) that verifies, in good standing, with an entitlement in force.
    #[test]
    fn the_member_corpus_opens_for_nobody_else(
        method in "GET|POST|OPTIONS|HEAD",
        path in "/search|/members|/chat|/open|/healthz|/[a-z./%;2e]{0,12}",
        authorization in proptest::option::of("Bearer (good|bad|expired|nokeys)|Basic x|good"),
        cookie in proptest::option::of("__Secure-docs=(good|bad|expired)"),
        api_key in proptest::option::of("good|bad"),
        origin in proptest::option::of("https://docs\\.example\\.org|https://evil\\.example|null"),
        site in proptest::option::of("same-origin|cross-site|none"),
        known in any::<bool>(), store in any::<bool>(), suspended in any::<bool>(), revoked in any::<bool>(),
        ends in proptest::option::of(-2i64..3), shadow in any::<bool>(),
    ) {
        let ends_at = ends.map(|offset| Timestamp::from_seconds(NOW.seconds().saturating_add_signed(offset)));
        let mut standing = member(known.then_some(("academy", ends_at)));
        standing.record.as_mut().unwrap().suspended = suspended;
        standing.token_revoked = revoked;
        let facts = Written { standing: if store { Ok(standing) } else { Err(StoreUnavailable) }, ..Written::default() };
        let mut policy = policy();
        policy.shadow = shadow;
        let named = [("authorization", &authorization), ("cookie", &cookie), ("x-api-key", &api_key), ("origin", &origin), ("sec-fetch-site", &site)];
        let headers: Vec<(&str, &str)> = named.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
        let decision = ask(&policy, &facts, &method, &path, &headers);
        if let Outcome::Allow(allow) = &decision.outcome
            && allow.corpora().iter().any(|corpus| &**corpus == "member") {
                let token = authorization.as_deref() == Some("Bearer good")
                    || (cookie.as_deref() == Some("__Secure-docs=good") && !authorization.as_deref().is_some_and(|a| a.starts_with("Bearer")));
                let key = api_key.as_deref() == Some("good");
                prop_assert!(token || key, "no credential verified");
                prop_assert!(store && known && !suspended, "not in good standing");
                prop_assert!(key || !revoked, "the token was revoked");
                prop_assert!(ends.is_none_or(|offset| offset > 0), "the entitlement has ended");
                if !key && authorization.is_none() {
                    prop_assert!(origin.as_deref() == Some(ORIGIN) || site.as_deref() == Some("same-origin"), "the cookie did not count");
                }
            }
    }

    /// Two spellings that a backend undoes alike get one decision: every byte of a path, plain or percent-encoded in
    /// either case, and the host in any case with or without a port.
    #[test]
    fn two_spellings_of_one_request_get_one_decision(
        path in "/(search|members|chat|open|healthz|other|search/)",
        method in "GET|POST",
        spelling in proptest::collection::vec(0u8..3, 10),
        host in "[dD][oO][cC][sS](:[1-9][0-9]{0,3})?",
        token in any::<bool>(),
    ) {
        let spelled: String = path.bytes().enumerate().map(|(at, byte)| match spelling.get(at) {
            Some(1) if byte != b'/' => format!("%{byte:02x}"),
            Some(2) if byte != b'/' => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        }).collect();
        let headers: Vec<(&str, &str)> = if token { vec![TOKEN] } else { vec![] };
        let plain = ask(&policy(), &Written::default(), &method, &path, &headers);
        let raw = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let peer = Some("203.0.113.9".parse().unwrap());
        let view = RequestView::read(&RawRequest { id: "r", method: &method, host: &host, path: &spelled, headers: raw, peer });
        let other = ready(decide(&policy(), &view, &Written::default(), NOW, &mut Trace::off()));
        prop_assert_eq!(said(&plain), said(&other), "{} and {}", path, spelled);
        prop_assert_eq!(plain.about.route, other.about.route);
    }
}
