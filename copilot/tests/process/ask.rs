//! `copilot ask` and `copilot search`: the server's answers, without a server.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::server::{PROGRAM, build, get, start};

const PAGE: &str = "## Restore a backup\n\nTo restore a backup, run the restore command with the name of the backup:\n\n\
                    ```bash\nhyops restore --from nightly\n```\n\n## Schedule\n\nBackups are made at night.";

/// Exit code, what was printed, and what was complained of.
fn run(arguments: &[&str], index: &Path, text: &str) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    let output = command.args(arguments).arg(index).arg(text).output().unwrap();
    let [printed, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), printed, said)
}

#[tokio::test]
async fn a_question_gets_in_a_terminal_what_a_server_answers() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("public.idx");
    build(folder.path(), "public", PAGE, &index);

    let question = "How do I restore a backup?";
    let (code, printed, said) = run(&["ask"], &index, question);
    assert_eq!((code, said.as_str()), (0, ""), "{printed}");
    assert!(printed.contains("    hyops restore --from nightly\n"), "{printed}");
    assert!(
        printed.contains("[1] Backups › Restore a backup\n    https://docs.example.org/#restore-a-backup"),
        "{printed}"
    );
    assert!(!printed.contains('\x1b'), "there is no terminal");

    let (code, printed, _) = run(&["search"], &index, "restore");
    assert!(code == 0 && printed.starts_with("1. Backups › Restore a backup\n"), "{printed}");

    // As JSON, both are the server's own bodies, but for what only a server knows.
    let server = start(folder.path(), &index, &[]);
    let (code, printed, _) = run(&["ask", "--output", "json"], &index, question);
    let ours: Value = serde_json::from_str(&printed).unwrap();
    let asked = reqwest::Client::new().post(format!("{}/api/docs-chat", server.http));
    let theirs = asked.json(&serde_json::json!({"question": question})).send().await.unwrap();
    let theirs: Value = serde_json::from_str(&theirs.text().await.unwrap()).unwrap();
    assert_eq!(code, 0);
    for (name, value) in ours.as_object().unwrap() {
        assert_eq!(value, &theirs[name], "{name}");
    }
    let (_, printed, _) = run(&["search", "--output", "json"], &index, "restore");
    let ours: Value = serde_json::from_str(&printed).unwrap();
    let (_, theirs) = get(&format!("{}/api/docs-search?q=restore", server.http)).await;
    assert_eq!((&ours["hits"], &ours["total"]), (&theirs["hits"], &theirs["total"]));
}

#[test]
fn no_answer_and_no_artifact_are_told_apart_from_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("public.idx");
    build(folder.path(), "public", PAGE, &index);

    let (code, printed, _) = run(&["ask"], &index, "What is the airspeed velocity of an unladen swallow?");
    assert!(code == 1 && !printed.contains("[1]"), "{printed}");
    let (code, printed, _) = run(&["search"], &index, "xylophone");
    assert_eq!((code, printed.as_str()), (1, "nothing is found\n"));

    let (code, _, said) = run(&["ask"], &folder.path().join("missing.idx"), "How?");
    assert!(code == 1 && said.contains("missing.idx"), "{said}");
    let (code, _, said) = run(&["ask"], &index, " ");
    assert!(code == 2 && said.contains("the question is empty"), "{said}");
    let (code, _, said) = run(&["ask", "--verify-key", "/nowhere"], &index, "How?");
    assert!(code == 2 && said.contains("--verify-key /nowhere"), "{said}");
    let keys = folder.path().join("docs.key");
    let made = Command::new(PROGRAM).args(["index", "keygen", "--out"]).arg(&keys).output().unwrap();
    assert!(made.status.success());
    let (code, _, said) = run(&["ask", "--verify-key", &format!("{}.pub", keys.display())], &index, "How?");
    assert!(code == 1 && said.contains("sign"), "an unsigned artifact is not asked: {said}");
}
