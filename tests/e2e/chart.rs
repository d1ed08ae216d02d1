//! The chart renders to what it should, by the real Helm.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use docsgate_harness::{authz, envoy, paths, tools};
use serde_json::Value;

const COMPLETE: [&str; 8] = [
    "image.authz.repository=registry.example.org/docsgate/authz",
    "image.authz.tag=0.1.0",
    "image.copilot.repository=registry.example.org/docsgate/copilot",
    "image.copilot.tag=0.1.0",
    "grantKeySecret=grant",
    "databaseSecret=database",
    "copilot.artifacts.persistentVolumeClaim.claimName=docs-index",
    "copilot.artifacts.persistentVolumeClaim.readOnly=true",
];

fn chart() -> PathBuf {
    paths::repository().unwrap().join("charts/docsgate")
}

fn helm(arguments: &[&str], settings: &[&str]) -> Output {
    let mut helm = Command::new(tools::helm().unwrap());
    helm.args(arguments).arg(chart());
    for setting in settings {
        helm.args(["--set", setting]);
    }
    helm.output().unwrap()
}

/// Every object that the chart renders.
fn rendered() -> Vec<Value> {
    let output = helm(&["template", "docs"], &COMPLETE);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn object<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn written(folder: &Path, name: &str, text: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text.as_str().unwrap()).unwrap();
    path
}

#[test]
fn the_chart_passes_helms_own_lint() {
    let output = helm(&["lint", "--strict"], &COMPLETE);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_charts_copies_are_current() {
    let repository = paths::repository().unwrap();
    for (copy, original) in [("envoy.yaml", "envoy/sidecar.yaml"), ("policy.yaml", "policies/dev/policy.yaml")] {
        let copied = std::fs::read_to_string(chart().join("files").join(copy)).unwrap();
        let written = std::fs::read_to_string(repository.join(original)).unwrap();
        assert!(copied == written, "copy {original} to charts/docsgate/files/{copy}");
    }
}

#[test]
fn the_rendered_configuration_is_what_the_binaries_accept() {
    let objects = rendered();
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = &object(&objects, "ConfigMap", "docs-envoy")["data"]["envoy.yaml"];
    envoy::validate(&written(folder.path(), "envoy.yaml", bootstrap)).unwrap_or_else(|error| panic!("{error:#}"));
    let policy = &object(&objects, "ConfigMap", "docs-policy")["data"]["policy.yaml"];
    let policy = written(folder.path(), "policy.yaml", policy);
    authz::command(&["check", policy.to_str().unwrap()]).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn selectors_ports_mounts_and_security_line_up() {
    let objects = rendered();
    let deployment = &object(&objects, "Deployment", "docs-gate")["spec"];
    let pod = &deployment["template"]["spec"];
    let labels = deployment["template"]["metadata"]["labels"].as_object().unwrap();
    for selector in [
        &deployment["selector"]["matchLabels"],
        &object(&objects, "Service", "docs-gate")["spec"]["selector"],
        &object(&objects, "PodDisruptionBudget", "docs-gate")["spec"]["selector"]["matchLabels"],
        &object(&objects, "NetworkPolicy", "docs-gate")["spec"]["podSelector"]["matchLabels"],
    ] {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value)));
    }
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let volumes: Vec<&str> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    let containers: Vec<&Value> =
        ["initContainers", "containers"].iter().flat_map(|kind| pod[kind].as_array().unwrap()).collect();
    assert_eq!(containers.len(), 3);
    for container in containers {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"][0], "ALL");
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(volumes.contains(&mount["name"].as_str().unwrap()), "{mount}");
            assert!(mount.get("subPath").is_none(), "a subPath mount never follows a change");
        }
    }
    let service = &object(&objects, "Service", "docs-gate")["spec"]["ports"][0]["targetPort"];
    assert_eq!(&pod["containers"][0]["ports"][0]["name"], service);
}

#[test]
fn values_that_are_missing_or_contradict_are_refused_with_what_to_set() {
    for (left_out, said) in [
        ("grantKeySecret", "set grantKeySecret"),
        ("image.authz.repository", "set image.authz.repository"),
        ("image.copilot.tag", "set image.copilot.tag or image.copilot.digest"),
        ("copilot.artifacts", "set copilot.artifacts"),
    ] {
        let settings: Vec<&str> = COMPLETE.into_iter().filter(|setting| !setting.starts_with(left_out)).collect();
        let output = helm(&["template", "docs"], &settings);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{left_out}: {error}");
    }
    let mut unknown = COMPLETE.to_vec();
    unknown.push("replica=3");
    let error = String::from_utf8_lossy(&helm(&["template", "docs"], &unknown).stderr).into_owned();
    assert!(error.contains("replica"), "{error}");
}
