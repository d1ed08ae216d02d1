//! Within a release everything that names another thing names one that is there.

use std::collections::BTreeSet;

use docsgate_harness::{authz, paths};
use serde_json::Value;

use super::release::{Release, TABLE, containers};

/// The objects of one release.
struct Objects(Vec<Value>);

impl Objects {
    fn kind<'o>(&'o self, kind: &'o str) -> impl Iterator<Item = &'o Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    fn named(&self, kind: &str, name: &Value) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && &object["metadata"]["name"] == name)
    }

    /// Pod templates (labels and spec) that a selector selects.
    fn selected(&self, selector: &Value) -> Vec<&Value> {
        let selector = selector.as_object().expect("a selector");
        assert!(!selector.is_empty(), "it selects every pod of the namespace");
        let templates = self.0.iter().map(|object| &object["spec"]["template"]).filter(|template| template.is_object());
        templates
            .filter(|template| {
                selector.iter().all(|(name, value)| template["metadata"]["labels"].get(name) == Some(value))
            })
            .collect()
    }
}

fn ports(template: &Value) -> BTreeSet<String> {
    let all = containers(&template["spec"]).filter_map(|container| container["ports"].as_array()).flatten();
    all.map(|port| port["name"].as_str().unwrap().to_owned()).collect()
}

fn releases() -> impl Iterator<Item = (&'static Release, Objects)> {
    TABLE.iter().map(|release| (release, Objects(release.objects())))
}

