//! Files that are generated from the code and checked in. `DOCSGATE_UPDATE=1 cargo test -p authz generated` writes them.

use std::{fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_current(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var_os("DOCSGATE_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is not current: run DOCSGATE_UPDATE=1 cargo test -p authz generated");
}

#[test]
fn schemas_and_reference_are_current() {
    is_current("policies/schema/policy.schema.json", &format!("{:#}\n", authz_core::policy::schema::json_schema()));
    is_current("policies/schema/cases.schema.json", &format!("{:#}\n", authz_core::cases::json_schema()));
    is_current("proto/decision-log.schema.json", &format!("{:#}\n", authz_core::record::json_schema()));
    is_current("docs/public/policy.md", &authz_core::policy::reference::markdown());
}

/// What the cookbook shows is what its policies say.
#[test]
fn the_cookbook_shows_its_policies() {
    let page = fs::read_to_string(root().join("docs/public/cookbook.md")).unwrap();
    let mut recipes = 0;
    for section in page.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap();
        let (_, rest) = section.split_once("](../../policies/cookbook/").unwrap_or_else(|| panic!("{title}: no link"));
        let policy = rest.split(')').next().unwrap();
        let text = fs::read_to_string(root().join("policies/cookbook").join(policy)).unwrap();
        let shown: Vec<&str> =
            section.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
        assert!(!shown.is_empty(), "{title} shows nothing");
        for block in shown {
            assert!(text.contains(block), "{title}: {policy} does not contain\n{block}");
        }
        recipes += 1;
    }
    let shipped = fs::read_dir(root().join("policies/cookbook")).unwrap().count() / 2;
    assert_eq!(recipes, shipped);
    assert!(recipes >= 10, "{recipes}");
}

/// Every shipped policy is usable without a warning, and its cases hold and leave nothing untouched.
#[test]
fn shipped_policies_keep_what_their_cases_promise() {
    let policies = root().join("policies");
    let policies = policies.to_str().unwrap();
    let args = |arguments: &[&str]| {
        use clap::Parser;
        crate::cli::Cli::try_parse_from(std::iter::once("authz").chain(arguments.iter().copied())).unwrap()
    };
    let code = |arguments: &[&str]| format!("{:?}", crate::cli::main(args(arguments)));
    let good = format!("{:?}", std::process::ExitCode::SUCCESS);
    assert_eq!(code(&["test", "--require-coverage", policies]), good);
    for folder in ["base", "dev", "doks", "rke2"] {
        assert_eq!(code(&["check", "--strict", &format!("{policies}/{folder}")]), good, "{folder}");
    }
    for entry in fs::read_dir(root().join("policies/cookbook")).unwrap().flatten() {
        let path = entry.path().display().to_string();
        if !path.ends_with(".cases.yaml") {
            assert_eq!(code(&["check", "--strict", &path]), good, "{path}");
        }
    }
}
