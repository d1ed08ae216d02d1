//! `authz explain`: how one request is decided, step by step, and what would have made it pass.

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use authz_core::{
    cases::{self, Scene, WrittenFacts, document::MemberDocument},
    decide_in_steps,
    decision::TraceStep,
    explain::remedy,
    facts::immediately,
    policy::{PolicyText, Snapshot, compile, diagnostic::render, document::OneOrMany},
    record::{DecisionRecord, RecordedDecision, ReplayedFacts},
    time::Timestamp,
};
use clap::Args;
use docsgate_service::exit::UsageError;

use super::Output;
use crate::policy_source;

/// Tell how one request is decided. Nothing is charged and nobody is asked: the facts are what you say.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Policy file or directory.
    #[arg(long, env = "DOCSGATE_POLICY", value_name = "PATH")]
    policy: PathBuf,
    /// The request as YAML or JSON (a case without its name), or a line of the decision log; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "live"])]
    request: Option<PathBuf>,
    /// The id of a recent decision of a running gate; see --admin.
    #[arg(long, value_name = "ID", conflicts_with = "url")]
    live: Option<String>,
    /// The admin listener of the running gate.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9902")]
    admin: String,
    /// URL of the request, such as `https://docs.example.org/api/docs-search?q=x`.
    #[arg(long, value_name = "URL", required_unless_present_any = ["request", "live"])]
    url: Option<url::Url>,
    /// Method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A header, NAME: VALUE. Repeatable.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Peer of the TCP connection to Envoy.
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<String>,
    /// Subject of a valid token.
    #[arg(long, value_name = "SUBJECT")]
    member: Option<String>,
    /// Why the token does not verify, such as bad_signature.
    #[arg(long, value_name = "FAULT", requires = "member")]
    fault: Option<String>,
    /// The member's plan.
    #[arg(long, value_name = "PLAN", requires = "member")]
    plan: Option<String>,
    /// An entitlement of the member. Repeatable.
    #[arg(long = "entitlement", value_name = "FEATURE", requires = "member")]
    entitlements: Vec<String>,
    /// How to print the explanation.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is explained.
enum Subject {
    Scene(Box<Scene>),
    Record(Box<DecisionRecord>),
}

/// Exit code 0: explained, whatever the decision. 2: the request or the policy cannot be read.
///
/// # Errors
/// When something cannot be read.
pub async fn run(args: ExplainArgs) -> Result<ExitCode> {
    let files = policy_source::read(&args.policy).map_err(UsageError)?;
    let policy = compile(&files, &policy_source::overrides_of_environment())
        .map_err(|found| UsageError(format!("the policy is refused\n\n{}", render(&found))))?
        .snapshot;
    let explained = match subject(&args).await? {
        Subject::Scene(scene) => explain_scene(&policy, &scene)?,
        Subject::Record(record) => explain_record(&policy, &record)?,
    };
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => write!(out, "{}", explained.text())?,
        Output::Json => writeln!(out, "{:#}", explained.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn subject(args: &ExplainArgs) -> Result<Subject> {
    if let Some(id) = &args.live {
        return Ok(Subject::Record(Box::new(live(&args.admin, id).await?)));
    }
    let Some(path) = &args.request else { return Ok(Subject::Scene(Box::new(from_flags(args)?))) };
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(1024 * 1024).read_to_string(&mut text).context("standard input")?;
        text
    } else {
        std::fs::read_to_string(path).map_err(|error| UsageError(format!("--request {}: {error}", path.display())))?
    };
    if text.contains(authz_core::record::SCHEMA) {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let record = serde_json::from_str(line)
            .map_err(|error| UsageError(format!("{}: not a line of the decision log: {error}", path.display())))?;
        return Ok(Subject::Record(Box::new(record)));
    }
    let scene = cases::parse_scene(&PolicyText { name: path.display().to_string(), text })
        .map_err(|found| UsageError(format!("the request is not understood\n\n{}", render(&found))))?;
    Ok(Subject::Scene(Box::new(scene)))
}

fn from_flags(args: &ExplainArgs) -> Result<Scene> {
    let url = args.url.as_ref().ok_or_else(|| UsageError("one of --url, --request and --live is needed".into()))?;
    let mut scene = Scene::default();
    scene.request.method = Some(args.method.clone());
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    scene.request.host = Some(format!("{}{port}", url.host_str().unwrap_or_default()));
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    scene.request.path = format!("{}{query}", url.path());
    scene.request.peer.clone_from(&args.peer);
    for header in &args.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| UsageError(format!("--header `{header}`: expected `NAME: VALUE`")))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        let values = match scene.request.headers.remove(&name) {
            None => OneOrMany::One(value),
            Some(OneOrMany::One(first)) => OneOrMany::Many(vec![first, value]),
            Some(OneOrMany::Many(mut values)) => {
                values.push(value);
                OneOrMany::Many(values)
            }
        };
        scene.request.headers.insert(name, values);
    }
    if let Some(subject) = &args.member {
        scene.token = Some(cases::TokenDocument {
            subject: subject.clone(),
            fault: args.fault.clone(),
            ..cases::TokenDocument::default()
        });
        let entitlements = args.entitlements.iter().map(|feature| cases::document::EntitlementDocument {
            feature: feature.clone(),
            starts: None,
            ends: None,
        });
        let member = MemberDocument { plan: args.plan.clone(), suspended: false, entitlements: entitlements.collect() };
        scene.members.insert(subject.clone(), member);
    }
    Ok(scene)
}

