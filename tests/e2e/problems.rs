//! The table of problem types is what the programs answer: no type is missing, none is there that nobody sends, and each has
//! its status and its gRPC code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use authz_core::{
    decision::{Refusal, Undecided},
    identity::TokenFault,
    request::{PathFault, RequestFault},
};
use copilot::problem::ProblemType;
use docsgate_harness::paths;
use docsgate_service::operators;

const PAGE: &str = "docs/public/problems.md";

/// One row, without what is for people.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    statuses: BTreeSet<String>,
    grpc: BTreeSet<String>,
    from: BTreeSet<String>,
}

impl Row {
    fn add(&mut self, from: &str, status: u16, grpc: Option<&str>) {
        self.statuses.insert(status.to_string());
        self.grpc.extend(grpc.map(str::to_owned));
        self.from.insert(from.to_owned());
    }
}

fn grpc_name(code: tonic::Code) -> String {
    // As the protocol's specification writes it: `InvalidArgument` is INVALID_ARGUMENT.
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// One refusal of each kind. The match has no wildcard: a variant that is new has to be added here to compile.
fn refusals() -> Vec<Refusal> {
    let soon = Duration::from_secs(1);
    let all = vec![
        Refusal::Malformed(RequestFault::Method),
        Refusal::Malformed(RequestFault::TargetTooLong),
        Refusal::Malformed(RequestFault::HeadersTooLarge),
        Refusal::Malformed(RequestFault::Path(PathFault::DotSegment)),
        Refusal::MalformedOrigin,
        Refusal::MalformedPreflight,
        Refusal::NoRoute,
        Refusal::WrongMethod { allowed: Vec::new() },
        Refusal::OriginRequired,
        Refusal::OriginRefused,
        Refusal::AddressRefused,
        Refusal::Maintenance { retry_after: soon },
        Refusal::RateLimited { limit: "x".into(), retry_after: soon },
        Refusal::TwoIdentities,
        Refusal::InvalidToken(TokenFault::Malformed),
        Refusal::InvalidApiKey,
        Refusal::IdentityRequired,
        Refusal::MissingEntitlement { entitlement: "x".into() },
        Refusal::Undecidable(Undecided::Keys),
    ];
    for refusal in &all {
        match refusal {
            Refusal::Malformed(_)
            | Refusal::MalformedOrigin
            | Refusal::MalformedPreflight
            | Refusal::NoRoute
            | Refusal::WrongMethod { .. }
            | Refusal::OriginRequired
            | Refusal::OriginRefused
            | Refusal::AddressRefused
            | Refusal::Maintenance { .. }
            | Refusal::RateLimited { .. }
            | Refusal::TwoIdentities
            | Refusal::InvalidToken(_)
            | Refusal::InvalidApiKey
            | Refusal::IdentityRequired
            | Refusal::MissingEntitlement { .. }
            | Refusal::Undecidable(_) => {}
        }
    }
    all
}

fn sent() -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for refusal in refusals() {
        let code = grpc_name(tonic::Code::from(refusal.grpc_code()));
        rows.entry(refusal.kind().to_owned()).or_default().add("gate", refusal.status(), Some(&code));
    }
    for kind in ProblemType::ALL {
        let code = kind.grpc_code().map(grpc_name);
        rows.entry(kind.name().to_owned()).or_default().add("copilot", kind.status().as_u16(), code.as_deref());
    }
    for (status, name) in operators::PROBLEM_TYPES {
        rows.entry(name.to_owned()).or_default().add("operators", status.as_u16(), None);
    }
    // Envoy's own answers: each mapper takes a range of statuses.
    for file in ["envoy/sidecar.yaml", "envoy/edge.yaml"] {
        let text = fs::read_to_string(paths::repository().unwrap().join(file)).unwrap();
        let mut least = "";
        for line in text.lines() {
            if let Some((_, from)) = line.split_once("op: GE, value: {default_value: ") {
                least = &from[..1];
            }
            if let Some((_, name)) = line.split_once("type: urn:docsgate:problem:") {
                let row = rows.entry(name.trim().to_owned()).or_default();
                row.from.insert("Envoy".to_owned());
                row.statuses.insert(format!("{least}xx"));
            }
        }
    }
    rows
}

fn written() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(paths::repository().unwrap().join(PAGE)).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, status, grpc, from, cause, remedy] = cells[..] else { panic!("{PAGE}: {line}") };
        assert!(!cause.is_empty() && !remedy.is_empty(), "{PAGE}: {line}");
        let list = |cell: &str| -> BTreeSet<String> {
            cell.split(", ").map(|word| word.trim_matches('`').to_owned()).filter(|word| !word.is_empty()).collect()
        };
        let row = Row { statuses: list(status), grpc: list(grpc), from: list(from) };
        let before = rows.insert(name.trim_matches('`').to_owned(), row);
        assert_eq!(before, None, "{PAGE} has {name} twice");
    }
    rows
}

#[test]
fn every_problem_type_of_both_programs_is_in_the_table() {
    let (sent, written) = (sent(), written());
    for name in sent.keys().chain(written.keys()) {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name} is not in snake_case");
        assert_eq!(sent.get(name), written.get(name), "{name}: what is sent, and what {PAGE} says");
    }
}
