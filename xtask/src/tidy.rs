//! `cargo xtask tidy`: what no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use docsgate_harness::paths;

/// A file past this has two jobs.
const LONGEST: usize = 500;

/// Longer files that wait to be split: each may shrink, none may grow, none may be added.
const TO_BE_SPLIT: &[(&str, usize)] = &[];

/// What may not appear in a tracked file, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("crates-io.", "a registry host: a build asks the registry that its user configured"),
    ("index.crates", "a registry host: a build asks the registry that its user configured"),
    ("pypi.", "a registry host: pip asks the index that its user configured"),
    ("files.pythonhosted", "a registry host: pip asks the index that its user configured"),
    ("todo!(", "unfinished work"),
    ("#[ignore", "a test that never runs"),
];

/// Module names that say nothing.
const EMPTY_NAMES: [&str; 4] = ["utils", "util", "common", "misc"];

/// Checks every tracked file and prints each finding.
pub(crate) fn run() -> Result<ExitCode> {
    let root = paths::repository()?;
    let findings = check(&root, &tracked(&root)?)?;
    for finding in &findings {
        crate::say(finding);
    }
    if findings.is_empty() {
        crate::say("tidy: nothing to complain about");
        return Ok(ExitCode::SUCCESS);
    }
    bail!("tidy: {} findings", findings.len())
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files {
        let path = root.join(file);
        let Ok(bytes) = fs::read(&path) else { continue }; // deleted, not yet committed
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let shown = file.display();
        let is = |ending: &str| file.extension().is_some_and(|found| found == ending);
        let generated = text.lines().take(3).any(|line| line.contains("@generated"));
        if is("rs") && !generated {
            let lines = text.lines().count();
            let waiting = TO_BE_SPLIT.iter().find(|(known, _)| file == Path::new(known));
            let longest = waiting.map_or(LONGEST, |(_, lines)| *lines);
            if lines > longest {
                findings.push(format!("{shown}: {lines} lines; past {longest} a file has two jobs"));
            }
            if EMPTY_NAMES.iter().any(|name| file.file_stem().is_some_and(|stem| stem == *name)) {
                findings.push(format!("{shown}: the name says nothing about what it holds"));
            }
        }
        if !file.starts_with("xtask/src/tidy.rs") && !file.ends_with("Cargo.lock") {
            for (number, line) in text.lines().enumerate() {
                for (forbidden, why) in FORBIDDEN.iter().filter(|(string, _)| line.contains(string)) {
                    findings.push(format!("{shown}:{}: `{forbidden}`: {why}", number + 1));
                }
            }
        }
        if is("md") {
            dead_links(root, file, &text, &mut findings);
        }
    }
    Ok(findings)
}

/// Relative links of a Markdown file that lead nowhere. Code blocks are passed over.
fn dead_links(root: &Path, file: &Path, text: &str, findings: &mut Vec<String>) {
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere =
                path.is_empty() || path.contains("://") || path.starts_with("mailto:") || path.starts_with('/');
            if !elsewhere && !folder.join(path).exists() {
                findings.push(format!("{}:{}: the link to {target} leads nowhere", file.display(), number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_finding_is_found() {
        let root = tempfile::tempdir().unwrap();
        let long = "fn f() {}\n".repeat(LONGEST + 1);
        let link = "see [there](gone.md#x) and [here](here.md)\n```\n[code](gone2.md)\n```\n";
        let cases = [
            ("long.rs", long.as_str()),
            ("utils.rs", "//! x\n"),
            ("here.md", link),
            ("ci", concat!("https://pypi", ".org\n")),
        ];
        for (name, text) in cases {
            fs::write(root.path().join(name), text).unwrap();
        }
        let files: Vec<PathBuf> = cases.iter().map(|(name, _)| PathBuf::from(name)).collect();
        let findings = check(root.path(), &files).unwrap();
        assert_eq!(findings.len(), 4, "{findings:#?}");
    }

    #[test]
    fn the_repository_is_tidy() {
        let root = paths::repository().unwrap();
        let Ok(files) = tracked(&root) else { return }; // an unpacked archive has no index to ask
        let findings = check(&root, &files).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
