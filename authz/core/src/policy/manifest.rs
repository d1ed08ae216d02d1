//! Policies inside Kubernetes manifests: `kubectl get configmap -o yaml`, `helm template`.
//!
//! The text of a literal block is checked where it stands, so that a finding has the line and column of the manifest.

use super::{
    diagnostic::{Diagnostic, Findings, PolicyText},
    yaml::{self, Value},
};

/// The policies in the ConfigMaps of a manifest, one list of files for each ConfigMap. `None` when the text is no
/// manifest at all.
///
/// # Errors
/// Why a ConfigMap that seems to hold a policy cannot be read.
pub fn policies(name: &str, text: &str) -> Result<Option<Vec<Vec<PolicyText>>>, Vec<Diagnostic>> {
    if !text.lines().any(|line| is_kind(line, "ConfigMap") || is_kind(line, "List") || is_kind(line, "ConfigMapList")) {
        return Ok(None);
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let length = lines.get(start..).unwrap_or_default().iter().skip(1).position(|line| is_separator(line));
        let end = length.map_or(lines.len(), |length| start + length + 1);
        let document = lines.get(start..end).unwrap_or_default();
        if document.iter().any(|line| is_kind(line, "ConfigMap")) {
            let blocks = literal_blocks(name, &lines, start..end);
            if blocks.is_empty() && document.iter().any(|line| line.contains("docsgate/v1")) {
                found.extend(quoted(name, start, document)?);
            }
            found.extend(blocks);
        }
        start = end;
    }
    Ok(Some(found))
}

fn is_separator(line: &str) -> bool {
    line == "---" || line.starts_with("--- ")
}

fn is_kind(line: &str, kind: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    line.strip_prefix("kind:").is_some_and(|rest| rest.trim().trim_matches(['"', '\'']) == kind)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Every `NAME.yaml: |` below a `data:` that holds a policy. Files of one `data:` belong together.
fn literal_blocks(name: &str, lines: &[&str], range: std::ops::Range<usize>) -> Vec<Vec<PolicyText>> {
    let mut maps = Vec::new();
    let mut files: Vec<PolicyText> = Vec::new();
    let mut data: Option<usize> = None;
    let mut at = range.start;
    while at < range.end {
        let line = lines.get(at).copied().unwrap_or_default();
        at += 1;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let depth = indent(line);
        let key = line.trim_start().trim_start_matches("- ");
        if data.is_some_and(|data| depth <= data) {
            data = None;
            maps.extend((!files.is_empty()).then(|| std::mem::take(&mut files)));
        }
        if key.trim_end() == "data:" {
            data = Some(line.len() - line.trim_start_matches([' ', '-']).len());
            continue;
        }
        let header = key.split_once(':').map(|(file, rest)| (file.trim_matches(['"', '\'']), rest.trim()));
        let Some((file, _)) = header.filter(|(_, rest)| data.is_some() && rest.starts_with('|')) else { continue };
        let first = at;
        while at < range.end && lines.get(at).is_some_and(|line| line.trim().is_empty() || indent(line) > depth) {
            at += 1;
        }
        let block = lines.get(first..at).unwrap_or_default();
        let is_policy = (file.ends_with(".yaml") || file.ends_with(".yml"))
            && block.iter().any(|line| line.contains("docsgate/v1"))
            && block.iter().any(|line| is_kind(line, "Policy"));
        if is_policy {
            let text = format!("{}{}\n", "\n".repeat(first), block.join("\n"));
            files.push(PolicyText { name: name.to_owned(), text });
        }
    }
    maps.extend((!files.is_empty()).then_some(files));
    maps
}

/// A ConfigMap whose data is quoted instead of a literal block: positions count within the value.
fn quoted(name: &str, first_line: usize, document: &[&str]) -> Result<Vec<Vec<PolicyText>>, Vec<Diagnostic>> {
    let body: Vec<&str> =
        document.iter().enumerate().map(|(at, line)| if at == 0 && is_separator(line) { "" } else { *line }).collect();
    let source =
        [PolicyText { name: name.to_owned(), text: format!("{}{}", "\n".repeat(first_line), body.join("\n")) }];
    let mut findings = Findings::new(&source);
    let tree = source.first().and_then(|source| yaml::parse(0, &source.text, &mut findings));
    let Some(tree) = tree.filter(|_| !findings.any_error()) else { return Err(findings.into_sorted()) };
    let mut files = Vec::new();
    if let Some(Value::Map(entries)) = tree.get("data").map(|data| &data.value) {
        for (key, _, value) in entries {
            if let Value::String(text) = &value.value
                && text.contains("docsgate/v1")
            {
                files.push(PolicyText { name: format!("{name} (data: {key})"), text: text.clone() });
            }
        }
    }
    Ok(if files.is_empty() { Vec::new() } else { vec![files] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Overrides, compile, diagnostic::render};

    #[test]
    fn a_finding_has_the_line_and_column_of_the_manifest() {
        let manifest = "apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  other.txt: |\n    hello\n  policy.yaml: |\n    apiVersion: docsgate/v1\n    kind: Policy\n    rootes: []\n---\nkind: Pod\n";
        let found = policies("cm.yaml", manifest).unwrap().unwrap();
        assert_eq!(found.len(), 1);
        let findings = compile(&found[0], &Overrides::default()).unwrap_err();
        assert!(render(&findings).starts_with("cm.yaml:13:5: error: unknown field `rootes`"), "{}", render(&findings));
    }

    #[test]
    fn lists_and_quoted_values_are_read_and_other_texts_are_not_manifests() {
        let list = "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    a.yaml: |\n      apiVersion: docsgate/v1\n      kind: Policy\n      allow_nothing: true\n    b.yaml: |\n      apiVersion: docsgate/v1\n      kind: Policy\n      mode: shadow\n  kind: ConfigMap\nkind: List\n";
        let found = policies("l", list).unwrap().unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
        assert!(compile(&found[0], &Overrides::default()).is_ok());
        let quoted =
            "kind: ConfigMap\ndata:\n  p.yaml: \"apiVersion: docsgate/v1\\nkind: Policy\\nallow_nothing: true\\n\"\n";
        let found = policies("q", quoted).unwrap().unwrap();
        assert_eq!(found[0][0].name, "q (data: p.yaml)");
        assert!(policies("p", "apiVersion: docsgate/v1\nkind: Policy\n").unwrap().is_none());
        assert_eq!(policies("e", "kind: ConfigMap\ndata: {a: b}\n").unwrap().unwrap(), Vec::<Vec<PolicyText>>::new());
    }
}
