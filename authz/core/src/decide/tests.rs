//! The decision as a whole: a policy compiled from YAML, and written facts. Each test reads as one sentence of the design.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;

use super::*;
use crate::{
    cases::{self, Scene, WrittenFacts, document::StoreDocument},
    decision::Note,
    entitlement::{Membership, StoreUnavailable},
    facts::immediately,
    identity::{self, ApiKeyFault, ApiKeyRecord, Issuer, PresentedToken, TokenFault, VerifiedToken},
    limit::{Charge, StageOutcome},
    policy::{Overrides, PolicyText, compile, diagnostic::render},
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const POLICY: &str = "
apiVersion: docsgate/v1
kind: Policy
cors:
  docs:
    allow_origins: ['https://docs.example.org']
    allow_methods: [GET, POST]
    allow_headers: [authorization]
    allow_credentials: true
issuers:
  learn:
    issuer: https://learn.example.org
    audiences: [docs]
    jwks_file: unused
    algorithms: [EdDSA]
    token_from: [{header: authorization}, {cookie: __Secure-docs}]
api_keys: {}
corpora:
  public: {}
  member: {entitlement: academy}
limits:
  flood: {key: client_ip, rate: 60/min, burst: 10}
  caller: {key: caller, rate: 60/min, burst: 10, tiers: {team: {rate: 600/min, burst: 100}}}
routes:
  - {name: chat, match: {path: /chat, methods: [POST]}, cors: docs, corpus: auto, limits: [flood, caller], cost: 2}
  - {name: search, match: {path: /search, methods: [GET]}, cors: docs, corpus: auto, limits: [flood, caller]}
  - {name: members, match: {path: /members, methods: [GET]}, cors: docs, corpus: member, limits: [flood, caller]}
  - {name: open, match: {path: /open, methods: [GET]}, cors: docs, corpus: public, limits: [flood, caller]}
  - {name: health, match: {path: /healthz}, allow: anyone, limits: [flood, caller]}
";
const MEMBERS: &str = "
  ada: {plan: team, entitlements: [{feature: academy}]}
  ended: {plan: team, entitlements: [{feature: academy, ends: '2027-01-15T08:00:00Z'}]}
  running: {plan: team, entitlements: [{feature: academy, ends: '2027-01-15T08:00:00.000000001Z'}]}
  other: {plan: team, entitlements: [{feature: other}]}
  eve: {plan: team, suspended: true, entitlements: [{feature: academy}]}
";
/// A token of this member, as a scene has it.
const ADA: &str = "token: {subject: ada}";
const FROM_DOCS: &str = "origin: 'https://docs.example.org'";

fn compiled(text: &str) -> Snapshot {
    let file = PolicyText { name: "policy.yaml".into(), text: text.into() };
    compile(&[file], &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found))).snapshot
}

fn scene(request: &str, rest: &str) -> Scene {
    let text = format!("request: {{{request}}}\n{rest}\nmembers:{MEMBERS}api_keys:{MEMBERS}");
    cases::parse_scene(&PolicyText { name: "scene".into(), text }).unwrap_or_else(|found| panic!("{}", render(&found)))
}

fn under(policy: &Snapshot, request: &str, rest: &str) -> Decision {
    cases::play(policy, &scene(request, rest), &mut WrittenFacts::default(), NOW).unwrap().decision
}

/// A request as the fields of a scene, and what else the scene has.
fn ask(request: &str, rest: &str) -> Decision {
    under(&compiled(POLICY), request, rest)
}

/// The outcome in a few words.
fn in_words(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Allow(allow) => format!("allow {}", allow.corpora().join("+")),
        Outcome::Preflight => "preflight".into(),
        Outcome::Refuse(refusal) => format!("{} {}", refusal.status(), refusal.kind()),
    }
}

fn outcome(request: &str, rest: &str) -> String {
    in_words(&ask(request, rest))
}

/// Written facts that tell what was charged, and may not know whether it fits.
struct Charged<'a> {
    facts: &'a WrittenFacts,
    charges: Mutex<Vec<String>>,
    undecidable: bool,
}

