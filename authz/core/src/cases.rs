//! Policy cases: requests with written facts and a simulated clock, and what the policy must say to them.
//!
//! A case runs through the very [`decide`](crate::decide()) that the server runs; only the facts are written instead of live.

mod coverage;
pub mod document;
mod facts;

use std::fmt::Write as _;

pub use coverage::Coverage;
use document::StepDocument;
pub use document::{CaseDocument, CasesDocument, ExpectDocument, RequestDocument, TokenDocument};
pub use facts::{Scene, WrittenFacts};

use crate::{
    decide_in_steps,
    decision::{Decision, Outcome, TraceStep},
    facts::immediately,
    limit,
    policy::{
        Diagnostic, PolicyText, Snapshot,
        diagnostic::{Findings, Position},
        schema, yaml,
    },
    request::{Malformed, RawRequest, RequestView},
    time::{Timestamp, parse_duration},
};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// What was not as expected; empty for a case that holds.
    pub failures: Vec<String>,
}

/// The JSON Schema (draft 2020-12) of a cases document.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(CasesDocument).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$id".into(), "urn:docsgate:schema:cases:v1".into());
        object.insert("title".into(), "docsgate policy cases".into());
    }
    schema
}

/// Parses a cases file.
///
/// # Errors
/// Every finding, each with its place.
pub fn parse(file: &PolicyText) -> Result<CasesDocument, Vec<Diagnostic>> {
    read(file, &json_schema(), "the cases file")
}

/// Parses one request with its facts, as `authz explain --request` takes it: a case without a name.
///
/// # Errors
/// Every finding, each with its place.
pub fn parse_scene(file: &PolicyText) -> Result<Scene, Vec<Diagnostic>> {
    read(file, &schemars::schema_for!(Scene).to_value(), "the request")
}

fn read<T: serde::de::DeserializeOwned>(
    file: &PolicyText,
    schema: &serde_json::Value,
    name: &str,
) -> Result<T, Vec<Diagnostic>> {
    let files = std::slice::from_ref(file);
    let mut findings = Findings::new(files);
    let tree = yaml::parse(0, &file.text, &mut findings);
    if tree.is_none() && !findings.any_error() {
        findings.error(Position { file: 0, line: 1, column: 1 }, format!("{name} is empty"), None);
    }
    let Some(tree) = tree else { return Err(findings.into_sorted()) };
    schema::check(schema, &tree, name, &mut findings);
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    serde_json::from_value(tree.to_json()).map_err(|error| {
        findings.error(tree.at, error.to_string(), None);
        findings.into_sorted()
    })
}

/// Runs every case against a policy.
pub fn run(policy: &Snapshot, document: &CasesDocument, coverage: &mut Coverage) -> Vec<CaseResult> {
    let run_case = |case: &CaseDocument| {
        let mut run = Run { policy, document, case, coverage: &mut *coverage, failures: Vec::new() };
        if let Err(error) = start(document, case).and_then(|now| run.steps(now)) {
            run.failures.push(error);
        }
        CaseResult { name: case.name.clone(), failures: run.failures }
    };
    document.cases.iter().map(run_case).collect()
}

/// The instant at which every clock of the cases starts, unless they say otherwise.
const START: &str = "2026-01-05T12:00:00Z";

fn start(document: &CasesDocument, case: &CaseDocument) -> Result<Timestamp, String> {
    Timestamp::parse(case.clock.as_deref().or(document.clock.as_deref()).unwrap_or(START))
}

/// One case while it is run.
struct Run<'a> {
    policy: &'a Snapshot,
    document: &'a CasesDocument,
    case: &'a CaseDocument,
    coverage: &'a mut Coverage,
    failures: Vec<String>,
}

