//! What operators see: every metric has been seen and is documented, a real Prometheus scrapes the gate, and rules and
//! dashboards ask for metrics that exist.

mod exercise;
mod families;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use docsgate_harness::paths;
use docsgate_harness::process::{Launch, Process};
use docsgate_harness::system_tool::system_tool;
use serde_json::Value;

use crate::gate::{Gate, open_folder};
use exercise::Exercised;
use families::Family;

const PATIENCE: Duration = Duration::from_secs(60);

fn chart_files() -> PathBuf {
    paths::repository().unwrap().join("charts/docsgate/files")
}

/// Every expression of the rules and dashboards, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(chart_files().join("alerts.yaml")).unwrap()).unwrap();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let (name, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        all.push((name.to_owned(), expression.to_owned()));
    }
    for entry in fs::read_dir(chart_files().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let board: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
                all.push((format!("{} {}", path.display(), panel["title"]), expression));
            }
        }
    }
    all
}

/// Names of our metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("docsgate_authz_") || word.starts_with("docsgate_copilot_"))
}

/// The real Prometheus, scraping both admin listeners every second.
fn prometheus(program: &std::path::Path, gate: &Gate, folder: &std::path::Path) -> (Process, String) {
    let target = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let (authz, copilot) = (&gate.stack.authz.admin_url, &gate.stack.copilot.as_ref().unwrap().admin_url);
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         rule_files: [{}]\n\
         scrape_configs:\n  - job_name: docsgate\n    static_configs: [{{targets: [\"{}\", \"{}\"]}}]\n",
        chart_files().join("alerts.yaml").display(),
        target(authz),
        target(copilot)
    );
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let process = Launch::new("prometheus", program, folder.join("prometheus.log"))
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"])
        .spawn()
        .unwrap();
    let address = process
        .until("Prometheus' address", PATIENCE, || {
            let text = fs::read_to_string(process.log()).ok()?;
            let line = text.lines().find(|line| line.contains("Listening on") && line.contains("address="))?;
            Some(line.rsplit_once("address=")?.1.trim_matches('"').to_owned())
        })
        .unwrap();
    (process, format!("http://{address}"))
}

#[test]
fn metrics_are_documented_and_a_real_prometheus_understands_rules_and_dashboards() {
    let Some(exercised) = Exercised::start() else { return };
    let gate = &exercised.gate;
    let families = exercised.run();

    // What is registered anywhere was seen here, so that the page that is made of it is complete.
    let seen: BTreeSet<String> = families.iter().map(|family| family.name.clone()).collect();
    let registered = families::registered();
    assert_eq!(registered.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "registered and never seen");
    assert_eq!(
        seen.difference(&registered).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "seen and not found in the source"
    );
    let page = paths::repository().unwrap().join("docs/public/metrics.md");
    let (written, current) =
        (fs::read_to_string(&page).unwrap_or_default(), families::page(&written_intro(), &families));
    if written != current {
        assert!(std::env::var_os("DOCSGATE_UPDATE").is_some(), "docs/public/metrics.md is not current: {current}");
        fs::write(&page, current).unwrap();
    }

    let Some(program) = system_tool("prometheus") else { return };
    let folder = open_folder();
    let (process, url) = prometheus(&program, gate, folder.path());
    let ask = |path: &str, query: &[(&str, &str)]| -> Value {
        // While it starts it answers in plain text.
        gate.http.get(format!("{url}{path}")).query(query).send().unwrap().json().unwrap_or_default()
    };
    process
        .until("two healthy targets", PATIENCE, || {
            let answer = ask("/api/v1/query", &[("query", "sum(up)")]);
            (answer["data"]["result"][0]["value"][1] == "2").then_some(())
        })
        .unwrap();
    let known: BTreeSet<String> = ask("/api/v1/label/__name__/values", &[])["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let expressions = expressions();
    assert!(expressions.len() > 30);
    for (at, expression) in &expressions {
        let answer = ask("/api/v1/query", &[("query", expression)]);
        assert_eq!(answer["status"], "success", "{at}: {expression}: {answer}");
        assert!(names(expression).count() > 0, "{at}: {expression}");
        for name in names(expression) {
            assert!(known.contains(name), "{at}: Prometheus has no metric {name}");
        }
    }
    let rules = ask("/api/v1/rules", &[]);
    let loaded = rules["data"]["groups"].as_array().unwrap().iter();
    let loaded: usize = loaded.map(|group| group["rules"].as_array().unwrap().len()).sum();
    assert_eq!(loaded, expressions.iter().filter(|(at, _)| !at.contains(' ')).count());
    // A slow decision is named by its request.
    let exemplars = ask(
        "/api/v1/query_exemplars",
        &[("query", "docsgate_authz_decision_seconds_bucket"), ("start", "0"), ("end", "99999999999")],
    );
    assert!(exemplars["data"][0]["exemplars"][0]["labels"]["request_id"].is_string(), "{exemplars}");
}

fn written_intro() -> String {
    fs::read_to_string(paths::repository().unwrap().join("tests/e2e/data/metrics-intro.md")).unwrap()
}

fn promtool(arguments: &[&str]) {
    let Some(promtool) = system_tool("promtool") else { return };
    let output = Command::new(promtool).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn alert_rules_fire_when_they_should_and_not_before() {
    let rules = chart_files().join("alerts.yaml");
    promtool(&["check", "rules", "--lint-fatal", rules.to_str().unwrap()]);
    let cases = paths::repository().unwrap().join("tests/e2e/data/alerts.test.yaml");
    promtool(&["test", "rules", cases.to_str().unwrap()]);
    // Every rule has a case in which it fires, and one in which it does not.
    let text: Value = serde_saphyr::from_str(&fs::read_to_string(cases).unwrap()).unwrap();
    let cases = text["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in cases {
        let quiet = case["exp_alerts"].as_array().is_none_or(Vec::is_empty);
        if quiet { &mut silent } else { &mut fires }.insert(case["alertname"].as_str().unwrap().to_owned());
    }
    for (alert, _) in expressions().iter().filter(|(at, _)| !at.contains(' ')) {
        assert!(fires.contains(alert) && silent.contains(alert), "{alert} has no two cases");
    }
}

#[test]
fn every_alert_leads_to_a_page_that_exists() {
    let rules = fs::read_to_string(chart_files().join("alerts.yaml")).unwrap();
    let links: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert_eq!(links.len(), rules.matches("- alert: ").count());
    for link in links {
        let (_, path) = link.split_once("/blob/main/").unwrap();
        assert!(paths::repository().unwrap().join(path).is_file(), "{link}");
    }
}

#[test]
fn dashboards_have_the_shape_that_grafana_loads() {
    for entry in fs::read_dir(chart_files().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let board: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(board["title"].is_string() && board["uid"].is_string() && board["schemaVersion"].is_number());
        let mut ids = BTreeSet::new();
        let panels = board["panels"].as_array().unwrap();
        for panel in panels {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: two panels with one id", path.display());
            let place = &panel["gridPos"];
            let [x, w] = ["x", "w"].map(|side| place[side].as_u64().unwrap());
            assert!(x + w <= 24, "{}: {} is off the grid", path.display(), panel["title"]);
        }
    }
}

/// Names that Prometheus gives to the series of a family.
#[test]
fn every_name_in_an_expression_is_a_series_of_a_registered_family() {
    let families = families::registered();
    for (at, expression) in expressions() {
        for name in names(&expression) {
            let family =
                ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "{at}: {name}");
        }
    }
}

/// Used by the submodules.
fn scrape(gate: &Gate) -> Vec<Family> {
    let mut all = Vec::new();
    for admin in [&gate.stack.authz.admin_url, &gate.stack.copilot.as_ref().unwrap().admin_url] {
        let text = gate.http.get(format!("{admin}/metrics")).send().unwrap().text().unwrap();
        all.extend(families::parse(&text));
    }
    all
}
