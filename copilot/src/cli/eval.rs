//! `copilot eval`: a table, or JSON.

pub mod answers;

use std::{
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Failure, Output};
use crate::{
    eval::{
        self, Run,
        measures::{NAMES, estimate},
        sets::TestSet,
    },
    index::language::Language,
    search::{Settings, Tuning},
};

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure answers: is the page found, is the question answered, does the answer hold what it must.
    Answers(Box<answers::Args>),
}

/// Settings of a measurement.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Folders with corpus.jsonl, queries.jsonl and qrels.tsv.
    #[arg(required = true)]
    sets: Vec<PathBuf>,
    /// Tree of pages to search in place of corpus.jsonl; judgements then name pages by their paths.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// An earlier result of `--output json` to compare with, query by query.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Compare with plain BM25 (one field, words as written) in the same run.
    #[arg(long)]
    against_plain: bool,
    /// Compare with plain BM25 over stems instead.
    #[arg(long, requires = "against_plain")]
    plain_stemmed: bool,
    /// Change one number of the ranking: NAME=JSON, for example `--set page=0`; repeatable.
    #[arg(long = "set")]
    changes: Vec<String>,
    /// Language of the set.
    #[arg(long, value_enum, default_value_t = Language::English)]
    language: Language,
    /// Queries that lost most, to be listed.
    #[arg(long, default_value_t = 5)]
    losers: usize,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Measures and prints.
///
/// # Errors
/// A wrong argument or an unreadable set.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(What::Answers(args)) = &args.what {
        return answers::run(args);
    }
    let tuning: Tuning = changed(&Tuning::default(), &args.changes, "--set")?;
    let settings = Settings { tuning, ..Settings::default() };
    let baseline = args.baseline.as_ref().map(|file| -> anyhow::Result<Vec<Run>> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a result of --output json", file.display()))
    });
    let baseline = baseline.transpose()?.unwrap_or_default();
    let mut runs = Vec::new();
    let mut text = String::new();
    for folder in &args.sets {
        let set = TestSet::load(folder, args.docs.as_deref())?;
        let index = eval::index(&set, args.language)?;
        let run = eval::run(&set, &index, &settings)?;
        let mut before = baseline.iter().find(|run| run.set == set.name).cloned();
        if args.against_plain {
            let plain = set.in_one_field();
            let index = eval::index(&plain, args.language)?;
            let settings = Settings { tuning: Tuning::plain(args.plain_stemmed), ..Settings::default() };
            before = Some(eval::run(&plain, &index, &settings)?);
        }
        text.push_str(&table(&run, before.as_ref(), &set, args.losers));
        runs.push(run);
    }
    if args.output == Output::Json {
        text = json!(runs).to_string() + "\n";
    }
    stdout().write_all(text.as_bytes()).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Settings with some numbers changed.
fn changed<T: Serialize + DeserializeOwned>(base: &T, changes: &[String], flag: &str) -> Result<T, Failure> {
    let wrong = |text: &str, why: &str| Failure::Usage(format!("{flag} {text}: {why}"));
    let mut numbers = json!(base);
    for change in changes {
        let (name, value) = change.split_once('=').ok_or_else(|| wrong(change, "expected NAME=JSON"))?;
        let value = serde_json::from_str(value).map_err(|error| wrong(change, &error.to_string()))?;
        // `weights.3` is one number of a list.
        let pointer = format!("/{}", name.replace('.', "/"));
        *numbers.pointer_mut(&pointer).ok_or_else(|| wrong(change, "there is no such number"))? = value;
    }
    serde_json::from_value(numbers).map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}

/// Means with intervals; against another run the differences of each query, with theirs.
fn table(run: &Run, before: Option<&Run>, set: &TestSet, losers: usize) -> String {
    let mut text = format!("{}: {} documents, {} queries\n", run.set, set.chunks.len(), run.queries.len());
    for (at, name) in NAMES.iter().enumerate() {
        let values: Vec<f64> = run.queries.values().map(|measures| measures.values()[at]).collect();
        let mean = estimate(&values);
        text.push_str(&format!("  {name:<10} {:.4}  [{:.4}, {:.4}]", mean.mean, mean.low, mean.high));
        if let Some(before) = before {
            let old: Vec<f64> = before.queries.values().map(|measures| measures.values()[at]).collect();
            let pairs = run
                .queries
                .iter()
                .filter_map(|(id, new)| before.queries.get(id).map(|old| new.values()[at] - old.values()[at]));
            let gain = estimate(&pairs.collect::<Vec<_>>());
            text.push_str(&format!(
                "  before {:.4}  gain {:+.4} [{:+.4}, {:+.4}]",
                estimate(&old).mean,
                gain.mean,
                gain.low,
                gain.high
            ));
        }
        text.push('\n');
    }
    if let Some(before) = before {
        let mut lost: Vec<(f64, &String)> = run
            .queries
            .iter()
            .filter_map(|(id, new)| before.queries.get(id).map(|old| (new.ndcg - old.ndcg, id)))
            .filter(|(gain, _)| *gain < 0.0)
            .collect();
        lost.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (gain, id) in lost.into_iter().take(losers) {
            let query = set.queries.get(id).map_or("", String::as_str);
            text.push_str(&format!("  lost {gain:+.4}  {id}  {query}\n"));
        }
    }
    text
}
