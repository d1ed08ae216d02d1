//! Circles between the modules of a crate: files that name each other's items in a loop, so that none can be read, tested or
//! moved without the others.
//!
//! What ties one module to another is a name that it takes from there: an import, a path, or a path within a macro's call. It
//! is followed through re-exports to the module that defines it. No tie are: `mod child;` and a re-export of what a child
//! defines, what a module takes from those that it lies within, and whatever is compiled for tests only.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::names::{Crate, Tie};

/// Adds a finding for each circle of the crates that `files` has the roots of.
pub(super) fn check(root: &Path, files: &[PathBuf], findings: &mut Vec<String>) {
    for file in files.iter().filter(|file| is_root(file)) {
        let folder = file.parent().unwrap_or(Path::new(""));
        let krate = if folder.ends_with("src") { folder.parent().unwrap_or(folder) } else { folder };
        match Crate::read(root, file) {
            Ok(read) => findings.extend(circles(&read.ties()).iter().map(|circle| describe(krate, circle))),
            Err(error) => findings.push(format!("{}: {error:#}", file.display())),
        }
    }
}

/// The root of a crate that has modules.
fn is_root(file: &Path) -> bool {
    let folder = file.parent().unwrap_or(Path::new(""));
    let of_tests = folder.parent().is_some_and(|above| above.ends_with("tests"));
    (folder.ends_with("src") && file.ends_with("lib.rs"))
        || ((folder.ends_with("src") || of_tests) && file.ends_with("main.rs"))
}

/// The ties within each circle.
fn circles(ties: &[Tie]) -> Vec<Vec<&Tie>> {
    let mut to: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for tie in ties {
        to.entry(&tie.from).or_default().insert(&tie.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = to.keys().map(|module| (*module, reach(&to, module))).collect();
    let mutual = |one: &str, other: &str| {
        let leads = |from, to| reached.get(from).is_some_and(|modules: &BTreeSet<&str>| modules.contains(to));
        leads(one, other) && leads(other, one)
    };
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for module in to.keys() {
        if !mutual(module, module) || seen.contains(module) {
            continue;
        }
        let members: BTreeSet<&str> = reached[module].iter().copied().filter(|other| mutual(module, other)).collect();
        let within = |tie: &&Tie| members.contains(tie.from.as_str()) && members.contains(tie.to.as_str());
        circles.push(ties.iter().filter(within).collect());
        seen.extend(members);
    }
    circles
}

/// Every module that one leads to.
fn reach<'a>(to: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = to.get(from).into_iter().flatten().copied().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(to.get(module).into_iter().flatten().copied());
        }
    }
    reached
}

/// The circle's modules, and the first line that ties each two of them.
fn describe(krate: &Path, circle: &[&Tie]) -> String {
    let modules: BTreeSet<&str> = circle.iter().map(|tie| tie.from.as_str()).collect();
    let mut first: BTreeMap<(&str, &str), &Tie> = BTreeMap::new();
    for tie in circle {
        first.entry((&tie.from, &tie.to)).or_insert(tie);
    }
    let ties = first
        .values()
        .map(|tie| format!("\n  {}:{}: {} takes {} from {}", tie.file.display(), tie.line, tie.from, tie.name, tie.to));
    let names = modules.into_iter().collect::<Vec<_>>().join(", ");
    format!("{}: a circle of modules: {names}{}", krate.display(), ties.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let names: Vec<PathBuf> = files.iter().map(|(name, _)| PathBuf::from(name)).collect();
        let mut findings = Vec::new();
        check(root.path(), &names, &mut findings);
        findings
    }

    #[test]
    fn a_circle_is_found_with_the_lines_that_tie_it() {
        let found = findings(&[
            ("a/src/lib.rs", "mod limit;\nmod policy;\npub mod route;\nmod apart;\n"),
            ("a/src/limit.rs", "use std::fmt;\n\nuse crate::policy::Rule;\npub struct Limit(Rule);\n"),
            ("a/src/policy.rs", "mod compile;\npub use compile::Rule;\n"),
            ("a/src/policy/compile.rs", "pub struct Rule;\nfn f() {\n    println!(\"{}\", crate::route::name());\n}\n"),
            ("a/src/route.rs", "use super::limit;\npub fn name() -> limit::Limit { todo() }\n"),
            ("a/src/apart.rs", "use crate::route::name;\n"),
        ]);
        assert_eq!(
            found,
            ["a: a circle of modules: limit, policy::compile, route\n  \
              a/src/limit.rs:3: limit takes Rule from policy::compile\n  \
              a/src/policy/compile.rs:3: policy::compile takes name from route\n  \
              a/src/route.rs:2: route takes Limit from limit"]
        );
    }

    #[test]
    fn each_way_of_naming_is_a_tie() {
        let ways = [
            "use crate::b::B;",
            "use crate::{b::{self as other, B as C}};",
            "use crate::b;\nfn f(_: b::B) {}",
            "use crate::b::*;",
            "fn f() { super::b::g(); }",
            "fn f() { assert!(crate::b::g()); }",
            "mod inner { fn f() { super::super::b::g(); } }",
            "type T = Vec<crate::b::B>;",
            "impl crate::b::Trait for u8 {}",
        ];
        for way in ways {
            let found = findings(&[
                ("src/lib.rs", "mod a;\nmod b;\n"),
                ("src/a.rs", way),
                ("src/b.rs", "use crate::a::A;\npub struct B;\npub fn g() {}\npub trait Trait {}\n"),
            ]);
            assert_eq!(found.len(), 1, "{way}");
        }
    }

    #[test]
    fn children_tests_and_re_exports_make_no_circle() {
        let none = findings(&[
            ("src/main.rs", "mod a;\nmod b;\npub use a::A;\nstruct Settings;\n"),
            (
                "src/a.rs",
                "mod child;\npub use self::child::Child;\nuse crate::Settings;\npub struct A;\nfn f() { child::g(); }\n",
            ),
            ("src/a/child.rs", "use super::A;\npub struct Child;\npub fn g() {}\n#[cfg(test)]\nmod tests;\n"),
            ("src/a/child/tests.rs", "use crate::b::B;\n"),
            (
                "src/b.rs",
                "use crate::a::Child;\npub(in crate::a) struct B;\nimpl B {\n    #[cfg(test)]\n    fn f() {}\n}\n#[cfg(test)]\nuse crate::a::A;\n",
            ),
        ]);
        assert_eq!(none, <[String; 0]>::default());
    }
}
