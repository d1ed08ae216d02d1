use super::*;
use crate::{
    cases::{self, WrittenFacts, document::MemberDocument},
    decide,
    facts::immediately,
    policy::{Overrides, PolicyText, Snapshot, compile, diagnostic::render},
    replay::{Replay, Replayed},
};

const POLICY: &str = include_str!("../../../../policies/dev/policy.yaml");

fn policy(text: &str) -> Snapshot {
    let file = PolicyText { name: "policy.yaml".into(), text: text.into() };
    compile(&[file], &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found))).snapshot
}

/// Decides a scene while recording, and returns the line of the log as it was written and read again.
fn line(policy: &Snapshot, scene: &str, addresses: RedactedAddresses) -> DecisionRecord {
    let file = PolicyText { name: "scene".into(), text: scene.into() };
    let mut scene = cases::parse_scene(&file).unwrap_or_else(|found| panic!("{}", render(&found)));
    let academy = serde_json::json!({"plan": "member", "entitlements": [{"feature": "academy"}]});
    scene.members.insert("ada".into(), serde_json::from_value::<MemberDocument>(academy).unwrap());
    let now = Timestamp::parse("2026-01-05T12:00:00Z").unwrap();
    let mut facts = WrittenFacts::default();
    let view = cases::play(policy, &scene, &mut facts, now).unwrap().view.unwrap();
    let view = Ok(view);
    let decision = immediately(decide(policy, &view, &facts, now)).unwrap();
    let record = DecisionRecord {
        schema: SCHEMA.into(),
        time: now.rfc3339(),
        id: "r1".into(),
        policy: policy.version.to_string(),
        sampled: 1.0,
        truncated: false,
        request: RecordedRequest::of(view.as_ref().unwrap(), policy, addresses),
        facts: RecordedFacts::of(&decision.about.facts, Some("pseudonym")),
        decision: RecordedDecision::of(&decision),
        candidate: None,
        micros: 7,
    };
    let text = serde_json::to_string(&record).unwrap();
    for secret in ["written-token", "written-key", "ada", "question", "198.51.100.7"] {
        let kept = addresses == RedactedAddresses::Full && secret.starts_with("198");
        assert!(kept || !text.contains(secret), "{secret} in {text}");
    }
    serde_json::from_str(&text).unwrap()
}

const MEMBER: &str =
    "request: {path: '/api/docs-search?q=question&limit=3', origin: 'http://localhost:8000'}\ntoken: {subject: ada}\n";

#[test]
fn a_record_decides_the_same_again_without_holding_a_secret() {
    let policy = policy(POLICY);
    let scenes = [
        MEMBER,
        "request: {path: '/api/docs-search?q=question'}\n",
        "request: {path: /api/docs-search}\ntoken: {subject: ada, from: {cookie: __Secure-docs}}\n",
        "request: {path: /api/docs-search, headers: {sec-fetch-site: same-origin}}\ntoken: {subject: ada, from: {cookie: __Secure-docs}}\n",
        "request: {path: /api/docs-search}\ntoken: {subject: ada, fault: bad_signature}\n",
        "request: {path: /api/docs-search}\ntoken: {subject: ada}\nstore: down\n",
        "request: {path: /api/docs-search, origin: 'https://evil.example'}\n",
        "request: {path: /api/docs-search}\napi_key: k\napi_keys: {k: {plan: team, entitlements: [{feature: academy}]}}\n",
        "request: {path: /nowhere}\n",
    ];
    for scene in scenes {
        for addresses in [RedactedAddresses::Full, RedactedAddresses::Truncated] {
            let record = line(&policy, scene, addresses);
            let mut replay = Replay::new(&policy);
            assert_eq!(replay.record(&record).unwrap(), Replayed::Same, "{scene}: {record:#?}");
        }
    }
    let record = line(&policy, MEMBER, RedactedAddresses::Truncated);
    assert_eq!(record.decision.corpora, ["member", "public"]);
    assert_eq!(record.request.path, "/api/docs-search?q=&limit=");
    assert_eq!(record.request.peer.as_deref(), Some("198.51.100.0"));
}

#[test]
fn another_policy_changes_what_it_should() {
    let old = policy(POLICY);
    let record = line(&old, MEMBER, RedactedAddresses::Full);
    let new = policy(
        &POLICY
            .replace("entitlement: academy", "entitlement: gold")
            .replace("rate: 300/min, burst: 60", "rate: 1/min, burst: 5"),
    );
    let mut replay = Replay::new(&new);
    let Replayed::Changed(after) = replay.record(&record).unwrap() else { panic!("nothing changed") };
    assert_eq!(after.corpora, ["public"]);
    for _ in 0..5 {
        replay.record(&record).unwrap();
    }
    assert_eq!((replay.summary.records, replay.summary.changed, replay.summary.newly_refused), (6, 6, 1));
    let anonymous = line(&old, "request: {path: /api/docs-search}\ntoken: {subject: ada}\n", RedactedAddresses::Full);
    let mut unasked = anonymous.clone();
    unasked.facts = RecordedFacts::default();
    assert_eq!(Replay::new(&new).record(&unasked).unwrap(), Replayed::Undetermined);
}

#[test]
fn every_refusal_has_a_remedy() {
    let policy = policy(POLICY);
    for (scene, expected) in [
        ("request: {path: /api/docs-serch}\n", "did you mean `/api/docs-search`?"),
        ("request: {path: /api/docs-search, method: PUT}\n", "use one of GET, HEAD"),
        (
            "request: {path: /api/docs-search, origin: 'https://new.example'}\n",
            "add `https://new.example` to `cors.docs.allow_origins`",
        ),
        ("request: {path: /api/docs-search}\ntoken: {subject: ada, fault: audience}\n", "audiences docs"),
        ("request: {path: /api/docs-search}\n", "also open with more: `member` (entitlement `academy`)"),
    ] {
        let scene = cases::parse_scene(&PolicyText { name: "s".into(), text: scene.into() }).unwrap();
        let played = cases::play(&policy, &scene, &mut WrittenFacts::default(), Timestamp::from_seconds(1)).unwrap();
        let remedy = crate::explain::remedy(&policy, played.view.as_ref().ok(), &played.decision).unwrap();
        assert!(remedy.contains(expected), "{remedy}");
    }
}
