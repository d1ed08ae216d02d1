//! Starts, switches indexes under load, refuses bad artifacts, drains.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};

use serde_json::Value;

use crate::server::{PROGRAM, Seen, build, get, load, replace, start, until};

fn paths(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    (folder.join("one.docsgate"), folder.join("two.docsgate"), folder.join("live.docsgate"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_replaced_under_load_without_a_failed_or_mixed_response() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, live) = paths(folder.path());
    build(folder.path(), "public", "Backups are kept for alpha days in the first edition.", &one);
    build(folder.path(), "public", "Backups are kept for omega days in the second edition.", &two);
    replace(&one, &live);
    let server = start(folder.path(), &live, &[]);
    until(&format!("{}/readyz", server.admin), |status, _| status == 200).await;

    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
    let url = format!("{}/api/docs-search?q=backups+kept+days", server.http);
    let workers: Vec<_> =
        (0..4).map(|_| tokio::spawn(load(url.clone(), Arc::clone(&stop), Arc::clone(&seen)))).collect();
    let search = format!("{}/api/docs-search?q=edition", server.http);
    let first = until(&search, |status, _| status == 200).await["index_version"].clone();
    replace(&two, &live);
    let second = until(&search, |_, body| body["index_version"] != first).await["index_version"].clone();
    // Back again: a rollback is one more publication.
    replace(&one, &live);
    until(&search, |_, body| body["index_version"] == first).await;
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for worker in workers {
        answered += worker.await.unwrap();
    }
    assert!(answered > 20, "only {answered} requests were made");
    let expected: BTreeSet<(String, String)> = [(&first, "alpha"), (&second, "omega")]
        .into_iter()
        .map(|(version, text)| (version.as_str().unwrap().to_owned(), text.to_owned()))
        .collect();
    assert_eq!(*seen.lock().unwrap(), expected, "every response is of one edition and names it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_artifacts_are_refused_and_the_last_good_one_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, live) = paths(folder.path());
    build(folder.path(), "public", "Backups are kept for alpha days.", &one);
    build(folder.path(), "member", "Backups are kept for secret days.", &two);
    let server = start(folder.path(), &live, &[]);
    let ready = format!("{}/readyz", server.admin);
    let named = |status: u16, body: &Value| status == 503 && body["reasons"][0].to_string().contains("live.docsgate");
    until(&ready, named).await;
    assert_eq!(get(&format!("{}/api/docs-search?q=backups", server.http)).await.0, 503);

    replace(&one, &live);
    until(&ready, |status, _| status == 200).await;
    let whole = fs::read(&one).unwrap();
    let bad = folder.path().join("bad");
    for (name, bytes) in [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("garbage", b"this is no artifact".to_vec()),
        ("another corpus", fs::read(&two).unwrap()),
    ] {
        fs::write(&bad, bytes).unwrap();
        replace(&bad, &live);
        let state = until(&ready, |_, body| body["corpora"][0]["fault"].is_string()).await;
        assert_eq!(state["ready"], true, "{name}: {state}");
        let (status, body) = get(&format!("{}/api/docs-search?q=backups+kept", server.http)).await;
        assert_eq!(status, 200, "{name}");
        assert!(body["hits"][0]["snippet"].as_str().unwrap().contains("alpha"), "{name}: {body}");
        replace(&one, &live);
        until(&ready, |_, body| body["corpora"][0]["fault"].is_null()).await;
    }
    let metrics = reqwest::get(format!("{}/metrics", server.admin)).await.unwrap().text().await.unwrap();
    let refused = r#"docsgate_copilot_artifact_refusals_total{corpus="public",reason="wrong_corpus"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_artifacts_are_refused_when_a_key_is_set_and_a_stopped_server_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _, _) = paths(folder.path());
    build(folder.path(), "public", "Backups are kept.", &one);
    let key = folder.path().join("key.pub");
    fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let mut server = start(folder.path(), &one, &["--verify-key", &key.display().to_string()]);
    let ready = format!("{}/readyz", server.admin);
    let state = until(&ready, |_, body| body["corpora"][0]["fault"].is_string()).await;
    assert!(state["reasons"][0].as_str().unwrap().contains("not signed"), "{state}");
    let told = Command::new("kill").arg("-TERM").arg(server.child.id().to_string()).status().unwrap();
    assert!(told.success());
    assert!(server.child.wait().unwrap().success(), "SIGTERM ends with exit code 0");
}

#[test]
fn wrong_settings_end_with_a_sentence_and_exit_code_2() {
    let cases: [(&[&str], &str); 13] = [
        (&["serve", "--insecure-no-grant", "--corpus", "public"], "expected NAME=SOURCE"),
        (&["serve", "--insecure-no-grant", "--corpus", "a=x", "--corpus", "a=y"], "given twice"),
        (&["serve", "--grant-key-file", "no-such-file", "--corpus", "a=x"], "--grant-key-file"),
        (&["serve", "--corpus", "a=x"], "--grant-key-file is missing"),
        (&["serve", "--corpus", "a=x", "--insecure-no-grant=maybe"], "expected true or false"),
        (&["serve", "--corpus", "a=x", "--insecure-corpora", "a"], "needs --insecure-no-grant"),
        (&["serve", "--corpus", "a=x", "--insecure-no-grant"], "--verify-key is missing"),
        (
            &["serve", "--corpus", "a=x", "--insecure-no-grant", "--verify-key", "no-such-file"],
            "--verify-key no-such-file",
        ),
        (&["serve", "--corpus", "a=x", "--insecure-no-grant", "--verify-key="], "expected a path"),
        (
            &["serve", "--corpus", "a=x", "--insecure-no-grant", "--allow-unsigned", "--min-sequence", "b=1"],
            "no corpus b",
        ),
        (&["index", "publish", "--refresh", "--to", "x", "--valid-for", "soon"], "expected a time such as 90d"),
        (&["index", "build", ".", "--site-url", "docs.example.org", "--out", "x"], "--site-url"),
        (&["index", "build", "src", "--out", "x"], "--site-url is missing"),
    ];
    for (args, expected) in cases {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

/// What readers asked in vain is told to the docs team, without who asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unanswered_questions_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("public.docsgate");
    build(folder.path(), "public", "Backups are kept for ten days.", &artifact);
    let server = start(folder.path(), &artifact, &[]);
    until(&format!("{}/readyz", server.admin), |status, _| status == 200).await;
    for question in ["zebra+crossing", "Zebra++crossing", "quagga", "backups"] {
        assert_eq!(get(&format!("{}/api/docs-search?q={question}", server.http)).await.0, 200);
    }
    let asked = reqwest::Client::new()
        .post(format!("{}/api/docs-chat", server.http))
        .json(&serde_json::json!({"question": "Who painted the ceiling?"}))
        .send();
    assert_eq!(asked.await.unwrap().status(), 200);
    let report = |extra: &'static [&'static str]| {
        let admin = server.admin.clone();
        tokio::task::spawn_blocking(move || {
            Command::new(PROGRAM).args(["report", "unanswered", "--admin", &admin]).args(extra).output().unwrap()
        })
    };
    let output = report(&["--output", "json"]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&rows[0]["question"], &rows[0]["count"]), (&"zebra crossing".into(), &2.into()), "{rows:#}");
    let all = rows.as_array().unwrap();
    assert!(all.iter().any(|row| row["kind"] == "chat" && row["question"] == "who painted the ceiling?"), "{rows:#}");
    assert!(!all.iter().any(|row| row["question"] == "backups"), "{rows:#}");
    let text = String::from_utf8(report(&["--limit", "1"]).await.unwrap().stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    drop(server);
    let away = Command::new(PROGRAM).args(["report", "unanswered", "--admin", "http://127.0.0.1:9"]).output().unwrap();
    assert_eq!(away.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&away.stderr).contains("expected the admin listener"));
}
