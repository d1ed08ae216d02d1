//! `authz test`: the cases that lie beside a policy.

use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use authz_core::{
    cases::{self, CaseResult, CasesDocument, Coverage},
    policy::{PolicyText, Snapshot, compile, diagnostic::render, document::OneOrMany},
};
use clap::Args;
use docsgate_service::exit::UsageError;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Output;
use crate::policy_source;

/// Run policy cases: NAME.cases.yaml beside NAME.yaml.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Cases files, policy files that have some beside them, or directories that are searched for cases.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Fail when a route, limit, corpus or origin is never exercised.
    #[arg(long)]
    require_coverage: bool,
    /// Also write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The results of one cases file.
struct Suite {
    file: String,
    results: Vec<CaseResult>,
    coverage: Coverage,
}

/// Exit code 0: every case holds. 1: one does not, or (if asked) something was never exercised. 2: a path is wrong.
///
/// # Errors
/// When a path cannot be read, or standard output is closed.
pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.paths {
        let before = files.len();
        find(path, &mut files, 0).map_err(UsageError)?;
        if files.len() == before {
            return Err(UsageError(format!("{}: no cases here; expected NAME.cases.yaml", path.display())).into());
        }
    }
    let mut suites = Vec::with_capacity(files.len());
    for file in &files {
        suites.push(run_file(file, args.filter.as_deref())?);
    }
    let failed = suites.iter().flat_map(|suite| &suite.results).filter(|result| !result.failures.is_empty()).count();
    let untouched: usize = suites.iter().map(|suite| suite.coverage.untouched().len()).sum();
    if let Some(path) = &args.junit {
        let file = std::fs::File::create(path).with_context(|| format!("--junit {}", path.display()))?;
        junit(&suites).serialize(file).with_context(|| format!("--junit {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => write!(out, "{}", text(&suites))?,
        Output::Json => writeln!(out, "{:#}", json(&suites))?,
    }
    let fails = failed > 0 || (args.require_coverage && untouched > 0);
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Deepest directory that is searched.
const DEEPEST: usize = 8;

fn find(path: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        if policy_source::is_cases(&name) {
            files.push(path.to_owned());
        } else {
            let beside = path.with_extension("cases.yaml");
            files.extend(beside.is_file().then_some(beside));
        }
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if entry.is_dir() && depth < DEEPEST && !name.starts_with('.') {
            find(&entry, files, depth + 1)?;
        } else if entry.is_file() && policy_source::is_cases(&name) {
            files.push(entry);
        }
    }
    Ok(())
}

fn run_file(path: &Path, filter: Option<&str>) -> Result<Suite> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| UsageError(format!("{name}: {error}")))?;
    let broken = |found: Vec<_>| anyhow::anyhow!("{name} cannot be run\n\n{}", render(&found));
    let mut document = cases::parse(&PolicyText { name: name.clone(), text }).map_err(broken)?;
    if let Some(filter) = filter {
        document.cases.retain(|case| case.name.contains(filter));
    }
    let policy = policy(path, &document)?;
    let mut coverage = Coverage::of(&policy);
    let results = cases::run(&policy, &document, &mut coverage);
    Ok(Suite { file: name, results, coverage })
}

/// The policy that a cases file names, or the one beside it.
fn policy(path: &Path, document: &CasesDocument) -> Result<Snapshot> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let paths: Vec<PathBuf> = match document.policy.as_ref().map(OneOrMany::as_slice) {
        Some(paths) => paths.iter().map(|path| folder.join(path)).collect(),
        None => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let beside = match name.as_str() {
                "cases.yaml" => "policy.yaml".to_owned(),
                name => name.replace(".cases.", "."),
            };
            vec![folder.join(beside)]
        }
    };
    let mut files = Vec::new();
    for path in &paths {
        files.extend(policy_source::read(path).map_err(UsageError)?);
    }
    match compile(&files, &policy_source::overrides_of_environment()) {
        Ok(compiled) => Ok(compiled.snapshot),
        Err(found) => Err(anyhow::anyhow!("the policy of {} is refused\n\n{}", path.display(), render(&found))),
    }
}

fn text(suites: &[Suite]) -> String {
    let mut out = String::new();
    let (mut held, mut failed) = (0, 0);
    // Writing to a string does not fail.
    for Suite { file, results, coverage } in suites {
        let _ = writeln!(out, "{file}");
        for result in results {
            if result.failures.is_empty() {
                held += 1;
                let _ = writeln!(out, "  ok    {}", result.name);
            } else {
                failed += 1;
                let _ = writeln!(out, "  FAIL  {}", result.name);
                for failure in &result.failures {
                    let _ = writeln!(out, "    {failure}");
                }
            }
        }
        let untouched = coverage.untouched();
        let all = coverage.touched.len();
        let _ = writeln!(out, "  coverage: {} of {all} routes, limits, corpora and origins", all - untouched.len());
        for name in untouched {
            let _ = writeln!(out, "    never exercised: {name}");
        }
    }
    let _ = writeln!(out, "{held} cases hold, {failed} fail");
    out
}

fn json(suites: &[Suite]) -> serde_json::Value {
    let suites = suites.iter().map(|suite| {
        let cases = suite.results.iter().map(|result| {
            serde_json::json!({"name": result.name, "ok": result.failures.is_empty(), "failures": result.failures})
        });
        let coverage = suite.coverage.touched.iter().map(|((kind, name), (touched, decided))| {
            serde_json::json!({"kind": kind, "name": name, "touched": touched, "decided": decided})
        });
        serde_json::json!({
            "file": suite.file,
            "cases": cases.collect::<Vec<_>>(),
            "coverage": coverage.collect::<Vec<_>>(),
        })
    });
    serde_json::json!({"suites": suites.collect::<Vec<_>>()})
}

/// JUnit XML, as CI systems read it.
fn junit(suites: &[Suite]) -> Report {
    let mut report = Report::new("authz test");
    for Suite { file, results, .. } in suites {
        let mut suite = TestSuite::new(file);
        suite.add_test_cases(results.iter().map(|result| {
            let mut status = TestCaseStatus::success();
            if !result.failures.is_empty() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_description(result.failures.join("\n"));
            }
            let mut case = TestCase::new(&result.name, status);
            case.set_classname(file);
            case
        }));
        report.add_test_suite(suite);
    }
    report
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn ci_systems_read_which_case_failed_and_why_whatever_its_name() {
        let case = |name: &str, failures: &[&str]| CaseResult {
            name: name.into(),
            failures: failures.iter().map(|failure| (*failure).to_owned()).collect(),
        };
        let results = vec![case("holds", &[]), case("\u{1b}[31m<fails> & \"more\"", &["expected 200", "got 403"])];
        let suite = Suite { file: "a.cases.yaml".into(), results, coverage: Coverage { touched: BTreeMap::new() } };
        let xml = junit(&[suite]).to_string().unwrap();
        let report = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!((report.tests, report.failures), (2, 1), "{xml}");
        let failed = &report.test_suites[0].test_cases[1];
        assert_eq!(failed.name.as_str(), "<fails> & \"more\"");
        assert!(xml.contains("expected 200\ngot 403</failure>") && xml.contains("classname=\"a.cases.yaml\""), "{xml}");
    }
}
