//! The Argo CD example: its Applications follow the published schema, and what they name renders with the real chart.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use docsgate_harness::{authz, paths, tools};
use serde_json::Value;

use crate::chart::release::chart;
use crate::chart::schemas::faults;

fn example() -> PathBuf {
    paths::repository().unwrap().join("charts/examples/argocd")
}

fn yaml(path: &std::path::Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn overlays() -> Vec<PathBuf> {
    let folder = example().join("apps/docs/docsgate/overlays");
    let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert_eq!(all.len(), 2);
    all
}

#[test]
fn applications_and_the_project_follow_the_published_schemas() {
    let mut objects: Vec<Value> = overlays().iter().map(|overlay| yaml(&overlay.join("application.yaml"))).collect();
    let project = yaml(&example().join("apps/docs/docsgate/base/project.yaml"));
    for application in &objects {
        let spec = &application["spec"];
        assert_eq!(spec["project"], project["metadata"]["name"]);
        for source in spec["sources"].as_array().unwrap() {
            assert!(project["spec"]["sourceRepos"].as_array().unwrap().contains(&source["repoURL"]), "{source}");
        }
        assert_eq!(spec["destination"]["namespace"], project["spec"]["destinations"][0]["namespace"]);
    }
    objects.push(project);
    if let Some(faults) = faults(&objects) {
        panic!("{faults}");
    }
}

#[test]
fn kustomizations_name_files_that_exist() {
    let folders = overlays().into_iter().chain([example().join("apps/docs/docsgate/base")]);
    for folder in folders {
        for resource in yaml(&folder.join("kustomization.yaml"))["resources"].as_array().unwrap() {
            assert!(folder.join(resource.as_str().unwrap()).exists(), "{folder:?} {resource}");
        }
    }
}

#[test]
fn each_application_renders_with_its_values_and_its_policy_holds() {
    for overlay in overlays() {
        let application = yaml(&overlay.join("application.yaml"));
        let source = &application["spec"]["sources"][0];
        assert_eq!(source["path"], "charts/docsgate");
        assert_eq!(application["spec"]["sources"][1]["ref"], "workloads");
        let mut helm = Command::new(tools::helm().unwrap());
        let name = source["helm"]["releaseName"].as_str().unwrap();
        helm.args(["template", name, "--namespace", "docs"]).arg(chart());
        for file in source["helm"]["valueFiles"].as_array().unwrap() {
            let file = file.as_str().unwrap();
            helm.arg("--values").arg(match file.strip_prefix("$workloads/") {
                Some(inside) => example().join(inside),
                None => chart().join(file),
            });
        }
        let output = helm.output().unwrap();
        assert!(output.status.success(), "{overlay:?}: {}", String::from_utf8_lossy(&output.stderr));
        let objects: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
        let policy = objects.iter().find(|object| object["metadata"]["name"] == "docs-policy").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        fs::write(&file, policy["data"]["policy.yaml"].as_str().unwrap()).unwrap();
        authz::command(&["check", "--strict", file.to_str().unwrap()]).unwrap_or_else(|error| panic!("{error:#}"));
    }
}