#[test]
fn selectors_find_pods_and_ports_are_theirs() {
    for (release, objects) in releases() {
        let at = release.name;
        for workload in objects.kind("Deployment") {
            let own = &workload["spec"]["template"]["metadata"]["labels"];
            let chosen = workload["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(chosen.iter().all(|(name, value)| own.get(name) == Some(value)), "{at}");
            assert_eq!(objects.selected(&workload["spec"]["selector"]["matchLabels"]).len(), 1, "{at}: pods of two");
        }
        for service in objects.kind("Service") {
            let pods = objects.selected(&service["spec"]["selector"]);
            for port in service["spec"]["ports"].as_array().unwrap() {
                let target = port["targetPort"].as_str().unwrap();
                assert!(pods.iter().any(|pod| ports(pod).contains(target)), "{at}: {} {target}", service["metadata"]);
            }
        }
        for budget in objects.kind("PodDisruptionBudget") {
            assert_eq!(objects.selected(&budget["spec"]["selector"]["matchLabels"]).len(), 1, "{at}");
        }
        for scaler in objects.kind("HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            let scaled = objects.named(target["kind"].as_str().unwrap(), &target["name"]).expect(at);
            assert!(scaled["spec"]["replicas"].is_null(), "{at}: each upgrade would undo what the autoscaler did");
        }
        for pod in objects.0.iter().map(|object| &object["spec"]["template"]).filter(|pod| pod.is_object()) {
            for spread in pod["spec"]["topologySpreadConstraints"].as_array().into_iter().flatten() {
                assert_eq!(objects.selected(&spread["labelSelector"]["matchLabels"]), [pod], "{at}");
            }
        }
        for ingress in objects.kind("Ingress") {
            for path in ingress["spec"]["rules"][0]["http"]["paths"].as_array().unwrap() {
                let backend = &path["backend"]["service"];
                let service = objects.named("Service", &backend["name"]).expect(at);
                let ports = service["spec"]["ports"].as_array().unwrap();
                assert!(ports.iter().any(|port| port["name"] == backend["port"]["name"]), "{at}");
            }
        }
        for route in objects.kind("HTTPRoute") {
            let backend = &route["spec"]["rules"][0]["backendRefs"][0];
            let service = objects.named("Service", &backend["name"]).expect(at);
            assert_eq!(service["spec"]["ports"][0]["port"], backend["port"], "{at}");
        }
        for monitor in objects.kind("ServiceMonitor") {
            let chosen = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let services = objects.kind("Service").filter(|service| {
                chosen.iter().all(|(name, value)| service["metadata"]["labels"].get(name) == Some(value))
            });
            let services: Vec<&Value> = services.collect();
            assert_eq!(services.len(), 1, "{at}");
            for endpoint in monitor["spec"]["endpoints"].as_array().unwrap() {
                let ports = services[0]["spec"]["ports"].as_array().unwrap();
                assert!(ports.iter().any(|port| port["name"] == endpoint["port"]), "{at} {endpoint}");
            }
        }
    }
}

#[test]
fn network_policies_deny_first_and_open_ports_that_exist() {
    for (release, objects) in releases() {
        let at = release.name;
        let policies: Vec<&Value> = objects.kind("NetworkPolicy").collect();
        if policies.is_empty() {
            assert_eq!(at, "no-network-policies");
            continue;
        }
        let deny = policies.iter().find(|policy| policy["metadata"]["name"] == "docs-deny").expect(at);
        assert_eq!(deny["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]), "{at}");
        assert!(deny["spec"]["ingress"].is_null() && deny["spec"]["egress"].is_null(), "{at}");
        assert_eq!(
            objects.selected(&deny["spec"]["podSelector"]["matchLabels"]).len(),
            objects.kind("Deployment").count()
        );
        for policy in policies {
            let own: Vec<_> = objects.selected(&policy["spec"]["podSelector"]["matchLabels"]);
            assert!(!own.is_empty(), "{at}");
            for rule in policy["spec"]["ingress"].as_array().into_iter().flatten() {
                for port in rule["ports"].as_array().expect("a rule without ports opens all") {
                    let name = port["port"].as_str().unwrap();
                    assert!(own.iter().all(|pod| ports(pod).contains(name)), "{at} {name}");
                    // Envoy answers the ingress, copilot answers Envoy, metrics answer whom the operator named.
                    let peers = rule["from"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let named = peers.iter().all(|peer| peer.as_object().is_some_and(|peer| !peer.is_empty()));
                    assert!(!peers.is_empty() && named, "{at}: {name} is open to everybody");
                    assert!(!name.ends_with("admin"), "{at}: {name} is the operators'");
                }
            }
            for rule in policy["spec"]["egress"].as_array().into_iter().flatten() {
                let ports_of = rule["ports"].as_array().expect("a rule without ports opens all");
                for name in ports_of.iter().filter_map(|port| port["port"].as_str()) {
                    let peer = objects.selected(&rule["to"][0]["podSelector"]["matchLabels"]);
                    assert!(peer.iter().any(|pod| ports(pod).contains(name)), "{at} {name}");
                }
            }
        }
        if objects.kind("Deployment").count() == 2 {
            let copilot = objects.named("NetworkPolicy", &"docs-copilot".into()).expect(at);
            let asked = &copilot["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
            let gate = objects.named("Deployment", &"docs-gate".into()).unwrap();
            assert_eq!(objects.selected(asked), [&gate["spec"]["template"]], "{at}: others than Envoy reach copilot");
        }
    }
}

/// The way to the model's server: one port, to the peers that were named, from copilot's pods, and only where there is a model.
#[test]
fn a_model_opens_the_way_to_its_server_and_no_other() {
    let egress = |release: &Release| -> Vec<Value> {
        let all = Objects(release.objects());
        let policy = all.kind("NetworkPolicy").filter(|policy| {
            let own = all.selected(&policy["spec"]["podSelector"]["matchLabels"]);
            let copilot = |pod: &&Value| containers(&pod["spec"]).any(|container| container["name"] == "copilot");
            !policy["spec"]["egress"].is_null() && own.iter().any(copilot)
        });
        policy.flat_map(|policy| policy["spec"]["egress"].as_array().unwrap().clone()).collect()
    };
    let named = |name: &str| *TABLE.iter().find(|release| release.name == name).unwrap();
    for (with, without, port, to) in [
        ("model", "bare", 443, Value::Null),
        (
            "model-in-the-cluster",
            "apart",
            11434,
            serde_json::json!([{"namespaceSelector": {"matchLabels": {"name": "models"}}}]),
        ),
        ("model-with-external-key", "bare", 8000, Value::Null),
    ] {
        // One rule more than without, also where another one says the same.
        let mut new = egress(&named(with));
        for rule in egress(&named(without)) {
            let place = new.iter().position(|other| *other == rule).expect("a way out is missing");
            new.remove(place);
        }
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(new[0]["ports"], serde_json::json!([{"port": port, "protocol": "TCP"}]));
        assert_eq!(new[0]["to"], to);
    }
}

#[test]
fn volumes_hold_what_is_read_from_them() {
    for (release, objects) in releases() {
        for (workload, pod) in release.pods() {
            let at = format!("{} {workload}", release.name);
            let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
            for volume in &volumes {
                if let Some(name) = volume["configMap"].get("name") {
                    assert!(objects.named("ConfigMap", name).is_some(), "{at}: {name}");
                }
                if let Some(name) = volume["secret"].get("secretName") {
                    secret_comes_from_somewhere(&at, release, &objects, name.as_str().unwrap());
                }
            }
            for container in containers(&pod) {
                let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
                for mount in &mounts {
                    assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{at} {mount}");
                    assert!(mount.get("subPath").is_none(), "a subPath mount never follows a change");
                }
                for path in paths_read(container) {
                    let mount = mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
                    let mount = mount.unwrap_or_else(|| panic!("{at}: nothing is mounted at {path}"));
                    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
                    let Some(name) = volume["configMap"].get("name") else { continue };
                    let file = path.strip_prefix(mount["mountPath"].as_str().unwrap()).unwrap().trim_start_matches('/');
                    let data = objects.named("ConfigMap", name).unwrap()["data"].as_object().unwrap().clone();
                    assert!(
                        if file.is_empty() { data.contains_key("policy.yaml") } else { data.contains_key(file) },
                        "{at} {path}"
                    );
                }
            }
        }
        assert_eq!(objects.kind("Secret").count(), 0, "{}: no secret stands in values", release.name);
    }
}

/// Paths in the arguments and environment of a container.
fn paths_read(container: &Value) -> Vec<String> {
    let arguments = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let environment = container["env"].as_array().into_iter().flatten().filter_map(|entry| entry["value"].as_str());
    let path = |text: &str| {
        let path = text.rsplit_once(['=', ':']).map_or(text, |(_, path)| path);
        (path.starts_with('/') && !text.contains("://")).then(|| path.to_owned())
    };
    arguments.chain(environment).filter_map(path).collect()
}

/// Named by the operator, or made by another object of the release.
fn secret_comes_from_somewhere(at: &str, release: &Release, objects: &Objects, name: &str) {
    let given = release.settings().iter().any(|setting| setting.ends_with(&format!("={name}")));
    let in_files = release.files.iter().any(|file| {
        std::fs::read_to_string(super::release::chart().join(file)).unwrap().contains(&format!(": {name}"))
    });
    let external = objects.kind("ExternalSecret").any(|secret| secret["spec"]["target"]["name"] == name);
    let sealed = objects.kind("SealedSecret").any(|secret| secret["metadata"]["name"] == name);
    assert!(given || in_files || external || sealed, "{at}: nobody makes {name}");
}

/// Arguments and environment are those that the binaries know.
#[test]
fn flags_and_variables_are_those_of_the_binaries() {
    let bin = |name: &str| paths::binary(name).unwrap();
    for (release, _) in releases() {
        for (workload, pod) in release.pods() {
            for container in containers(&pod) {
                let program = match container["name"].as_str().unwrap() {
                    "authz" | "migrate" => "authz",
                    "copilot" => "copilot",
                    _ => continue,
                };
                let arguments: Vec<&str> =
                    container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
                let help = std::process::Command::new(bin(program)).args([arguments[0], "--help"]).output().unwrap();
                // As one line: long ones are wrapped.
                let help = String::from_utf8(help.stdout).unwrap();
                let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
                for flag in &arguments[1..] {
                    let name = flag.split('=').next().unwrap();
                    assert!(help.contains(&format!("{name} ")), "{workload}: {flag}");
                }
                for entry in container["env"].as_array().into_iter().flatten() {
                    let name = entry["name"].as_str().unwrap();
                    // Those of OpenTelemetry are read by its SDK.
                    let known = help.contains(&format!("[env: {name}")) || name.starts_with("OTEL_");
                    assert!(known, "{} {workload}: {name}", release.name);
                }
            }
        }
    }
    assert!(authz::command(&["--version"]).is_ok());
}