impl Facts for Charged<'_> {
    async fn charge(&self, stage: Stage, charges: &[Charge], now: Timestamp) -> StageOutcome {
        let line =
            |charge: &Charge| format!("{stage:?} {} {} cost {}", charge.key.0, charge.allowance.burst(), charge.cost);
        self.charges.lock().unwrap().extend(charges.iter().map(line));
        StageOutcome { undecidable: self.undecidable, ..self.facts.charge(stage, charges, now).await }
    }

    async fn verify(
        &self,
        token: PresentedToken<'_>,
        issuers: &[Arc<Issuer>],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenFault> {
        self.facts.verify(token, issuers, now).await
    }

    async fn membership(&self, token: &VerifiedToken) -> Result<Membership, StoreUnavailable> {
        self.facts.membership(token).await
    }

    async fn api_key(&self, key: &str, now: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        self.facts.api_key(key, now).await
    }
}

/// What a request was charged for, and its outcome.
fn charged(request: &str, rest: &str, undecidable: bool) -> (Vec<String>, String) {
    let (policy, mut facts) = (compiled(POLICY), WrittenFacts::default());
    let view = cases::play(&policy, &scene(request, rest), &mut facts, NOW).unwrap().view;
    let charged = Charged { facts: &facts, charges: Mutex::default(), undecidable };
    let decision = immediately(decide(&policy, &view, &charged, NOW)).unwrap();
    (charged.charges.into_inner().unwrap(), in_words(&decision))
}

#[test]
fn a_member_reads_both_corpora_and_anybody_the_public_one() {
    assert_eq!(outcome(&format!("path: /chat, method: POST, {FROM_DOCS}"), ""), "allow public");
    assert_eq!(outcome("path: /chat, method: POST", ADA), "allow member+public");
    assert_eq!(outcome("path: /members", ADA), "allow member");
    assert_eq!(outcome("path: /open, headers: {authorization: Bearer nonsense}", ""), "allow public");
    assert_eq!(outcome("path: /healthz", ""), "allow ");
}

#[test]
fn no_route_and_wrong_method_are_refused_before_anything_else() {
    assert_eq!(outcome(&format!("path: /nowhere, {FROM_DOCS}"), ADA), "404 no_route");
    let wrong = ask(&format!("path: /chat, {FROM_DOCS}"), "");
    assert_eq!(in_words(&wrong), "405 method_not_allowed");
    assert!(wrong.about.cors.contains(&("access-control-allow-origin", "https://docs.example.org".into())));
    assert!(ask(&format!("path: /nowhere, {FROM_DOCS}"), "").about.cors.is_empty());
}

#[test]
fn origins_are_checked_and_refusals_stay_readable() {
    let foreign = ask("path: /search, origin: 'https://evil.example'", ADA);
    assert_eq!(in_words(&foreign), "403 origin_not_allowed");
    assert_eq!(foreign.about.cors, [("vary", "Origin".to_owned())]);
    let bad = ask(&format!("path: /search, {FROM_DOCS}"), "token: {subject: ada, fault: bad_signature}");
    assert_eq!(in_words(&bad), "401 invalid_token");
    assert!(bad.about.cors.contains(&("access-control-allow-origin", "https://docs.example.org".into())));
    for malformed in ["nonsense", "'https://a https://b'", "''"] {
        assert_eq!(outcome(&format!("path: /search, origin: {malformed}"), ""), "400 malformed_origin", "{malformed}");
    }
    let twice = "path: /search, headers: {origin: ['https://docs.example.org', 'https://docs.example.org']}";
    assert_eq!(outcome(twice, ""), "400 malformed_origin");
}

#[test]
fn a_preflight_belongs_to_the_method_it_asks_for() {
    let preflight = |method: &str| charged(&format!("path: /chat, {FROM_DOCS}, preflight: '{method}'"), "", false);
    let once = vec!["Preflight preflight|ip=198.51.100.7/32 100 cost 1".into()];
    assert_eq!(preflight("POST"), (once, "preflight".into()));
    assert_eq!(preflight("DELETE").1, "405 method_not_allowed");
    assert_eq!(preflight("PO ST").1, "400 malformed_preflight");
    assert_eq!(outcome(&format!("path: /chat, method: OPTIONS, {FROM_DOCS}"), ""), "405 method_not_allowed");
    assert_eq!(outcome("path: /chat, origin: 'https://evil.example', preflight: POST", ""), "403 origin_not_allowed");
    assert_eq!(outcome(&format!("path: /nowhere, {FROM_DOCS}, preflight: POST"), ""), "404 no_route");
}

