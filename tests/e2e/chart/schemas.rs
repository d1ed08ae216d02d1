//! Every object against the schema that its owner publishes: Kubernetes' own for several versions, and those of custom
//! resources.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use docsgate_harness::system_tool::system_tool;
use docsgate_harness::tools::{Tool, node, python_tool};
use serde_json::Value;

use super::release::TABLE;

/// From the oldest that Chart.yaml allows to the newest that has been published.
const KUBERNETES: [&str; 4] = ["1.30", "1.33", "1.35", "1.37"];

/// Groups of custom resources, and the module that has their published schemas.
pub(crate) const MODULES: &[(&str, &str)] = &[
    ("argoproj.io/", "argo-cd"),
    ("bitnami.com/", "sealed-secrets"),
    ("external-secrets.io/", "external-secrets"),
    ("gateway.envoyproxy.io/", "envoy-gateway"),
    ("gateway.networking.k8s.io/", "gateway-api"),
    ("monitoring.coreos.com/", "prometheus-operator"),
    ("networking.istio.io/", "istio"),
    ("security.istio.io/", "istio"),
    ("traefik.io/", "traefik"),
];

fn module(object: &Value) -> Option<&'static str> {
    let version = object["apiVersion"].as_str().unwrap();
    MODULES.iter().find(|(group, _)| version.starts_with(group)).map(|(_, module)| *module)
}

/// Every different object of every release.
fn objects() -> Vec<Value> {
    let mut all: Vec<Value> = TABLE.iter().flat_map(super::release::Release::objects).collect();
    all.sort_by_cached_key(Value::to_string);
    all.dedup();
    all
}

#[test]
fn kubernetes_own_objects_are_strictly_valid_in_several_versions() {
    let own: Vec<Value> = objects().into_iter().filter(|object| module(object).is_none()).collect();
    assert!(own.len() > 40);
    strictly_valid(&own);
}

/// Holds objects against Kubernetes' own schemas, and the check against a mistake in one of them.
pub(crate) fn strictly_valid(own: &[Value]) {
    let tool = python_tool(Tool::KubernetesValidate).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    let text: String = own.iter().map(|object| format!("---\n{object}\n")).collect();
    for version in KUBERNETES {
        let run = |text: &str| {
            fs::write(&file, text).unwrap();
            let mut validate = Command::new(&tool.python);
            validate.env("PYTHONPATH", &tool.modules).args(["-m", "kubernetes_validate", "-k", version, "--strict"]);
            validate.arg(&file).output().unwrap()
        };
        let output = run(&text);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Kubernetes {version}: {said}");
        // It does find a mistake.
        let broken = text.replacen("\"spec\"", "\"spek\"", 1);
        assert!(broken != text && !run(&broken).status.success());
    }
}

#[test]
fn custom_resources_follow_their_published_schemas() {
    let custom: Vec<Value> = objects().into_iter().filter(|object| module(object).is_some()).collect();
    assert!(custom.len() > 8);
    if let Some(faults) = faults(&custom) {
        panic!("{faults}");
    }
    // It does find a field that does not exist, and a value of another type.
    let route = custom.iter().find(|object| object["kind"] == "HTTPRoute").unwrap();
    for (at, value) in [("/spec/rules/0/backendRefs/0/prot", "80"), ("/spec/hostnames", "one")] {
        let mut broken = route.clone();
        let (parent, key) = at.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[key] = value.into();
        assert!(faults(&[broken]).is_some(), "{at}");
    }
}

/// What the published types (which know every field) and validators (which know every pattern) say against these objects.
pub(crate) fn faults(objects: &[Value]) -> Option<String> {
    let (Some(node), Some(npm)) = (system_tool("node"), system_tool("npm")) else { return None };
    let modules = node::modules(&npm, "crds").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(modules.join("node_modules"), folder.path().join("node_modules")).unwrap();
    fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    let mut program = String::new();
    for (index, object) in objects.iter().enumerate() {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let package = module(object).unwrap_or_else(|| panic!("no schema of {version} is known"));
        let _ = writeln!(
            program,
            "import {{{kind} as K{index}, type I{kind} as I{index}}} from \"@kubernetes-models/{package}/{version}/{kind}\";\n\
             const o{index}: I{index} = {object};\nnew K{index}(o{index}).validate();"
        );
    }
    fs::write(folder.path().join("check.ts"), program).unwrap();
    let compiled = Command::new(&node)
        .arg(modules.join("node_modules/typescript/bin/tsc"))
        .args(["--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "check.ts"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    if !compiled.status.success() {
        return Some(String::from_utf8_lossy(&compiled.stdout).into_owned());
    }
    let ran = Command::new(&node).arg("check.js").current_dir(folder.path()).output().unwrap();
    (!ran.status.success()).then(|| String::from_utf8_lossy(&ran.stderr).into_owned())
}
