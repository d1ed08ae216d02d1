//! What is shipped is valid, and an edit is felt at once.

use std::fs;

use docsgate_harness::{authz, envoy, paths};

use crate::gate::{Gate, eventually, ok, problem};

/// `edge.yaml` with its certificate, and what joins an Envoy, are validated in `edge.rs`.
#[test]
fn the_real_envoy_accepts_the_shipped_bootstrap() {
    let folder = paths::repository().unwrap().join("envoy");
    envoy::validate(&folder.join("sidecar.yaml")).unwrap_or_else(|error| panic!("{error:#}"));
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["edge-certificate.yaml", "edge.yaml", "join", "sidecar.yaml"], "a file that no test validates");
}

#[test]
fn the_shipped_bootstrap_fails_closed() {
    let text = envoy::shipped().unwrap().to_string();
    assert!(text.contains(r#""failure_mode_allow":false"#), "{text}");
    assert!(text.contains("REJECT_REQUEST"), "{text}");
    assert!(!text.contains(r#""clear_route_cache":true"#), "{text}");
}

#[test]
fn authz_accepts_every_shipped_policy() {
    let mut seen = 0;
    for entry in fs::read_dir(paths::repository().unwrap().join("policies")).unwrap().flatten() {
        let policy = entry.path().join("policy.yaml");
        if policy.is_file() {
            authz::command(&["check", policy.to_str().unwrap()]).unwrap_or_else(|error| panic!("{error:#}"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn a_policy_edit_takes_effect_without_a_restart_and_a_broken_one_changes_nothing() {
    let mut gate = Gate::start();
    let original = gate.stack.policy.original().to_path_buf();
    let good = fs::read_to_string(&original).unwrap();
    let version = |gate: &Gate| {
        let (_, body) = docsgate_harness::http::get(&format!("{}/policy", gate.stack.authz.admin_url)).unwrap();
        body
    };
    let before = version(&gate);

    fs::write(&original, good.replace("routes:", "routes: [oops")).unwrap();
    assert!(gate.stack.policy.refresh().unwrap());
    eventually("the rejection in /policy", || (version(&gate) != before).then_some(()));
    ok(gate.search("tides").send().unwrap());

    let closed = good.replace("https://docs.example.org\"", "https://other.example.org\"");
    assert_ne!(closed, good);
    fs::write(&original, closed).unwrap();
    assert!(gate.stack.policy.refresh().unwrap());
    let refused = eventually("the new policy", || {
        gate.search("tides").header("origin", crate::gate::ORIGIN).send().ok().filter(|answer| answer.status() == 403)
    });
    problem(refused, 403, "origin_not_allowed");
}
