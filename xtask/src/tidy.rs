//! `cargo xtask tidy`: what no compiler checks.

mod circles;
mod database_urls;
mod threats;

use std::collections::BTreeSet;
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
    let mut tests = BTreeSet::new();
    for file in files {
        let path = root.join(file);
        let Ok(bytes) = fs::read(&path) else { continue }; // deleted, not yet committed
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let shown = file.display();
        let is = |ending: &str| file.extension().is_some_and(|found| found == ending);
        let generated = text.lines().take(3).any(|line| line.contains("@generated"));
        if is("rs") {
            tests.extend(threats::tests(&text).map(str::to_owned));
        }
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
                if let Some(fault) = database_urls::fault(file, line) {
                    findings.push(format!("{shown}:{}: {fault}", number + 1));
                }
            }
        }
        if is("md") {
            dead_links(root, file, &text, &mut findings);
        }
        if is_workflow(file) {
            unpinned_actions(file, &text, &mut findings);
        }
    }
    circles::check(root, files, &mut findings);
    threats::check(root, &tests, &mut findings);
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

/// A workflow, or the description of an action, which may use others.
fn is_workflow(file: &Path) -> bool {
    let yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    yaml && (file.starts_with(".github/workflows") || file.file_stem().is_some_and(|stem| stem == "action"))
}

/// Actions that are named by a tag or branch, which its owner, or who took the owner's place, can move to other code. Pinned
/// is `OWNER/NAME@COMMIT # VERSION`; where the commit cannot be known, `# not pinned: WHY` behind it says so.
fn unpinned_actions(file: &Path, text: &str, findings: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        let (code, comment) = line.split_once(" #").map_or((line, ""), |(code, comment)| (code, comment.trim()));
        let word = code.trim_start().trim_start_matches(['-', '{', ' ']);
        let Some(value) = word.strip_prefix("uses:") else { continue };
        let action = value.trim().split([',', '}', ' ']).next().unwrap_or_default().trim_matches(['"', '\'']);
        let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let pinned = match action.rsplit_once('@') {
            Some((image, digest)) if image.starts_with("docker://") => {
                digest.strip_prefix("sha256:").is_some_and(|digest| hex(digest, 64))
            }
            Some((_, commit)) => hex(commit, 40),
            None => action.starts_with("./"),
        };
        let at = format!("{}:{}: {action}", file.display(), number + 1);
        if pinned && comment.is_empty() && !action.starts_with("./") {
            findings.push(format!("{at}: a comment must name the version that this commit is"));
        }
        if !pinned && comment.strip_prefix("not pinned:").is_none_or(|why| why.trim().is_empty()) {
            findings.push(format!("{at}: name the commit (OWNER/NAME@COMMIT # VERSION), or `# not pinned: WHY`"));
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
            ("run.sh", "authz migrate --database-url \"$URL\"\n"),
            ("ci", concat!("https://pypi", ".org\n")),
        ];
        for (name, text) in cases {
            fs::write(root.path().join(name), text).unwrap();
        }
        let files: Vec<PathBuf> = cases.iter().map(|(name, _)| PathBuf::from(name)).collect();
        let findings = check(root.path(), &files).unwrap();
        assert_eq!(findings.len(), 5, "{findings:#?}");
    }

    #[test]
    fn an_action_that_can_be_moved_is_found() {
        let commit = "11d5960a326750d5838078e36cf38b85af677262";
        let cases = [
            (format!("      - uses: actions/checkout@{commit} # v4.4.0"), true),
            (format!("      - {{uses: actions/checkout@{commit}}} # v4.4.0"), true),
            ("      - uses: ./integrations/github".into(), true),
            (format!("      - uses: docker://alpine@sha256:{} # 3.22", "0a".repeat(32)), true),
            ("      - uses: inhouse/action@v1 # not pinned: its repository is not public".into(), true),
            ("        # uses: nothing here".into(), true),
            (format!("      - uses: actions/checkout@{commit}"), false),
            (format!("      - uses: actions/checkout@{} # v4", &commit[..39]), false),
            ("      - uses: actions/checkout@v4".into(), false),
            ("        uses: \"actions/checkout@main\" # main".into(), false),
            ("      - {uses: actions/checkout@v4, with: {persist-credentials: false}}".into(), false),
            ("      - uses: docker://alpine:3.22 # 3.22".into(), false),
            ("      - uses: inhouse/action # not pinned:".into(), false),
        ];
        for (line, good) in cases {
            let mut findings = Vec::new();
            unpinned_actions(Path::new(".github/workflows/a.yaml"), &line, &mut findings);
            assert_eq!(findings.is_empty(), good, "{line}: {findings:?}");
        }
        for (name, is) in
            [(".github/workflows/a.yml", true), ("integrations/github/action.yaml", true), ("values.yaml", false)]
        {
            assert_eq!(is_workflow(Path::new(name)), is, "{name}");
        }
    }

    #[test]
    fn a_threat_without_a_test_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs/public")).unwrap();
        let page =
            "| | threat | shown by |\n| --- | --- | --- |\n| T | a | `is_there`, `is_gone` |\n| ID | b | hope |\n";
        let code = "#[test]\nfn is_there() {}\nfn is_gone() {}\n";
        for (name, text) in [("docs/public/security.md", page), ("tests.rs", code)] {
            fs::write(root.path().join(name), text).unwrap();
        }
        let files = ["docs/public/security.md", "tests.rs"].map(PathBuf::from);
        assert_eq!(
            check(root.path(), &files).unwrap(),
            [
                "docs/public/security.md:3: there is no test `is_gone`",
                "docs/public/security.md:4: the threat names no test that shows its defence"
            ]
        );
    }

    #[test]
    fn the_repository_is_tidy() {
        let root = paths::repository().unwrap();
        let Ok(files) = tracked(&root) else { return }; // an unpacked archive has no index to ask
        let findings = check(&root, &files).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
