//! The chart, for every values file and every switch: rendered by the real Helm, held against published schemas, against
//! itself and against what the binaries accept; and its pod, started as the kubelet would start it.

mod client_address;
mod contradictions;
mod lines_up;
mod pod;

pub(crate) mod release;
pub(crate) mod schemas;

use docsgate_harness::{authz, envoy, paths};
use release::{Release, TABLE, helm};

#[test]
fn every_release_passes_helms_own_lint() {
    for release in TABLE {
        let output = helm(&["lint", "--strict"], release.files, &release.settings());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", release.name);
    }
}

#[test]
fn the_charts_copies_are_current() {
    let repository = paths::repository().unwrap();
    for (copy, original) in [("envoy.yaml", "envoy/sidecar.yaml"), ("policy.yaml", "policies/dev/policy.yaml")] {
        let copied = std::fs::read_to_string(release::chart().join("files").join(copy)).unwrap();
        let written = std::fs::read_to_string(repository.join(original)).unwrap();
        assert!(copied == written, "copy {original} to charts/docsgate/files/{copy}");
    }
}

#[test]
fn every_rendered_configuration_is_what_the_binaries_accept() {
    let (mut bootstraps, mut policies) = (Vec::new(), Vec::new());
    for release in TABLE {
        for map in release.objects().iter().filter(|object| object["kind"] == "ConfigMap") {
            let data = &map["data"];
            if let Some(text) = data["envoy.yaml"].as_str() {
                bootstraps.push((release.name, text.to_owned()));
            }
            if let Some(text) = data["policy.yaml"].as_str() {
                policies.push((release.name, text.to_owned()));
            }
        }
    }
    assert!(bootstraps.len() == TABLE.len() && policies.len() > TABLE.len());
    let folder = tempfile::tempdir().unwrap();
    for (kind, mut texts) in [("envoy", bootstraps), ("policy", policies)] {
        texts.sort_by(|one, other| one.1.cmp(&other.1));
        texts.dedup_by(|one, other| one.1 == other.1);
        assert!(kind != "envoy" || texts.len() > 1, "copilot apart has a bootstrap of its own");
        for (release, text) in texts {
            let file = folder.path().join(format!("{kind}-{release}.yaml"));
            std::fs::write(&file, text).unwrap();
            let accepted = match kind {
                "envoy" => envoy::validate(&file),
                _ => authz::command(&["check", file.to_str().unwrap()]).map(drop),
            };
            accepted.unwrap_or_else(|error| panic!("{release}: {error:#}"));
        }
    }
}

#[test]
fn no_release_asks_for_more_than_pod_security_restricted_allows() {
    for release in TABLE {
        for (workload, pod) in release.pods() {
            let at = format!("{} {workload}", release.name);
            let security = &pod["securityContext"];
            assert_eq!(security["runAsNonRoot"], true, "{at}");
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{at}");
            for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[forbidden].is_null(), "{at}");
            }
            assert_eq!(pod["automountServiceAccountToken"], false, "{at}");
            for container in release::containers(&pod) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{at} {container}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{at}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{at}");
                assert!(security["privileged"].is_null() && security["capabilities"]["add"].is_null(), "{at}");
                for needed in ["cpu", "memory"] {
                    assert!(container["resources"]["requests"][needed].is_string(), "{at}");
                }
                assert!(container["resources"]["limits"]["memory"].is_string(), "{at}");
                let image = container["image"].as_str().unwrap();
                assert!(image.contains('@') || image.rsplit('/').next().unwrap().contains(':'), "{at} {image}");
            }
        }
    }
}

/// What a values file leaves to the operator, and nothing else, is asked for: each with the sentence that says what to set.
#[test]
fn what_is_missing_is_said() {
    let release = Release::of("bare", &[], &[]);
    for (left_out, said) in [
        (
            "grantKeySecret",
            "set grantKeySecret to the name of a Secret with the key grant.keys, or externalSecrets.grantKey",
        ),
        ("image.authz.repository", "set image.authz.repository"),
        ("image.copilot.tag", "set image.copilot.tag or image.copilot.digest"),
        ("copilot.artifacts", "set copilot.artifacts to a volume"),
        ("copilot.verifyKeySecret", "set copilot.verifyKeySecret to the name of a Secret"),
    ] {
        let settings: Vec<String> =
            release.settings().into_iter().filter(|setting| !setting.starts_with(left_out)).collect();
        let output = helm(&["template", "docs"], &[], &settings);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{left_out}: {error}");
    }
}

/// Every value, and every one a level below, is in the chart's README.
#[test]
fn every_value_is_documented() {
    let readme = std::fs::read_to_string(release::chart().join("README.md")).unwrap();
    let values: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(release::chart().join("values.yaml")).unwrap()).unwrap();
    for (name, value) in values.as_object().unwrap() {
        let row = readme.lines().filter(|line| line.contains(&format!("`{name}"))).collect::<String>();
        assert!(!row.is_empty(), "{name} is not in charts/docsgate/README.md");
        for inner in value.as_object().into_iter().flatten().map(|(inner, _)| inner) {
            assert!(row.contains(&format!("{inner}`")), "{name}.{inner} is not in charts/docsgate/README.md");
        }
    }
}