/// Asks a running gate for one of its recent decisions.
async fn live(admin: &str, id: &str) -> Result<DecisionRecord> {
    let url = url::Url::parse(admin)
        .and_then(|url| url.join(&format!("/decisions/{id}")))
        .map_err(|error| UsageError(format!("--admin {admin}: {error}")))?;
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).build()?;
    let response = client.get(url.clone()).send().await.with_context(|| format!("{url} cannot be reached"))?;
    let status = response.status();
    let text = response.text().await?;
    let problem = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
    if let Some(detail) = problem["detail"].as_str().filter(|_| !status.is_success()) {
        anyhow::bail!(
            "{url} answered {status}: {detail} Expected the operators' listener of `authz serve` (--admin-listen)"
        );
    }
    if status == reqwest::StatusCode::NOT_FOUND {
        anyhow::bail!("the gate at {admin} does not remember a decision {id}; it keeps only the most recent ones");
    }
    serde_json::from_str(&text).with_context(|| format!("{url} answered {status}, which is not a decision"))
}

/// A decision and how it came about.
struct Explained {
    steps: Vec<TraceStep>,
    decision: RecordedDecision,
    headers: Vec<(String, String)>,
    remedy: Option<String>,
    policy: String,
    /// What the record said, if one was explained and the policy now says something else.
    recorded: Option<RecordedDecision>,
}

fn explain_scene(policy: &Snapshot, scene: &Scene) -> Result<Explained> {
    let now = match &scene.clock {
        Some(clock) => Timestamp::parse(clock).map_err(UsageError)?,
        None => Timestamp::from_system(SystemTime::now()),
    };
    let played = cases::play(policy, scene, &mut WrittenFacts::default(), now).map_err(UsageError)?;
    Ok(Explained {
        decision: RecordedDecision::of(&played.decision),
        headers: headers(&played.decision),
        remedy: remedy(policy, played.view.as_ref().ok(), &played.decision),
        policy: policy.version.to_string(),
        steps: played.steps,
        recorded: None,
    })
}

fn explain_record(policy: &Snapshot, record: &DecisionRecord) -> Result<Explained> {
    let now = record.timestamp().map_err(UsageError)?;
    let facts = ReplayedFacts::new(&record.facts, None);
    let view = record.request.view(&record.id);
    let decided = immediately(decide_in_steps(policy, &view, &facts, now));
    let (decision, mut steps) = decided.context("recorded facts never wait")?;
    let again = RecordedDecision::of(&decision);
    if record.truncated {
        let text = "the record does not hold the whole request: what is said here is of what it holds".to_owned();
        steps.push(TraceStep { step: "record", text });
    }
    if facts.unanswered() {
        let text = "the record does not hold a fact that this policy asks for".to_owned();
        steps.push(TraceStep { step: "record", text });
    }
    Ok(Explained {
        recorded: record.decision.differs(&again).then(|| record.decision.clone()),
        headers: headers(&decision),
        remedy: remedy(policy, view.as_ref().ok(), &decision),
        policy: policy.version.to_string(),
        decision: again,
        steps,
    })
}

fn headers(decision: &authz_core::decision::Decision) -> Vec<(String, String)> {
    let limits = authz_core::limit::headers(&decision.about.limits);
    decision.about.cors.iter().cloned().chain(limits).map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Explained {
    fn text(&self) -> String {
        let mut out = String::new();
        for TraceStep { step, text } in &self.steps {
            out.push_str(&format!("{step:<12} {text}\n"));
        }
        for (name, value) in &self.headers {
            out.push_str(&format!("{:<12} {name}: {value}\n", "header"));
        }
        out.push_str(&format!("{:<12} {} (policy {})\n", "answer", self.decision.in_words(), self.policy));
        if let Some(recorded) = &self.recorded {
            let then = format!("{} {}", recorded.in_words(), recorded.cause.as_deref().unwrap_or_default());
            out.push_str(&format!("{:<12} the record says {}\n", "then", then.trim_end()));
        }
        if let Some(remedy) = &self.remedy {
            out.push_str(&format!("{:<12} {remedy}\n", "to pass"));
        }
        out
    }

    fn json(&self) -> serde_json::Value {
        let steps = self.steps.iter().map(|step| serde_json::json!({"step": step.step, "text": step.text}));
        serde_json::json!({
            "policy": self.policy,
            "steps": steps.collect::<Vec<_>>(),
            "decision": self.decision,
            "headers": self.headers,
            "recorded": self.recorded,
            "remedy": self.remedy,
        })
    }
}
