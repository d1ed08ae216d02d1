//! Every row of the table of threats names tests that exist: a defence that nothing shows is a wish.

use std::{collections::BTreeSet, fs, path::Path};

/// The page with the table.
const PAGE: &str = "docs/public/security.md";
/// What the first cell of a row may consist of.
const STRIDE: &str = "STRIDE";

/// Names of the test functions in a Rust file.
pub(super) fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        }
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        name.filter(|_| std::mem::take(&mut marked))
    })
}

/// Rows that name no test, or one that does not exist.
pub(super) fn check(root: &Path, known: &BTreeSet<String>, findings: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root.join(PAGE)) else { return };
    let mut rows = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let kind = cells.first().copied().unwrap_or_default();
        if !line.starts_with('|') || kind.is_empty() || !kind.chars().all(|letter| STRIDE.contains(letter)) {
            continue;
        }
        rows += 1;
        let named: Vec<&str> = cells.last().copied().unwrap_or_default().split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            findings.push(format!("{PAGE}:{number}: the threat names no test that shows its defence"));
        }
        for name in named.into_iter().filter(|name| !known.contains(*name)) {
            findings.push(format!("{PAGE}:{number}: there is no test `{name}`"));
        }
    }
    if rows == 0 {
        findings.push(format!("{PAGE}: no table of threats was found"));
    }
}
