//! Commands that need a cluster, held against the rendered chart.

use serde_json::Value;

use crate::chart::release::{Release, chart, containers};

/// Releases that the runbooks speak of.
const RELEASES: [Release; 3] = [
    Release::of("doks", &["values-doks.yaml"], &[]),
    Release::of("rke2", &["values-rke2.yaml"], &[]),
    Release::of("burst", &["values-doks.yaml", "values-burst.yaml"], &[]),
];

/// Checks every name in a block and returns how many there were.
pub(super) fn check(page: &str, block: &str) -> usize {
    let objects: Vec<Value> = RELEASES.iter().flat_map(Release::objects).collect();
    let there = |kind: &str, name: &str| {
        objects.iter().any(|object| {
            let own = object["kind"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(kind));
            own && object["metadata"]["name"] == name
        })
    };
    let mut checked = 0;
    for line in block.replace("\\\n", " ").lines().filter(|line| line.starts_with("kubectl ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(line.contains("-n docs") || line.starts_with("kubectl create namespace docs"), "{page}: {line}");
        for word in &words {
            let Some((kind, name)) = word.split_once('/') else { continue };
            if ["deployment", "service", "configmap"].contains(&kind) {
                assert!(there(kind, name), "{page}: the chart renders no {word}: {line}");
                checked += 1;
            }
        }
        for (kind, marker) in [("configmap", "create configmap "), ("httproute", "get httproute ")] {
            if let Some(name) = line.split_once(marker).map(|(_, rest)| rest.split_whitespace().next().unwrap()) {
                assert!(there(kind, name), "{page}: the chart renders no {kind} {name}");
                checked += 1;
            }
        }
        // `create secret generic NAME …` and `get secret NAME …`: the values files name them.
        let secrets = words.iter().position(|word| *word == "secret").map(|at| &words[at + 1..]).unwrap_or_default();
        for name in secrets.iter().filter(|word| word.starts_with("docsgate-")) {
            let values = ["values-doks.yaml", "values-rke2.yaml"];
            let named = values.iter().any(|file| std::fs::read_to_string(chart().join(file)).unwrap().contains(name));
            assert!(named, "{page}: no values file names the Secret {name}");
            checked += 1;
        }
        if words.contains(&"port-forward") {
            let ports: Vec<u64> = words.iter().filter_map(|word| word.split_once(':')?.1.parse().ok()).collect();
            for port in ports {
                let pods = RELEASES.iter().flat_map(Release::pods);
                // A declared port, or a listener on loopback, which a forwarded port reaches as well.
                let loopback = format!("127.0.0.1:{port}");
                let open = pods.flat_map(|(_, pod)| containers(&pod).cloned().collect::<Vec<_>>()).any(|container| {
                    let items = |field: &str| container[field].as_array().cloned().unwrap_or_default();
                    items("ports").iter().any(|own| own["containerPort"] == port)
                        || items("env").iter().any(|entry| entry["value"] == loopback)
                });
                assert!(open, "{page}: no container has port {port}");
                checked += 1;
            }
        }
    }
    checked
}
