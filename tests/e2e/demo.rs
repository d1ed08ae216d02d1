//! `cargo xtask demo` as a newcomer meets it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use docsgate_harness::paths;
use docsgate_harness::process::{Launch, Process};
use rustix::process::Signal;

use crate::gate::{data, open_folder, read};

fn demo(state: &Path, extra: &[&str]) -> Process {
    let docs = data().join("docs");
    Launch::new("demo", &paths::binary("xtask").unwrap(), state.join("../demo.log"))
        .args(["demo", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .arg("--public-docs")
        .arg(docs.join("public"))
        .arg("--member-docs")
        .arg(docs.join("member"))
        .args(extra)
        .env("DOCSGATE_PREBUILT", "1")
        .stop_signal(Signal::INT)
        .spawn()
        .unwrap()
}

fn wait_until_ready(demo: &Process) -> String {
    demo.until("the demo's `ready` line", Duration::from_secs(120), || {
        let text = fs::read_to_string(demo.log()).ok()?;
        text.lines().any(|line| line.starts_with("ready http://127.0.0.1:")).then_some(text)
    })
    .unwrap()
}

/// The variables of `STATE/env`, as a shell reads them.
fn sourced(state: &Path) -> BTreeMap<String, String> {
    let script = format!(". '{}' && env -0", state.join("env").display());
    let output = Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| name.starts_with("DEMO_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn everything_it_prints_works_and_ctrl_c_leaves_nothing() {
    let folder = open_folder();
    let state = folder.path().join("state");
    let demo = demo(&state, &[]);
    let text = wait_until_ready(&demo);
    let variables = sourced(&state);
    for name in [
        "DEMO_URL",
        "DEMO_MEMBER_TOKEN",
        "DEMO_OTHER_TOKEN",
        "DEMO_DATABASE_URL",
        "DEMO_ISSUER_KEY",
        "DEMO_ISSUER",
        "DEMO_AUDIENCE",
        "DEMO_AUTHZ_ADMIN_URL",
        "DEMO_COPILOT_URL",
        "DEMO_ENVOY_ADMIN_URL",
        "DEMO_ENVOY_PID",
        "DEMO_AUTHZ_PID",
        "DEMO_COPILOT_PID",
        "DEMO_POSTGRES_PID",
    ] {
        assert!(variables.get(name).is_some_and(|value| !value.is_empty()), "{name} in {variables:?}");
    }

    // Every printed command, as pasted; the comment above each says what it shows.
    let mut commands = 0;
    for (comment, line) in text.lines().zip(text.lines().skip(1)).filter(|(_, line)| line.starts_with("curl ")) {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {output:?}");
        if let Some(status) =
            comment.rsplit(": ").next().filter(|status| status.len() == 3 && status.parse::<u16>().is_ok())
        {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{comment}: {answer}");
        } else {
            serde_json::from_str::<serde_json::Value>(&answer)
                .unwrap_or_else(|error| panic!("{comment}: {error}: {answer}"));
        }
        commands += 1;
    }
    assert!(commands >= 6, "{text}");

    demo.signal(Signal::INT);
    let status = demo.wait_at_most(Duration::from_secs(60)).expect("the demo ends");
    assert_eq!(status.code(), Some(0), "{}", demo.obituary());
    for (name, pid) in variables.iter().filter(|(name, _)| name.ends_with("_PID")) {
        assert!(!is_running(pid), "{name} {pid} still runs");
    }
}

#[test]
fn a_killed_child_ends_the_demo_which_says_who_and_where_to_look() {
    let folder = open_folder();
    let state = folder.path().join("state");
    let demo = demo(&state, &[]);
    wait_until_ready(&demo);
    let variables = sourced(&state);
    let status = Command::new("kill").args(["-KILL", &variables["DEMO_AUTHZ_PID"]]).status().unwrap();
    assert!(status.success());
    let status = demo.wait_at_most(Duration::from_secs(60)).expect("the demo ends");
    assert_eq!(status.code(), Some(1));
    let text = read(folder.path(), "demo.log");
    assert!(text.contains("authz (process ") && text.contains("signal 9") && text.contains("authz.log"), "{text}");
    for (name, pid) in variables.iter().filter(|(name, _)| name.ends_with("_PID")) {
        assert!(!is_running(pid), "{name} {pid} still runs");
    }
}

#[test]
fn a_killed_demo_takes_everything_with_it() {
    let folder = open_folder();
    let state = folder.path().join("state");
    let demo = demo(&state, &[]);
    wait_until_ready(&demo);
    let variables = sourced(&state);
    demo.signal(Signal::KILL); // the demo alone, not its group
    for (name, pid) in variables.iter().filter(|(name, _)| name.ends_with("_PID")) {
        crate::gate::eventually(&format!("the end of {name}"), || (!is_running(pid)).then_some(()));
    }
}

#[test]
fn mistakes_are_named_in_one_sentence_and_start_nothing() {
    let folder = open_folder();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let broken = folder.path().join("broken.yaml");
    fs::write(&broken, "apiVersion: docsgate/v1\nkind: Policy\nrouts: []\n").unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let (empty, broken) = (empty.to_str().unwrap(), broken.to_str().unwrap());
    let cases: [(&[&str], &[&str], i32); 6] = [
        (&["--no-such-option"], &["--no-such-option"], 2),
        (&["--public-docs", "gone"], &["public docs folder gone does not exist"], 1),
        (&["--public-docs", empty], &["has no document"], 1),
        (&["--policy", "gone.yaml"], &["policy gone.yaml does not exist"], 1),
        (&["--policy", broken], &["broken.yaml", "3", "routs"], 1),
        (&["--listen", &taken], &["already in use", "--listen"], 1),
    ];
    for (arguments, expected, code) in cases {
        let output = Command::new(paths::binary("xtask").unwrap())
            .arg("demo")
            .arg("--state")
            .arg(folder.path().join("state"))
            .args(if arguments[0] == "--listen" { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(if arguments[0] == "--public-docs" {
                vec![]
            } else {
                vec!["--public-docs".into(), data().join("docs/public")]
            })
            .arg("--member-docs")
            .arg(data().join("docs/member"))
            .args(arguments)
            .env("DOCSGATE_PREBUILT", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        for part in expected {
            assert!(text.contains(part), "{arguments:?} should say `{part}`: {text}");
        }
    }
}
