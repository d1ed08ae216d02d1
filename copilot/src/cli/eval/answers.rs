//! `copilot eval answers`: what readers get, as a table by kind of question, with gates for a build.

use std::{
    collections::BTreeMap,
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::json;

use super::changed;
use crate::{
    answer::{
        Choice, Settings,
        confidence::{NAMES, THRESHOLD},
    },
    cli::{Failure, Output, values::probability},
    corpus::{artifact::Expected, files},
    eval::{
        answers::{self, Outcome, QuestionKind, Row, Share},
        fit::{self, Example},
    },
    search::{self, Tuning},
};

/// Settings of a measurement.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Questions, one JSON object a line: id, kind, question, pages, must.
    #[arg(required_unless_present = "fit")]
    sets: Vec<PathBuf>,
    /// Artifact that is asked; repeatable, best first.
    #[arg(long = "index", value_name = "FILE", required_unless_present = "fit")]
    indexes: Vec<PathBuf>,
    /// Least probability with which a question is answered.
    #[arg(long, default_value_t = THRESHOLD, value_parser = probability)]
    confidence: f32,
    /// Change one number of the ranking: NAME=JSON; repeatable.
    #[arg(long = "set")]
    changes: Vec<String>,
    /// Change one number of the choice of blocks: NAME=JSON; repeatable.
    #[arg(long = "choose")]
    choices: Vec<String>,
    /// Fail unless this share of how-to questions gets its command or steps, from 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_how_to: Option<f32>,
    /// Fail unless this share of questions of fact is answered right.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_fact: Option<f32>,
    /// Fail unless the page of this share of paraphrased questions is among the first five.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_paraphrase_found: Option<f32>,
    /// Fail unless this share of paraphrased questions is answered.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_paraphrase_answered: Option<f32>,
    /// Fail unless the page of this share of all answerable questions is among the first five.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_found: Option<f32>,
    /// Fail unless this share of all answerable questions is answered right.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_right: Option<f32>,
    /// Fail if more than this share of unanswerable questions is answered.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    max_false_answers: Option<f32>,
    /// Fail if more than this share of small talk gets a grounded answer.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    max_chat_grounded: Option<f32>,
    /// List the questions that are not answered right.
    #[arg(long)]
    failures: bool,
    /// Print the trade-off between answering and false answers over all thresholds.
    #[arg(long)]
    trade_off: bool,
    /// Fit the probability on these results of `--output json`, one set each, and print how it does on each when it was
    /// fitted on the others.
    #[arg(long, value_name = "RESULT", num_args = 1.., conflicts_with_all = ["sets", "indexes"])]
    fit: Vec<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Measures, prints, and holds the gates.
///
/// # Errors
/// A wrong argument, an unreadable set or index.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.fit.is_empty() {
        stdout().write_all(fitted(&args.fit)?.as_bytes()).context("standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    let tuning: Tuning = changed(&Tuning::default(), &args.changes, "--set")?;
    let choice: Choice = changed(&Choice::default(), &args.choices, "--choose")?;
    let ranking = search::Settings { tuning, ..search::Settings::default() };
    let indexes = files::open(&args.indexes, Expected::default())?;
    let settings = Settings { choice, confidence: args.confidence };
    let mut outcomes = Vec::new();
    for set in &args.sets {
        outcomes.extend(answers::run(&answers::load(set)?, &indexes, &ranking, &settings)?);
    }
    let table = answers::table(&outcomes);
    let failed = gates(args, &outcomes, &table);
    let text = if args.output == Output::Json {
        json!({"kinds": table, "questions": outcomes, "failed_gates": failed}).to_string() + "\n"
    } else {
        let mut text = shown(&table, &outcomes);
        if args.failures {
            for outcome in outcomes.iter().filter(|outcome| outcome.kind.answerable() != outcome.right) {
                text.push_str(&line(outcome));
            }
        }
        if args.trade_off {
            text.push_str(&trade_off(&outcomes));
        }
        for gate in &failed {
            text.push_str(&format!("FAILED {gate}\n"));
        }
        text
    };
    stdout().write_all(text.as_bytes()).context("standard output")?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(outcome: &Outcome) -> String {
    let page = outcome.page.map_or_else(|| "-".to_owned(), |place| place.to_string());
    let state = match (outcome.answered, outcome.would_be_right) {
        (true, _) => "wrong answer",
        (false, true) => "withheld, would be right",
        (false, false) => "not answered",
    };
    let features: Vec<String> =
        NAMES.iter().zip(outcome.features.0).map(|(name, value)| format!("{name} {value:.2}")).collect();
    format!(
        "  {} {:?}: {state}, page {page}, confidence {:.2} ({})\n",
        outcome.id,
        outcome.kind,
        outcome.confidence,
        features.join(", ")
    )
}

fn shown(table: &BTreeMap<QuestionKind, Row>, outcomes: &[Outcome]) -> String {
    let cell = |share: &Share| format!("{:.2} [{:.2}, {:.2}]", share.share, share.low, share.high);
    let mut text = format!(
        "{:<14}{:>4}  {:<19}{:<19}{:<19}{:<19}{:<19}\n",
        "kind", "n", "found@1", "found@5", "answered", "right", "answered wrong"
    );
    for (kind, row) in table {
        let name = json!(kind).as_str().unwrap_or_default().to_owned();
        let cells = [&row.found_1, &row.found_5, &row.answered, &row.right, &row.wrong].map(cell);
        text.push_str(&format!(
            "{name:<14}{:>4}  {}\n",
            row.right.of,
            cells.map(|cell| format!("{cell:<19}")).concat().trim_end()
        ));
    }
    let mut micros: Vec<u64> = outcomes.iter().map(|outcome| outcome.micros).collect();
    micros.sort_unstable();
    let at = |share: usize| {
        micros.get((micros.len() * share / 100).min(micros.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    text.push_str(&format!(
        "an answer takes {} µs (median), {} µs (p99), {} µs at the most\n",
        at(50),
        at(99),
        at(100)
    ));
    text
}

/// The gates that do not hold.
fn gates(args: &Args, outcomes: &[Outcome], table: &BTreeMap<QuestionKind, Row>) -> Vec<String> {
    let row = |kind| table.get(&kind).copied().unwrap_or_default();
    let answerable: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.kind.answerable()).collect();
    let chat: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.kind == QuestionKind::Chat).collect();
    let least = [
        ("--min-how-to", args.min_how_to, row(QuestionKind::HowTo).right),
        ("--min-fact", args.min_fact, row(QuestionKind::Fact).right),
        ("--min-paraphrase-found", args.min_paraphrase_found, row(QuestionKind::Paraphrase).found_5),
        ("--min-paraphrase-answered", args.min_paraphrase_answered, row(QuestionKind::Paraphrase).answered),
        ("--min-found", args.min_found, Share::of(&answerable, |outcome| outcome.page.is_some_and(|place| place <= 5))),
        ("--min-right", args.min_right, Share::of(&answerable, |outcome| outcome.right)),
    ];
    let most = [
        ("--max-false-answers", args.max_false_answers, row(QuestionKind::Unanswerable).answered),
        ("--max-chat-grounded", args.max_chat_grounded, Share::of(&chat, |outcome| outcome.grounded)),
    ];
    let failure = |name: &str, bound: f32, share: Share| {
        if share.of == 0 {
            format!("{name} {bound}: no question of this kind")
        } else {
            format!("{name} {bound}: it is {:.2} ({} of {})", share.share, share.count, share.of)
        }
    };
    let too_low = least.into_iter().filter_map(|(name, bound, share)| {
        let bound = bound?;
        (share.of == 0 || share.share < f64::from(bound) - 1e-6).then(|| failure(name, bound, share))
    });
    let too_high = most.into_iter().filter_map(|(name, bound, share)| {
        let bound = bound?;
        (share.of == 0 || share.share > f64::from(bound) + 1e-6).then(|| failure(name, bound, share))
    });
    too_low.chain(too_high).collect()
}

/// Shares answered at every threshold.
fn trade_off(outcomes: &[Outcome]) -> String {
    let mut text = String::from("threshold  answerable answered  of these right  unanswerable answered\n");
    let of = |wanted: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).collect::<Vec<_>>();
    let answerable = of(&|outcome| outcome.kind.answerable());
    let others = of(&|outcome| outcome.kind == QuestionKind::Unanswerable);
    for step in 0..20_u8 {
        let threshold = f32::from(step) / 20.0;
        let over = |outcome: &Outcome| outcome.confidence >= threshold && outcome.confidence > 0.0;
        let answered = Share::of(&answerable, over);
        let right = Share::of(&answerable, |outcome| over(outcome) && outcome.would_be_right);
        let wrongly = Share::of(&others, over);
        text.push_str(&format!(
            "{threshold:>9.2}  {:>19.2}  {:>14.2}  {:>21.2}\n",
            answered.share, right.share, wrongly.share
        ));
    }
    text
}

/// Fits the probability and shows how it does on each set when it was fitted on the others.
///
/// # Errors
/// A result that cannot be read.
fn fitted(files: &[PathBuf]) -> Result<String, Failure> {
    let mut sets: Vec<(String, Vec<Example>)> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let result: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a result of --output json", file.display()))?;
        let mut examples = Vec::new();
        for question in result["questions"].as_array().into_iter().flatten() {
            let kind: QuestionKind = serde_json::from_value(question["kind"].clone()).context("a question's kind")?;
            let features = serde_json::from_value(question["features"].clone()).context("a question's features")?;
            let asked = question["confidence"].as_f64().unwrap_or(0.0) > 0.0;
            if kind != QuestionKind::Chat && asked {
                examples.push(Example { features, answerable: kind.answerable(), weight: 1.0 });
            }
        }
        sets.push((file.display().to_string(), examples));
    }
    let mut text = String::new();
    for (at, (name, examples)) in sets.iter().enumerate() {
        let others: Vec<Example> = sets
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .flat_map(|(_, (_, examples))| examples.clone())
            .collect();
        let model = fit::fit(&others);
        text.push_str(&format!("{name}, fitted on the others\n"));
        for threshold in [0.3_f32, 0.4, 0.5, 0.6, 0.7] {
            let share = |answerable: bool| {
                let of = examples.iter().filter(|example| example.answerable == answerable);
                let over = of.clone().filter(|example| model.probability(&example.features) >= threshold).count();
                format!("{over} of {}", of.count())
            };
            text.push_str(&format!("  at {threshold}: answerable {}, others {}\n", share(true), share(false)));
        }
    }
    let all: Vec<Example> = sets.iter().flat_map(|(_, examples)| examples.clone()).collect();
    let model = fit::fit(&all);
    text.push_str(&format!("fitted on all: weights {:?}, bias {}\n", model.weights, model.bias));
    Ok(text)
}
