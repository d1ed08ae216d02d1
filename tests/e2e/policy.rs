//! Policies in operation: reload under load, the decision log, a candidate, explain and replay.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use docsgate_harness::authz;
use serde_json::Value;

use crate::gate::{Gate, ORIGIN, Wanted, eventually, ok, problem};

fn admin(gate: &Gate, path: &str) -> Value {
    let (_, body) = docsgate_harness::http::get(&format!("{}{path}", gate.stack.authz.admin_url)).unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

#[test]
fn reloads_under_load_drop_no_request_and_forget_no_limit() {
    // The load itself must not reach a limit.
    let policy = Some((|text: &str| text.replace("burst: 10000}", "burst: 10000000}")) as fn(&str) -> String);
    let mut gate = Gate::with(Wanted { policy, ..Wanted::default() });
    // Spend a budget before the reloads.
    let limited = |gate: &Gate| gate.search("tides").header("x-limit", "few").send().unwrap();
    for _ in 0..3 {
        ok(limited(&gate));
    }
    problem(limited(&gate), 429, "rate_limited");

    let original = gate.stack.policy.original().to_path_buf();
    let good = fs::read_to_string(&original).unwrap();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (http, url) = (gate.http.clone(), gate.url("/api/docs-search?q=tides"));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let response = http.get(&url).header("origin", ORIGIN).send().unwrap();
                    assert_eq!(response.status(), 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut versions = vec![admin(&gate, "/policy")["version"].clone()];
    for turn in 0..4 {
        fs::write(&original, format!("{good}\n# edit {turn}\n")).unwrap();
        assert!(gate.stack.policy.refresh().unwrap());
        let before = versions.last().unwrap().clone();
        let version = eventually("the edited policy", || {
            let version = admin(&gate, "/policy")["version"].clone();
            (version != before).then_some(version)
        });
        versions.push(version);
        let so_far = answered.load(Ordering::Relaxed);
        eventually("requests after the swap", || (answered.load(Ordering::Relaxed) > so_far + 8).then_some(()));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    // One request comes back every 20 s: a fresh budget would allow three at once.
    let again = (0..3).filter(|_| limited(&gate).status() == 429).count();
    assert!(again >= 1, "the reloads gave a fresh budget");
}

#[test]
fn a_decision_can_be_explained_replayed_and_compared() {
    let folder = crate::gate::open_folder();
    let log = folder.path().join("decisions.jsonl");
    let candidate = folder.path().join("candidate.yaml");
    let text = fs::read_to_string(crate::gate::data().join("policy.yaml")).unwrap();
    let stricter = text
        .replace("entitlement: academy", "entitlement: gold")
        .replace("https://docs.example.org\"", "https://new.example.org\"");
    assert_ne!(stricter, text);
    fs::write(&candidate, stricter).unwrap();
    let flags = [
        ("--decision-log", log.display().to_string()),
        ("--decision-log-addresses", "full".to_owned()),
        ("--candidate-policy", candidate.display().to_string()),
    ];
    let gate = Gate::with(Wanted {
        authz_extra: flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect(),
        ..Wanted::default()
    });
    let token = gate.member_token();
    ok(gate.search("a private question").header("origin", ORIGIN).bearer_auth(&token).send().unwrap());
    let refused = gate.search("tides").header("origin", "https://evil.example").send().unwrap();
    let id = problem(refused, 403, "origin_not_allowed")["request_id"].as_str().unwrap().to_owned();

    // The candidate was decided beside the policy in force, and says where it differs.
    let report = eventually("the candidate's report", || {
        let report = admin(&gate, "/candidate");
        (report["differing"].as_u64() >= Some(1)).then_some(report)
    });
    assert_eq!(report["differences"][0]["candidate"], "403 origin_not_allowed", "{report:#}");

    // The log has both decisions, without the token, the subject or the question.
    let lines = eventually("the lines of the decision log", || {
        let text = fs::read_to_string(&log).ok()?;
        text.contains(&id).then_some(text)
    });
    for secret in [token.as_str(), crate::gate::MEMBER, "private"] {
        assert!(!lines.contains(secret), "{secret} in {lines}");
    }
    assert!(lines.contains(r#""corpora":["member","public"]"#), "{lines}");

    // The running gate remembers the refusal; it is explained with the policy that made it.
    let policy = gate.stack.policy.served().display().to_string();
    let admin_url = gate.stack.authz.admin_url.clone();
    let said = authz::command(&["explain", "--policy", &policy, "--admin", &admin_url, "--live", &id]).unwrap();
    assert!(said.contains("403 origin_not_allowed") && said.contains("add `https://evil.example`"), "{said}");

    // Replayed through the policy in force nothing changes; through the candidate, the member's request does.
    let log = log.display().to_string();
    let same: Value =
        serde_json::from_str(&authz::command(&["replay", "--output", "json", "--policy", &policy, &log]).unwrap())
            .unwrap();
    assert_eq!((same["changed"].as_u64(), same["undetermined"].as_u64()), (Some(0), Some(0)), "{same:#}");
    let candidate = candidate.display().to_string();
    let arguments = ["replay", "--max-newly-refused", "0.1%", "--policy", &candidate, &log];
    let failed = authz::command(&arguments).unwrap_err().to_string();
    assert!(failed.contains("1 newly refused"), "{failed}");
}

/// The signal makes authz look at once; an unchanged policy stays, and so does the process.
#[test]
fn sighup_makes_authz_look_and_ends_nothing() {
    let mut gate = Gate::start();
    let log = gate.stack.authz.process.log().to_path_buf();
    let looks = || fs::read_to_string(&log).unwrap().matches("policy unchanged").count();
    for turn in 1..=3 {
        gate.stack.authz.process.signal(rustix::process::Signal::HUP);
        eventually("the look that was asked for", || (looks() == turn).then_some(()));
    }
    let original = gate.stack.policy.original().to_path_buf();
    let before = admin(&gate, "/policy")["version"].clone();
    let text = fs::read_to_string(&original).unwrap();
    fs::write(&original, format!("{text}\n# edited\n")).unwrap();
    assert!(gate.stack.policy.refresh().unwrap());
    gate.stack.authz.process.signal(rustix::process::Signal::HUP);
    eventually("the edited policy", || (admin(&gate, "/policy")["version"] != before).then_some(()));
    ok(gate.search("tides").send().unwrap());
}
