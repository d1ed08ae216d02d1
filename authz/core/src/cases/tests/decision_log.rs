//! The decision log of a fixed list of requests: whatever is rebuilt inside, what operators read and `replay` decides
//! again stays as it is.

use std::fmt::Write as _;

use super::*;
use crate::{
    decide,
    record::{DecisionRecord, RecordedDecision, RecordedFacts, RecordedRequest, RedactedAddresses, SCHEMA},
    replay::{Replay, Replayed},
};

const POLICY: &str = include_str!("decision_log/policy.yaml");
const REQUESTS: &str = include_str!("decision_log/requests.yaml");

fn compiled(text: &str) -> Snapshot {
    let file = PolicyText { name: "policy.yaml".into(), text: text.into() };
    compile(&[file], &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found))).snapshot
}

/// One decision, as the log has it and with the headers of the answer, which it does not have.
struct Line {
    name: String,
    record: DecisionRecord,
    headers: String,
}

fn line(policy: &Snapshot, view: &Result<RequestView, Malformed>, facts: &WrittenFacts, now: Timestamp) -> Line {
    let decision = immediately(decide(policy, view, facts, now)).unwrap();
    let pseudonym = decision.about.facts.member().map(|_| "pseudonym");
    let record = DecisionRecord {
        schema: SCHEMA.into(),
        time: now.rfc3339(),
        id: "case".into(),
        policy: policy.version.to_string(),
        sampled: 1.0,
        truncated: false,
        request: view.as_ref().map_or_else(
            |_| RecordedRequest::malformed(),
            |view| RecordedRequest::of(view, policy, RedactedAddresses::Full),
        ),
        facts: RecordedFacts::of(&decision.about.facts, pseudonym),
        decision: RecordedDecision::of(&decision),
        candidate: None,
        micros: 0,
    };
    let about = &decision.about;
    let mut headers: String =
        about.client_ip.map_or_else(|| "  client_ip: unknown\n".into(), |ip| format!("  client_ip: {}\n", ip.client()));
    for (name, value) in about.cors.iter().cloned().chain(limit::headers(&about.limits)) {
        writeln!(headers, "  {name}: {value}").unwrap();
    }
    if about.noise {
        headers.push_str("  (noise)\n");
    }
    Line { name: String::new(), record, headers }
}

/// Decides every request of every case; each case begins with limits that nobody has used.
fn decide_all(policy: &Snapshot) -> Vec<Vec<Line>> {
    let document = parse(&PolicyText { name: "requests.yaml".into(), text: REQUESTS.into() });
    let document = document.unwrap_or_else(|found| panic!("{}", render(&found)));
    let mut cases: Vec<Vec<Line>> = Vec::new();
    for case in &document.cases {
        let mut facts = WrittenFacts::default();
        let mut now = start(&document, case).unwrap();
        let mut lines = Vec::new();
        for step in case.steps() {
            if let Some(after) = &step.after {
                now = now.plus(parse_duration(after).unwrap());
            }
            let scene = scene(&document, case, &step);
            for _ in 0..step.repeat.unwrap_or(1) {
                let view = request(policy, &scene, &mut facts, now).unwrap();
                lines.push(Line { name: case.name.clone(), ..line(policy, &view, &facts, now) });
            }
        }
        cases.push(lines);
    }
    cases.extend(unwritable(policy));
    cases
}

/// What no case can write down.
fn unwritable(policy: &Snapshot) -> Vec<Vec<Line>> {
    let long = format!("/{}", "a".repeat(9000));
    let huge = format!("Bearer {}", "a".repeat(9000));
    let large_key = "k".repeat(300);
    let peer = "198.51.100.7".parse().ok();
    let raw = |path| RawRequest { id: "case", method: "GET", host: "docs", path, peer, ..RawRequest::default() };
    let with = |name, value| RawRequest { headers: vec![(name, value)], ..raw("/search") };
    let requests = [
        ("a target that is too long", raw(&long)),
        ("too many headers", RawRequest { headers: vec![("x", b"y"); 300], ..raw("/search") }),
        ("an empty path", raw("")),
        ("an origin that is not text", with("origin", b"https://\xff")),
        ("a token that is not text", with("authorization", b"Bearer \xff")),
        ("an oversized token", with("authorization", huge.as_bytes())),
        ("an empty API key", with("x-api-key", b"")),
        ("an oversized API key", with("x-api-key", large_key.as_bytes())),
        ("nobody knows the peer", RawRequest { peer: None, ..raw("/search") }),
        ("nobody knows the peer of noise", RawRequest { peer: None, ..raw("/a//b") }),
    ];
    let now = Timestamp::parse(START).unwrap();
    let one = |(name, raw): (&str, RawRequest<'_>)| {
        vec![Line { name: name.into(), ..line(policy, &RequestView::read(&raw), &WrittenFacts::default(), now) }]
    };
    requests.into_iter().map(one).collect()
}

#[test]
fn the_decision_log_of_a_fixed_list_of_requests_stays_the_same() {
    let policy = compiled(POLICY);
    let cases = decide_all(&policy);
    let mut text = String::new();
    let mut last = None;
    for line in cases.iter().flatten() {
        let record = &line.record;
        // Of a request that is made again, what was asked stands above already.
        let repeated = last.replace((&line.name, &record.request)) == Some((&line.name, &record.request));
        let json = if repeated { serde_json::to_string(&record.decision) } else { serde_json::to_string(record) };
        writeln!(text, "{}\n  {}", line.name, json.unwrap()).unwrap();
        text.push_str(&line.headers);
    }
    insta::assert_snapshot!(text);
}

/// The same requests where refusals are only recorded, and where nobody is served without the store: what differs.
#[test]
fn what_shadow_mode_and_a_strict_store_change_stays_the_same() {
    let enforced = decide_all(&compiled(POLICY));
    let mut text = String::new();
    for setting in ["mode: shadow", "entitlements: {on_store_down: unavailable}"] {
        writeln!(text, "{setting}").unwrap();
        let policy = compiled(&POLICY.replace("kind: Policy\n", &format!("kind: Policy\n{setting}\n")));
        for (line, before) in decide_all(&policy).iter().flatten().zip(enforced.iter().flatten()) {
            let (after, before) = (&line.record.decision, &before.record.decision);
            if after.differs(before) {
                let shadowed = after.shadowed.as_deref().unwrap_or("nothing");
                let (was, is) = (before.in_words(), after.in_words());
                writeln!(text, "  {}: {was} -> {is}, shadowed {shadowed}", line.name).unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_log_of_the_fixed_list_replays_to_the_same_decisions() {
    let policy = compiled(POLICY);
    let mut changed = String::new();
    for case in decide_all(&policy) {
        let mut replay = Replay::new(&policy);
        for line in case {
            match replay.record(&line.record).unwrap() {
                Replayed::Same => {}
                Replayed::Changed(after) => writeln!(changed, "{}: now {}", line.name, after.in_words()).unwrap(),
                replayed => writeln!(changed, "{}: {replayed:?}", line.name).unwrap(),
            }
        }
    }
    // A credential that has no valid form is not in the record, so what it would have been cannot be known.
    insta::assert_snapshot!(changed, @r"
    an empty bearer: now 200 news+public
    a token that is not text: Undetermined
    an oversized token: Undetermined
    ");
}