#[test]
fn identity_is_never_guessed() {
    assert_eq!(outcome("path: /search", "token: {subject: ada}\napi_key: ada"), "400 two_identities");
    let twice = "path: /search, headers: {authorization: [Bearer a, Bearer a]}";
    assert_eq!(outcome(twice, ""), "400 malformed_request");
    assert_eq!(outcome("path: /search", "api_key: ada"), "allow member+public");
    assert_eq!(outcome("path: /search", "api_key: unknown"), "401 invalid_api_key");
    for key in ["", &"k".repeat(identity::MAX_API_KEY_BYTES + 1)] {
        let refused = ask(&format!("path: /search, headers: {{x-api-key: '{key}'}}"), "");
        assert_eq!(in_words(&refused), "401 invalid_api_key", "{} bytes", key.len());
        assert_eq!(refused.about.facts.api_key, Some(Err(ApiKeyFault::Malformed)));
    }
    assert_eq!(outcome("path: /search, headers: {authorization: 'Bearer '}", ""), "401 invalid_token");
    assert_eq!(outcome("path: /search, headers: {authorization: Basic dTpw}", ""), "allow public");
    let oversized = "a".repeat(identity::MAX_TOKEN_BYTES + 1);
    assert_eq!(
        outcome(&format!("path: /search, headers: {{authorization: Bearer {oversized}}}"), ""),
        "401 invalid_token"
    );
}

#[test]
fn a_cookie_counts_only_from_the_site_itself() {
    let cookie = "token: {subject: ada, from: {cookie: __Secure-docs}}";
    assert_eq!(outcome("path: /search", cookie), "allow public");
    assert_eq!(outcome(&format!("path: /search, {FROM_DOCS}"), cookie), "allow member+public");
    assert_eq!(outcome("path: /search, headers: {sec-fetch-site: same-site}", cookie), "allow member+public");
    assert_eq!(outcome("path: /search, headers: {sec-fetch-site: cross-site}", cookie), "allow public");
    let from_docs = |fault: &str| {
        let token = format!("token: {{subject: ada, from: {{cookie: __Secure-docs}}, fault: {fault}}}");
        ask(&format!("path: /search, {FROM_DOCS}"), &token)
    };
    let stale = from_docs("expired");
    assert_eq!(in_words(&stale), "allow public");
    assert_eq!(stale.about.notes, [Note::StaleSession(TokenFault::Expired)]);
    assert_eq!(in_words(&from_docs("bad_signature")), "401 invalid_token");
}

#[test]
fn entitlements_decide_now() {
    for (subject, store, search, members) in [
        ("ended", "up", "allow public", "403 insufficient_entitlement"),
        ("running", "up", "allow member+public", "allow member"),
        ("other", "up", "allow public", "403 insufficient_entitlement"),
        ("ada", "down", "allow public", "503 undecidable"),
        ("eve", "up", "allow public", "401 identity_required"),
        ("nobody", "up", "allow public", "403 insufficient_entitlement"),
    ] {
        let rest = format!("token: {{subject: {subject}}}\nstore: {store}");
        let found = (outcome("path: /search", &rest), outcome("path: /members", &rest));
        assert_eq!(found, (search.to_owned(), members.to_owned()), "{subject}, store {store}");
    }
    assert_eq!(outcome("path: /members", ""), "401 identity_required");
}

#[test]
fn what_is_known_of_a_caller_only_from_before_is_noted_as_stale() {
    for caller in [ADA, "api_key: ada"] {
        let stale = ask("path: /members", &format!("{caller}\nstore: stale"));
        assert_eq!(in_words(&stale), "allow member");
        assert_eq!(stale.about.notes, [Note::Stale]);
        assert_eq!(ask("path: /members", caller).about.notes, []);
    }
}

#[test]
fn limits_are_charged_by_stage_key_tier_and_cost() {
    let (charges, outcome) = charged("path: /chat, method: POST", ADA, false);
    let caller = "Caller caller|member=https://learn.example.org|ada 100 cost 2";
    assert_eq!(charges, ["Flood flood|ip=198.51.100.7/32 10 cost 2", caller]);
    assert_eq!(outcome, "allow member+public");
    assert_eq!(charged("path: /chat, method: POST", ADA, true).1, "503 undecidable");
}

