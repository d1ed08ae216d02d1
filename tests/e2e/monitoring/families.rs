//! Metrics as they are exposed, as they are registered, and as the page shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use docsgate_harness::paths;

/// One metric with all its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) labels: BTreeSet<String>,
}

/// Reads OpenMetrics text.
pub(super) fn parse(text: &str) -> Vec<Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            last = name.to_owned();
            let help = help.trim_end_matches('.').to_owned();
            let family = Family { name: last.clone(), kind: String::new(), help, labels: BTreeSet::new() };
            all.insert(last.clone(), family);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            all.get_mut(name).unwrap_or_else(|| panic!("no HELP for {name}")).kind = kind.to_owned();
        } else if let Some((_, rest)) = line.split(" # ").next().unwrap().split_once('{') {
            let (labels, _) = rest.rsplit_once('}').unwrap();
            let family = all.get_mut(&last).unwrap();
            // No label of ours has a comma or an equals sign in its value.
            let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            family.labels.extend(names.filter(|name| *name != "le").map(ToOwned::to_owned));
        }
    }
    all.into_values().collect()
}

/// Names in the sources of both programs.
pub(super) fn registered() -> BTreeSet<String> {
    let root = paths::repository().unwrap();
    let mut names = BTreeSet::new();
    each_source(&root.join("authz/src"), &mut |text| {
        for (at, _) in text.match_indices("\"docsgate_authz_") {
            names.insert(text[at + 1..].split('"').next().unwrap().to_owned());
        }
    });
    let copilot = fs::read_to_string(root.join("copilot/src/metrics.rs")).unwrap();
    for (at, mark) in copilot.match_indices("r.register(\"") {
        names.insert(format!("docsgate_copilot_{}", copilot[at + mark.len()..].split('"').next().unwrap()));
    }
    assert!(names.len() > 30);
    names
}

fn each_source(folder: &Path, take: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, take);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            take(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// `docs/public/metrics.md`.
pub(super) fn page(intro: &str, families: &[Family]) -> String {
    let mut text = intro.to_owned();
    for (title, prefix) in [("authz", "docsgate_authz_"), ("copilot", "docsgate_copilot_")] {
        let _ = write!(text, "\n## {title}\n\n| metric | type | labels | |\n| --- | --- | --- | --- |\n");
        for family in families.iter().filter(|family| family.name.starts_with(prefix)) {
            let end = if family.kind == "counter" { "_total" } else { "" };
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                text,
                "| `{}{end}` | {} | {} | {} |",
                family.name,
                family.kind,
                labels.join(", "),
                family.help
            );
        }
    }
    text
}
