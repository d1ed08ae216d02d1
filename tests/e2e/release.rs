//! Files that only a registry, a container engine or a CI service can run: what they name exists here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use docsgate_harness::paths;
use serde_json::Value;

fn repository() -> PathBuf {
    paths::repository().unwrap()
}

fn yaml(path: &str) -> Value {
    // Compose and workflows use YAML's anchors and merge keys.
    let text = fs::read_to_string(repository().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn stages() -> Vec<String> {
    let text = fs::read_to_string(repository().join("images/Containerfile")).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix("FROM ")?.split_once(" AS ")?.1.to_owned())).collect()
}

#[test]
fn the_compose_file_builds_stages_mounts_files_and_passes_flags_that_exist() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    let mut built = 0;
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten().map(|volume| volume.as_str().unwrap()) {
            let from = volume.split(':').next().unwrap();
            match from.strip_prefix("./") {
                Some(path) => assert!(repository().join(path).exists(), "{name} mounts {volume}"),
                None => assert!(compose["volumes"].get(from).is_some(), "{name}: no volume {from}"),
            }
        }
        for other in service["depends_on"].as_object().into_iter().flatten().map(|(other, _)| other) {
            assert!(services.contains_key(other), "{name} depends on {other}");
        }
        let Some(target) = service["build"]["target"].as_str() else { continue };
        built += 1;
        assert!(stages().contains(&target.to_owned()), "{name}: no stage {target}");
        assert_eq!(service["build"]["dockerfile"], "images/Containerfile");
        let command: Vec<&str> = match service["command"].as_array() {
            Some(words) => words.iter().map(|word| word.as_str().unwrap()).collect(),
            None => vec!["serve"],
        };
        let verbs: Vec<&str> = command.iter().copied().take_while(|word| !word.starts_with(['-', '/'])).collect();
        let help = Command::new(paths::binary(target).unwrap()).args(&verbs).arg("--help").output().unwrap();
        assert!(help.status.success(), "{name}: {verbs:?}");
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in command.iter().filter(|word| word.starts_with("--")).filter(|flag| !flag.is_empty()) {
            let flag = flag.split('=').next().unwrap();
            let known = help.split_whitespace().any(|word| word == flag);
            assert!(flag == "--save" || known, "{name}: {flag}");
        }
        for variable in service["environment"].as_object().into_iter().flatten().map(|(variable, _)| variable) {
            assert!(help.contains(&format!("[env: {variable}")), "{name}: {variable}");
        }
    }
    assert!(built >= 5);
}

#[test]
fn workflows_run_what_is_here() {
    let help =
        Command::new(env!("CARGO")).args(["run", "--quiet", "--package", "xtask", "--", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut checked = 0;
    for name in ["check", "release"] {
        let workflow = yaml(&format!(".github/workflows/{name}.yaml"));
        for (_, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_number(), "a job without a limit");
            for step in job["steps"].as_array().unwrap() {
                if let Some(action) = step["uses"].as_str() {
                    // By commit: a tag can be moved. Which version that is says the comment beside it, which `tidy` demands.
                    let commit = action.rsplit_once('@').map(|(_, commit)| commit).unwrap_or_default();
                    let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                    assert!(pinned, "{action} can be moved");
                }
                let script = step["run"].as_str().unwrap_or_default();
                let words: Vec<&str> = script.split_whitespace().collect();
                for pair in words.windows(3).filter(|three| three[..2] == ["cargo", "xtask"]) {
                    assert!(help.contains(&format!("\n  {} ", pair[2])), "cargo xtask {}", pair[2]);
                    checked += 1;
                }
                for word in words.iter().filter(|word| {
                    ["charts/", "images/", ".ci/"].iter().any(|folder| word.starts_with(folder)) && !word.contains('$')
                }) {
                    assert!(repository().join(word).exists(), "{name}: {word}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 6, "{checked}");
}

/// The build refuses what would not be reproducible, before it needs an engine.
#[test]
fn an_image_build_wants_digests_and_a_version() {
    let digest = format!("base@sha256:{}", "0".repeat(64));
    for (arguments, said) in [
        (vec!["--rust", "rust:1"], "expected an image with its digest"),
        (vec!["--rust", &digest, "--runtime", "gcr.io/distroless/cc-debian12"], "expected an image with its digest"),
        (vec!["--rust", &digest, "--runtime", &digest], "set --registry"),
        (vec!["--rust", &digest, "--runtime", &digest, "--registry", "r", "--tag", "latest"], "latest is not one"),
        (vec!["--what"], "unknown argument: --what"),
    ] {
        let output = Command::new(repository().join("images/build")).args(&arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{arguments:?}: {error}");
    }
}
