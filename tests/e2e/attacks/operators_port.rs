//! Whoever reaches the port that Prometheus scrapes could read who asked what, and make the gate read its policy again; a web
//! page in an operator's browser could do so over loopback. Metrics and probes have a listener of their own, and the
//! operators' one answers operators.

use docsgate_harness::authz;
use docsgate_harness::copilot::{self, Copilot};
use reqwest::Method;
use serde_json::Value;

use crate::chart::release::{TABLE, containers};
use crate::gate::{Gate, Wanted, header};

const OF_AUTHZ: [(Method, &str); 6] = [
    (Method::GET, "/policy"),
    (Method::POST, "/policy/reload"),
    (Method::GET, "/decisions"),
    (Method::GET, "/decisions/4f1c1b9e-6a53-4c0e-9a5e-0b9a9f2a3f11"),
    (Method::GET, "/limits"),
    (Method::GET, "/candidate"),
];
const OF_COPILOT: [(Method, &str); 1] = [(Method::GET, "/unanswered")];
const PROBES: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// The address that a process reported for a listener.
fn listener(gate: &Gate, file: &str, name: &str) -> String {
    let ready: Value = serde_json::from_str(&crate::gate::read(gate.folder.path(), file)).unwrap();
    format!("http://{}", ready["listeners"][name].as_str().unwrap())
}

/// Metrics and probes and nothing else at `metrics`; at `operators` all of it, for those who are no page.
fn check(gate: &Gate, metrics: &str, operators: &str, own: &[(Method, &str)]) {
    for path in PROBES {
        for listener in [metrics, operators] {
            let answer =
                gate.http.get(format!("{listener}{path}")).header("host", "docs-gate.docs.svc").send().unwrap();
            assert_eq!(answer.status(), 200, "{listener}{path}");
        }
    }
    for (method, path) in own {
        let send = |listener: &str, name: &str, value: &str| {
            let request = gate.http.request(method.clone(), format!("{listener}{path}"));
            let answer = request.header(name, value).send().unwrap();
            let kind = header(&answer, "content-type").to_owned();
            (answer.status().as_u16(), kind == "application/problem+json", answer.text().unwrap())
        };
        for verb in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS] {
            let answer = gate.http.request(verb, format!("{metrics}{path}")).send().unwrap();
            assert_eq!(answer.status(), 404, "{metrics}{path}");
        }
        let (status, is_problem, text) = send(metrics, "accept", "*/*");
        assert!(status == 404 && is_problem && text.contains("urn:docsgate:problem:not_found"), "{path}: {text}");

        let (status, is_problem, text) = send(operators, "accept", "*/*");
        let unknown = path.starts_with("/decisions/") || *path == "/candidate";
        assert!(!is_problem && status == if unknown { 404 } else { 200 }, "{path}: {status} {text}");
        // A page of a stranger's; one whose name leads here (DNS rebinding), which has no Origin to send with a GET.
        let foreign = [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("host", "evil.example"),
            ("host", "evil.example:80"),
        ];
        for (name, value) in foreign {
            let (status, is_problem, text) = send(operators, name, value);
            assert!(status == 403 && is_problem, "{path} with {name}: {value}: {status} {text}");
            assert!(text.contains("urn:docsgate:problem:foreign_request"), "{text}");
        }
    }
}

#[test]
fn the_scraped_port_tells_nothing_but_metrics_and_the_operators_port_answers_no_page() {
    let listen = ["--metrics-listen", "127.0.0.1:0"].map(String::from);
    let gate = Gate::with(Wanted { authz_extra: listen.to_vec(), ..Wanted::default() });
    gate.search("tides").send().unwrap();
    let metrics = listener(&gate, "authz.ready", "metrics");
    check(&gate, &metrics, &gate.stack.authz.admin_url, &OF_AUTHZ);
    // Whoever takes one for the other is told.
    let policy = gate.stack.policy.served().display().to_string();
    let said = authz::command(&["explain", "--policy", &policy, "--live", "some-id", "--admin", &metrics]);
    let said = format!("{:#}", said.unwrap_err());
    assert!(said.contains("Expected the operators' listener"), "{said}");

    let folder = gate.folder.path().join("second-copilot");
    std::fs::create_dir(&folder).unwrap();
    let options = copilot::Options {
        folder,
        corpora: vec![("public".into(), gate.folder.path().join("index/public.docsgate"))],
        grant_key: gate.stack.grant_key.clone(),
        verify_key: copilot::verify_key(&gate.folder.path().join("index")),
        extra: listen.to_vec(),
        env: Vec::new(),
    };
    let copilot = Copilot::start(&options).unwrap();
    let metrics = listener(&gate, "second-copilot/copilot.ready", "metrics");
    check(&gate, &metrics, &copilot.admin_url, &OF_COPILOT);
}

#[test]
fn without_the_flag_there_is_no_second_listener() {
    let gate = Gate::start();
    for file in ["authz.ready", "copilot.ready"] {
        let ready: Value = serde_json::from_str(&crate::gate::read(gate.folder.path(), file)).unwrap();
        assert!(ready["listeners"].get("metrics").is_none(), "{file}: {ready}");
    }
}

/// Loopback in every release, and no port, probe, Service or network policy that leads there.
#[test]
fn the_chart_keeps_the_operators_listeners_on_loopback() {
    for release in TABLE {
        let (mut seen, mut ports_of_operators) = (0, Vec::new());
        for (workload, pod) in release.pods() {
            for container in containers(&pod) {
                let at = format!("{} {workload} {}", release.name, container["name"]);
                let environment = container["env"].as_array().cloned().unwrap_or_default();
                let value = |ending: &str| {
                    let entry = environment.iter().find(|entry| entry["name"].as_str().unwrap().ends_with(ending));
                    entry.map(|entry| entry["value"].as_str().unwrap().to_owned())
                };
                let Some(operators) = value("_ADMIN_LISTEN") else {
                    assert!(!["authz", "copilot"].contains(&container["name"].as_str().unwrap()), "{at}");
                    continue;
                };
                let port = operators.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{at}: {operators}"));
                ports_of_operators.push(port.to_owned());
                let metrics = value("_METRICS_LISTEN").expect(&at);
                let scraped = container["ports"].as_array().unwrap().iter().find(|own| {
                    own["name"].as_str().unwrap().ends_with("-metrics")
                        && metrics == format!("0.0.0.0:{}", own["containerPort"])
                });
                let scraped = &scraped.unwrap_or_else(|| panic!("{at}: {metrics}"))["name"];
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    assert_eq!(&container[probe]["httpGet"]["port"], scraped, "{at} {probe}");
                }
                let declared = container["ports"].as_array().unwrap().iter();
                assert!(declared.map(|own| own["containerPort"].to_string()).all(|own| own != port), "{at}");
                seen += 1;
            }
        }
        assert_eq!(seen, 2, "{}", release.name);
        for object in release.objects() {
            if ["Service", "NetworkPolicy", "ServiceMonitor", "PodMonitor"].contains(&object["kind"].as_str().unwrap())
            {
                let text = object.to_string();
                let led = ports_of_operators.iter().find(|port| text.contains(port.as_str()));
                assert!(led.is_none() && !text.contains("-admin"), "{}: {text}", release.name);
            }
        }
    }
}