#[test]
fn shadow_mode_lets_go_on_but_never_opens_the_member_corpus() {
    let shadow = compiled(&POLICY.replace("kind: Policy", "kind: Policy\nmode: shadow"));
    let bad = "token: {subject: ada, fault: bad_signature}";
    assert_eq!(in_words(&under(&shadow, "path: /search, origin: 'https://evil.example'", "")), "allow public");
    assert_eq!(in_words(&under(&shadow, "path: /search", bad)), "allow public");
    assert_eq!(in_words(&under(&shadow, "path: /members", bad)), "401 identity_required");
    let (scene, mut facts) = (scene("path: /search", ""), WrittenFacts::default());
    let mut ask = || cases::play(&shadow, &scene, &mut facts, NOW).unwrap().decision;
    for _ in 0..10 {
        assert!(ask().about.shadowed.is_none());
    }
    assert!(matches!(ask().about.shadowed, Some(Refusal::RateLimited { .. })));
}

#[test]
fn the_trace_tells_each_step() {
    let played = cases::play(&compiled(POLICY), &scene("path: /members", ""), &mut WrittenFacts::default(), NOW);
    let mut steps = String::new();
    for step in played.unwrap().steps {
        writeln!(steps, "{}: {}", step.step, step.text).unwrap();
    }
    insta::assert_snapshot!(steps, @r"
    route: GET /members belongs to route `members`
    cors: no Origin header; profile `docs` has nothing to check
    client_ip: 198.51.100.7 counts as 198.51.100.7/32
    limits: Flood: flood fits (9 left)
    identity: no credential: anonymous
    limits: Caller: caller fits (9 left)
    decision: refused with 401: identity_required (Sign in to read this)
    ");
}

#[test]
fn a_revoked_token_is_refused_as_any_invalid_one() {
    let revoked = "token: {subject: ada, revoked: true}";
    assert_eq!(outcome("path: /search", revoked), "401 invalid_token");
    let lenient = POLICY.replace("path: /search, methods: [GET]}", "path: /search}, on_invalid_token: anonymous");
    assert_eq!(in_words(&under(&compiled(&lenient), "path: /search", revoked)), "allow public");
}

/// What the decision rests on stays in it: also for the log, which decides again with nothing else.
#[test]
fn a_decision_holds_what_the_facts_said() {
    let facts = |rest| ask("path: /search", rest).about.facts;
    let member = facts(ADA);
    assert_eq!(member.member().unwrap().subject, "ada");
    assert!(member.membership.unwrap().unwrap().record.is_some() && member.api_key.is_none());
    let forged = facts("token: {subject: ada, fault: bad_signature}");
    assert_eq!((forged.token, forged.membership), (Some(Err(TokenFault::BadSignature)), None), "nobody was looked up");
    assert_eq!(facts("token: {subject: ada}\nstore: down").membership, Some(Err(StoreUnavailable)));
    assert_eq!(facts("api_key: ada").api_key_id(), Some("ada"));
    assert_eq!(facts("api_key: nobody").api_key, Some(Err(ApiKeyFault::Unknown)));
}

/// One caller's token, key and record in every combination.
#[derive(Debug, Clone)]
struct AnyCaller {
    token: Option<(&'static str, Option<&'static str>, bool)>,
    api_key: Option<&'static str>,
    store: StoreDocument,
    suspended: bool,
    entitled: Option<Option<i64>>,
}

fn any_caller() -> impl Strategy<Value = AnyCaller> {
    let source = prop_oneof![Just("{header: authorization}"), Just("{cookie: __Secure-docs}")];
    let fault = proptest::option::of(prop_oneof![Just("bad_signature"), Just("expired"), Just("no_keys")]);
    let token = proptest::option::of((source, fault, any::<bool>()));
    let api_key = proptest::option::of(prop_oneof![Just("reader"), Just("nobody")]);
    let store = prop_oneof![Just(StoreDocument::Up), Just(StoreDocument::Down), Just(StoreDocument::Stale)];
    (token, api_key, store, any::<bool>(), proptest::option::of(proptest::option::of(-2i64..3))).prop_map(
        |(token, api_key, store, suspended, entitled)| AnyCaller { token, api_key, store, suspended, entitled },
    )
}

impl AnyCaller {
    fn scene(&self, request: &str) -> Scene {
        let mut text = format!("request: {{{request}}}\n");
        if let Some((source, fault, revoked)) = self.token {
            let fault = fault.map_or_else(String::new, |fault| format!(", fault: {fault}"));
            writeln!(text, "token: {{subject: reader, from: {source}, revoked: {revoked}{fault}}}").unwrap();
        }
        if let Some(key) = self.api_key {
            writeln!(text, "api_key: {key}").unwrap();
        }
        let ends = self.entitled.flatten().map(|offset| NOW.seconds().saturating_add_signed(offset));
        let ends = ends.map_or_else(String::new, |at| format!(", ends: '{}'", Timestamp::from_seconds(at).rfc3339()));
        let entitlement = if self.entitled.is_some() { format!("{{feature: academy{ends}}}") } else { String::new() };
        for kind in ["members", "api_keys"] {
            let record = format!("{{suspended: {}, entitlements: [{entitlement}]}}", self.suspended);
            writeln!(text, "{kind}: {{reader: {record}}}").unwrap();
        }
        let file = PolicyText { name: "scene".into(), text };
        let parsed = cases::parse_scene(&file).unwrap_or_else(|found| panic!("{}", render(&found)));
        Scene { store: self.store, ..parsed }
    }
}

proptest! {
    /// The first guarantee: whatever is sent and whatever the facts are, the member corpus opens only for a token (or
    /// key) that verifies, of one who is not suspended, with an entitlement in force.
    #[test]
    fn the_member_corpus_opens_for_nobody_else(
        (method, path) in ("GET|POST|OPTIONS|HEAD", "/search|/members|/chat|/open|/healthz|/[a-z./%;2e]{0,12}"),
        (origin, site) in (
            proptest::option::of("https://docs\\.example\\.org|https://evil\\.example|null"),
            proptest::option::of("same-origin|cross-site|none"),
        ),
        other_header in proptest::option::of("authorization: Basic x|authorization: Bearer bad|cookie: __Secure-docs=bad|x-api-key: bad"),
        (caller, shadow) in (any_caller(), any::<bool>()),
    ) {
        let header = |text: Option<String>| text.map_or_else(String::new, |text| format!(", {text}"));
        let from = header(origin.as_ref().map(|origin| format!("origin: '{origin}'")));
        let site_line = site.as_ref().map(|site| format!("sec-fetch-site: {site}"));
        let lines: Vec<String> = site_line.into_iter().chain(other_header).collect();
        let request = format!("method: {method}, path: '{path}'{from}, headers: {{{}}}", lines.join(", "));
        let mode = if shadow { "kind: Policy\nmode: shadow" } else { "kind: Policy" };
        let policy = compiled(&POLICY.replace("kind: Policy", mode));
        let decision = cases::play(&policy, &caller.scene(&request), &mut WrittenFacts::default(), NOW).unwrap().decision;
        if let Outcome::Allow(allow) = &decision.outcome
            && allow.corpora().iter().any(|corpus| &**corpus == "member") {
                let token = caller.token.is_some_and(|(_, fault, revoked)| fault.is_none() && !revoked);
                let key = caller.api_key == Some("reader");
                prop_assert!(token || key, "no credential verified");
                prop_assert!(caller.store != StoreDocument::Down && !caller.suspended, "not in good standing");
                prop_assert!(caller.entitled.is_some_and(|ends| ends.is_none_or(|offset| offset > 0)), "not entitled now");
                if !key && caller.token.is_some_and(|(source, ..)| source.contains("cookie")) {
                    let counts = origin.as_deref() == Some("https://docs.example.org") || site.as_deref() == Some("same-origin");
                    prop_assert!(counts, "the cookie did not count");
                }
            }
    }

    /// Two spellings that a backend undoes alike get one decision: every byte of a path, plain or percent-encoded in
    /// either case, and the host in any case with or without a port.
    #[test]
    fn two_spellings_of_one_request_get_one_decision(
        (method, path) in ("GET|POST", "/(search|members|chat|open|healthz|other|search/)"),
        spelling in proptest::collection::vec(0u8..3, 10),
        host in "[dD][oO][cC][sS](:[1-9][0-9]{0,3})?",
        token in any::<bool>(),
    ) {
        let spelled: String = path.bytes().enumerate().map(|(at, byte)| match spelling.get(at) {
            Some(1) if byte != b'/' => format!("%{byte:02x}"),
            Some(2) if byte != b'/' => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        }).collect();
        let rest = if token { ADA } else { "" };
        let plain = ask(&format!("method: {method}, host: docs, path: '{path}'"), rest);
        let other = ask(&format!("method: {method}, host: '{host}', path: '{spelled}'"), rest);
        prop_assert_eq!(in_words(&plain), in_words(&other), "{} and {}", path, spelled);
        prop_assert_eq!(plain.about.route_name(), other.about.route_name());
    }
}
