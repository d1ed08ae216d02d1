//! The values file and the policy of an environment agree on how the client's address is found: a policy that counts other
//! proxies than there are takes everybody for one client, or believes what a client writes.

use docsgate_harness::paths;
use serde_json::Value;

use super::release::{Release, chart, helm};

/// Each environment that has a values file and a policy.
const ENVIRONMENTS: [(Release, &str); 2] = [
    (Release::of("doks", &["values-doks.yaml"], &[]), "policies/doks/policy.yaml"),
    (Release::of("rke2", &["values-rke2.yaml"], &[]), "policies/rke2/policy.yaml"),
];

fn data<'o>(objects: &'o [Value], key: &str) -> &'o str {
    let maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
    maps.filter_map(|map| map["data"][key].as_str()).next().unwrap_or_else(|| panic!("no ConfigMap has {key}"))
}

#[test]
fn values_and_policy_of_an_environment_count_the_same_proxies() {
    let repository = paths::repository().unwrap();
    for (release, policy) in ENVIRONMENTS {
        let values = release.files[0];
        let set_file = format!("policy={}", repository.join(policy).display());
        let arguments = ["template", "docs", "--namespace", "docs", "--set-file", &set_file];
        let output = helm(&arguments, release.files, &release.settings());
        assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
        let objects: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();

        // One proxy ends TLS and appends to X-Forwarded-For: the ingress controller, or the Gateway's.
        let in_front = objects.iter().filter(|object| object["kind"] == "Ingress" || object["kind"] == "HTTPRoute");
        assert_eq!(in_front.count(), 1, "{values}");
        let rendered: Value = serde_saphyr::from_str(data(&objects, "policy.yaml")).unwrap();
        let client_ip = &rendered["client_ip"];
        assert_eq!(client_ip["trusted_hops"], 1, "{values} with {policy}: {client_ip}");
        assert!(client_ip["trusted_proxies"].is_null(), "{values} with {policy}: {client_ip}");

        // Envoy adds no entry of its own, and the policy does not wait for one.
        let envoy: Value = serde_saphyr::from_str(data(&objects, "envoy.yaml")).unwrap();
        let listener = &envoy["static_resources"]["listeners"][0];
        let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
        let appends = manager["skip_xff_append"] != true;
        assert_eq!(client_ip["envoy_appends"] == true, appends, "{values} with {policy}");

        // What the operator reads at the head of the values file is what the policy says.
        let text = std::fs::read_to_string(chart().join(values)).unwrap();
        let line =
            text.lines().find(|line| line.contains("Policy: ")).unwrap_or_else(|| panic!("{values} names no policy"));
        assert!(line.contains(policy) && line.contains("(trusted_hops: 1)"), "{values}: {line}");
    }
}
