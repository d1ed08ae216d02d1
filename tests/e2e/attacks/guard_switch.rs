//! `DOCSGATE_COPILOT_INSECURE_NO_GRANT=false` once turned the guard off, because the variable was there. Its value decides.

use std::path::PathBuf;
use std::process::Command;

use docsgate_harness::copilot::{Docs, verify_key};
use docsgate_harness::process::Launch;
use docsgate_harness::{paths, ready};

use reqwest::blocking::Response;

use crate::gate::{SITE, client, data, eventually, open_folder};

const VARIABLE: &str = "DOCSGATE_COPILOT_INSECURE_NO_GRANT";
const NO: [&str; 6] = ["false", "FALSE", "0", "no", "off", ""];

/// An index, and the keys that copilot needs.
struct Desk {
    folder: tempfile::TempDir,
    artifact: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = open_folder();
        let public =
            Docs { corpus: "public".to_owned(), folder: data().join("docs/public"), site_url: SITE.to_owned() };
        let (artifact, _) = public.index(folder.path()).unwrap();
        std::fs::write(folder.path().join("grant.keys"), format!("k1:{}\n", "0123456789abcdef".repeat(4))).unwrap();
        Self { folder, artifact }
    }

    /// Flags of a server, with or without the key of the gate.
    fn flags(&self, with_key: bool) -> Vec<String> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut flags = vec![
            "serve".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            format!("--corpus=public={}", self.artifact.display()),
            format!("--cache-dir={}", at("cache")),
            format!("--verify-key={}", verify_key(self.folder.path()).display()),
        ];
        if with_key {
            flags.push(format!("--grant-key-file={}", at("grant.keys")));
        }
        flags
    }

    /// Status of a search without a grant, asked of a server that was started like this.
    fn search(&self, flags: &[String], value: &str) -> Response {
        let launch =
            Launch::new("copilot", &program(), self.folder.path().join("copilot.log")).args(flags).env(VARIABLE, value);
        let (process, told) = ready::start(launch, &self.folder.path().join("ready")).unwrap();
        ready::wait_until_serving(&process, &told.url("admin").unwrap()).unwrap();
        let url = format!("{}/api/docs-search?q=mooring", told.url("http").unwrap());
        eventually("an answer", || client().get(&url).send().ok())
    }

    /// What a server that does not start says, with exit code 2.
    fn refused(&self, flags: &[String], value: &str) -> String {
        let output = Command::new(program()).args(flags).env(VARIABLE, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{value}: {said}");
        said
    }
}

fn refused_without_grant(response: Response) {
    let status = response.status();
    let text = response.text().unwrap();
    assert!(status == 403 && text.contains("urn:docsgate:problem:grant_required"), "{status} {text}");
}

fn program() -> PathBuf {
    paths::binary("copilot").unwrap()
}

#[test]
fn a_guard_that_is_said_to_stay_on_stays_on() {
    let desk = Desk::new();
    for value in NO {
        refused_without_grant(desk.search(&desk.flags(true), value));
        let said = desk.refused(&desk.flags(false), value);
        assert!(said.contains("--grant-key-file is missing"), "{value}: {said}");
    }
    let mut flags = desk.flags(true);
    flags.push("--insecure-no-grant=false".to_owned());
    refused_without_grant(desk.search(&flags, "true"));
}

#[test]
fn a_guard_goes_off_only_where_that_is_said_in_plain_words() {
    let desk = Desk::new();
    for value in ["true", "1", "yes"] {
        assert_eq!(desk.search(&desk.flags(false), value).status(), 200, "{value}");
        let said = desk.refused(&desk.flags(true), value);
        assert!(said.contains("contradict each other"), "{value}: {said}");
    }
    for value in ["maybe", "2", "tru"] {
        for with_key in [false, true] {
            let said = desk.refused(&desk.flags(with_key), value);
            assert!(said.contains("expected true or false"), "{value}: {said}");
        }
    }
}

/// The same mistake at the other settings that open something.
#[test]
fn unsigned_artifacts_and_empty_paths_open_nothing() {
    let desk = Desk::new();
    let without =
        |name: &str| -> Vec<String> { desk.flags(true).into_iter().filter(|flag| !flag.starts_with(name)).collect() };
    let start = |flags: &[String], name: &str, value: &str| {
        let output = Command::new(program()).args(flags).env(name, value).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for value in NO {
        let (code, said) = start(&without("--verify-key"), "DOCSGATE_COPILOT_ALLOW_UNSIGNED", value);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--verify-key is missing") && said.contains("--allow-unsigned"), "{said}");
    }
    // An empty variable is one that is not set; an empty flag is a mistake.
    let keys = [("--verify-key", "DOCSGATE_COPILOT_VERIFY_KEY_FILE"), ("--grant-key-file", "DOCSGATE_GRANT_KEY_FILE")];
    for (flag, variable) in keys {
        let (code, said) = start(&without(flag), variable, "");
        assert_eq!(code, Some(2), "{variable}: {said}");
        assert!(said.contains(&format!("{flag} is missing")), "{variable}: {said}");
    }
    for flag in ["--verify-key", "--grant-key-file", "--cache-dir"] {
        let mut flags = without(flag);
        flags.push(format!("{flag}="));
        let (code, said) = start(&flags, "UNUSED", "");
        assert_eq!(code, Some(2), "{flag}: {said}");
        assert!(said.contains("expected a path"), "{flag}: {said}");
    }
}

/// A name that was given up would otherwise drop a switch, or a key, without a word.
#[test]
fn a_variable_by_its_old_name_stops_the_start_and_is_told_the_new_one() {
    let desk = Desk::new();
    let start = |program: &str, flags: &[String], set: &[(&str, &str)]| {
        let mut command = Command::new(paths::binary(program).unwrap());
        let output = command.args(flags).envs(set.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (old, new) in [
        ("COPILOT_ALLOW_UNSIGNED", "DOCSGATE_COPILOT_ALLOW_UNSIGNED"),
        ("COPILOT_VERIFY_KEY_FILE", "DOCSGATE_COPILOT_VERIFY_KEY_FILE"),
        ("COPILOT_METRICS_LISTEN", "DOCSGATE_COPILOT_METRICS_LISTEN"),
    ] {
        for flags in [desk.flags(true), vec!["serve".to_owned()]] {
            let (code, said) = start("copilot", &flags, &[(old, "false")]);
            assert_eq!(code, Some(2), "{old}: {said}");
            assert!(said.contains(&format!("{old} is now {new}")), "{old}: {said}");
        }
    }
    let (code, said) = start("authz", &["serve".to_owned()], &[("DATABASE_LISTEN_URL", "postgres://x")]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("DATABASE_LISTEN_URL is now DOCSGATE_DATABASE_LISTEN_URL"), "{said}");
    // Kubernetes sets variables for every service: names that were never ours mean nothing.
    let help = start("copilot", &["--version".to_owned()], &[("COPILOT_PORT", "tcp://10.0.0.1:80")]);
    assert_eq!(help.0, Some(0), "{}", help.1);
}
