//! What is shipped is valid, and an edit is felt at once.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use docsgate_harness::process::{Launch, Process, hermetic};
use docsgate_harness::{authz, envoy, http, paths, ready};

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

/// What `serve` adds from the environment, the commands that try a policy add too: otherwise they would tell of another policy.
#[test]
fn every_command_sees_the_policy_that_the_environment_makes() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let dev = fs::read_to_string(paths::repository().unwrap().join("policies/dev/policy.yaml")).unwrap();
    fs::write(&policy, dev.replace("kind: Policy\n", "kind: Policy\nallow_env_overrides: true\n")).unwrap();
    let policy = policy.to_str().unwrap();
    let run = |arguments: &[&str], origins: Option<&str>| {
        let mut command = Command::new(paths::binary("authz").unwrap());
        hermetic(&mut command).args(arguments).envs(origins.map(|origins| ("CORS_ALLOW_ORIGIN", origins)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let check = ["check", "--output", "json", policy];
    let url = "http://127.0.0.1:8080/api/docs-search?q=x";
    let explain =
        ["explain", "--output", "json", "--policy", policy, "--url", url, "-H", "origin: https://extra.example"];
    let extra = Some("https://extra.example");

    assert_ne!(run(&check, None)["policies"][0]["version"], run(&check, extra)["policies"][0]["version"]);
    assert!(run(&explain, None).to_string().contains("origin_not_allowed"));
    assert!(!run(&explain, extra).to_string().contains("origin_not_allowed"));
}

#[test]
fn a_policy_edit_takes_effect_without_a_restart_and_a_broken_one_changes_nothing() {
    let mut gate = Gate::start();
    let original = gate.stack.policy.original().to_path_buf();
    let good = fs::read_to_string(&original).unwrap();
    let version = |gate: &Gate| {
        let (_, body) = http::get(&format!("{}/policy", gate.stack.authz.admin_url)).unwrap();
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

/// What `authz serve` must be told, in a folder of its own, beside these variables.
fn serving(folder: &std::path::Path, jwks_url: &str, variables: &[(&str, &str)]) -> Launch {
    let text = fs::read_to_string(crate::gate::data().join("policy.yaml")).unwrap();
    let policy = folder.join("policy.yaml");
    fs::write(&policy, text.replace("https://learn.example.org/.well-known/jwks.json", jwks_url)).unwrap();
    let keys = folder.join("grant.keys");
    fs::write(&keys, format!("k1:{}\n", "0123456789abcdef".repeat(4))).unwrap();
    let mut launch = Launch::new("authz", &paths::binary("authz").unwrap(), folder.join("authz.log"))
        .args(["serve", "--admin-listen", "127.0.0.1:0", "--listen"])
        .arg(format!("unix:{}", folder.join("authz.sock").display()))
        .arg("--policy")
        .arg(policy)
        .arg("--grant-key-file")
        .arg(keys);
    for (name, value) in variables {
        launch = launch.env(name, value);
    }
    launch
}

fn start(folder: &std::path::Path, jwks_url: &str, variables: &[(&str, &str)]) -> (Process, String) {
    let (process, ready) = ready::start(serving(folder, jwks_url, variables), &folder.join("authz.ready")).unwrap();
    let url = ready.url("admin").unwrap();
    (process, url)
}

/// Every variable of `authz` that is a switch, which is one; the next one must be put here.
#[test]
fn a_switch_in_the_environment_is_what_its_value_says() {
    let folder = crate::gate::open_folder();
    let issuer = authz::Issuer::start(folder.path()).unwrap();
    let name = "DOCSGATE_ALLOW_HTTP_JWKS";
    for (value, http_allowed) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("on", true),
        ("false", false),
        ("0", false),
        ("no", false),
        ("Off", false),
        ("", false),
    ] {
        let own = crate::gate::open_folder();
        let (process, admin) = start(own.path(), &issuer.jwks_url, &[(name, value)]);
        let said = eventually("the first fetch", || {
            let (status, text) = http::get(&format!("{admin}/readyz")).unwrap();
            (status == 200 || text.contains("https only")).then_some(text)
        });
        assert_eq!(said == "ready\n", http_allowed, "{name}={value}: {said}");
        drop(process);
    }
    for value in ["maybe", "tru", "2"] {
        let mut authz = Command::new(paths::binary("authz").unwrap());
        let output = hermetic(&mut authz)
            .args(["serve", "--policy", "p", "--grant-key-file", "k"])
            .env(name, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(name) && said.contains("false, 0, no or off") && said.contains(value), "{said}");
    }
}

/// Manifests set a variable to nothing where they have no value: that is a variable that is not set.
#[test]
fn an_empty_variable_is_not_set() {
    let help = authz::command(&["serve", "--help"]).unwrap();
    let variables: BTreeSet<&str> =
        help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    assert!(variables.contains("DATABASE_URL") && variables.len() > 20, "{variables:?}");
    let empty: Vec<(&str, &str)> = variables.into_iter().map(|name| (name, "")).collect();
    let folder = crate::gate::open_folder();
    let issuer = authz::Issuer::start(folder.path()).unwrap();
    let own = crate::gate::open_folder();
    let (process, admin) = start(own.path(), &issuer.jwks_url, &empty);
    let said = eventually("the first fetch", || {
        let (status, text) = http::get(&format!("{admin}/readyz")).unwrap();
        (status == 200 || text.contains("https only")).then_some(text)
    });
    assert!(said.contains("https only"), "no variable allows http: {said}");
    drop(process);
    // Where there must be a value, the message says that there is none.
    let mut authz = Command::new(paths::binary("authz").unwrap());
    let output = hermetic(&mut authz).arg("serve").envs(empty).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--policy") && said.contains("required"), "{said}");
}