impl Run<'_> {
    /// # Errors
    /// Why the case cannot be run on.
    fn steps(&mut self, mut now: Timestamp) -> Result<(), String> {
        let mut facts = WrittenFacts::default();
        for (index, step) in self.case.steps().iter().enumerate() {
            let label = if self.case.steps.is_empty() { String::new() } else { format!("step {}: ", index + 1) };
            if let Some(after) = &step.after {
                now = now.plus(parse_duration(after).map_err(|error| format!("{label}after: {error}"))?);
            }
            let scene = scene(self.document, self.case, step);
            for turn in 1..=step.repeat.unwrap_or(1) {
                let at = if step.repeat.is_some() { format!("{label}request {turn}: ") } else { label.clone() };
                let played = play(self.policy, &scene, &mut facts, now).map_err(|error| format!("{at}{error}"))?;
                self.coverage.record(&played);
                let wrong = differences(&step.expect, &played.decision);
                if !wrong.is_empty() {
                    self.failures.push(failure(&at, &wrong, &played.steps));
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What was not as expected, and how the decision came about.
fn failure(at: &str, wrong: &[String], steps: &[TraceStep]) -> String {
    let mut text = format!("{at}{}\n", wrong.join("\n    "));
    for TraceStep { step, text: detail } in steps {
        // Writing to a string does not fail.
        let _ = writeln!(text, "      {step:<12} {detail}");
    }
    text.trim_end().to_owned()
}

/// What a step does not say is as in its case.
fn scene(document: &CasesDocument, case: &CaseDocument, step: &StepDocument) -> Scene {
    Scene {
        request: step.request.as_ref().or(case.request.as_ref()).cloned().unwrap_or_default(),
        token: step.token.as_ref().or(case.token.as_ref()).cloned(),
        api_key: step.api_key.as_ref().or(case.api_key.as_ref()).cloned(),
        store: step.store.or(case.store).unwrap_or_default(),
        members: document.members.clone(),
        api_keys: document.api_keys.clone(),
        clock: None,
    }
}

/// A scene that was played: the decision and how it came about.
#[derive(Debug)]
pub struct Played {
    /// The request, if it is one.
    pub view: Result<RequestView, Malformed>,
    /// The decision.
    pub decision: Decision,
    /// Its steps.
    pub steps: Vec<TraceStep>,
}

/// Plays one scene at `now`. The limits in `facts` are charged.
///
/// # Errors
/// What in the scene makes no sense: an unknown member, an address that is none.
pub fn play(policy: &Snapshot, scene: &Scene, facts: &mut WrittenFacts, now: Timestamp) -> Result<Played, String> {
    let view = request(policy, scene, facts, now)?;
    let decided = immediately(decide_in_steps(policy, &view, facts, now));
    let (decision, steps) = decided.ok_or("written facts never wait")?;
    Ok(Played { view, decision, steps })
}

/// The request of a scene, whose facts `facts` takes over.
fn request(
    policy: &Snapshot,
    scene: &Scene,
    facts: &mut WrittenFacts,
    now: Timestamp,
) -> Result<Result<RequestView, Malformed>, String> {
    let headers = facts.prepare(policy, scene, now)?;
    let request = &scene.request;
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let peer = request.peer.as_deref().unwrap_or(document::PEER);
    let peer = peer.parse().map_err(|_| format!("peer: `{peer}` is not an address"))?;
    Ok(RequestView::read(&RawRequest {
        id: "case",
        method: request.method.as_deref().unwrap_or(if request.preflight.is_some() { "OPTIONS" } else { "GET" }),
        host: request.host.as_deref().unwrap_or(document::HOST),
        path: &request.path,
        headers: lines,
        peer: Some(peer),
    }))
}

/// The outcome in one word, the status, and the reason.
pub fn summary(decision: &Decision) -> (&'static str, u16, &'static str) {
    match &decision.outcome {
        Outcome::Allow(_) => ("allowed", 200, "allowed"),
        Outcome::Preflight => ("preflight", 204, "preflight"),
        Outcome::Refuse(refusal) => ("refused", refusal.status(), refusal.kind()),
    }
}

fn differences(expect: &ExpectDocument, decision: &Decision) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let about = &decision.about;
    let (outcome, status, reason) = summary(decision);
    compare("outcome", expect.outcome.map(|outcome| outcome.as_str().to_owned()), outcome.to_owned());
    compare("status", expect.status.map(|status| status.to_string()), status.to_string());
    compare("reason", expect.reason.clone(), reason.to_owned());
    compare("route", expect.route.clone(), about.route_name().unwrap_or("none").to_owned());
    let corpora = match &decision.outcome {
        Outcome::Allow(allow) => allow.corpora().join(", "),
        Outcome::Preflight | Outcome::Refuse(_) => String::new(),
    };
    compare(
        "corpora",
        expect.corpora.as_ref().map(|corpora| format!("[{}]", corpora.join(", "))),
        format!("[{corpora}]"),
    );
    let cause = match &decision.outcome {
        Outcome::Refuse(refusal) => refusal.cause(),
        Outcome::Allow(_) | Outcome::Preflight => String::new(),
    };
    compare("cause", expect.cause.clone(), cause);
    compare("plan", expect.plan.clone(), about.plan.clone().unwrap_or_else(|| "none".to_owned()));
    let ip = about.client_ip.map_or_else(|| "unknown".to_owned(), |ip| ip.address.to_string());
    compare("client_ip", expect.client_ip.clone(), ip);
    let shadowed = about.shadowed.as_ref().map_or("none", |refusal| refusal.kind());
    compare("shadowed", expect.shadowed.clone(), shadowed.to_owned());
    let notes = about.notes.iter().map(|note| note.code()).collect::<Vec<_>>().join(", ");
    compare("notes", expect.notes.as_ref().map(|notes| notes.join(", ")), notes);
    let lines: Vec<_> = about.cors.iter().cloned().chain(limit::headers(&about.limits)).collect();
    for (name, expected) in &expect.headers {
        let found = lines.iter().find(|(line, _)| line == name).map(|(_, value)| value.as_str());
        let same = match (expected.as_deref(), found) {
            (None, found) => found.is_none(),
            (Some("*"), found) => found.is_some(),
            (expected, found) => expected == found,
        };
        if !same {
            let expected = expected.as_deref().unwrap_or("no such header");
            wrong.push(format!("header {name}: expected {expected}, found {}", found.unwrap_or("none")));
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
