//! `copilot index publish` and `copilot index rollback`

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::signing_key;
use crate::{
    cli::Failure,
    corpus::{
        place::Place,
        publish::{self, Outcome},
    },
};

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The artifact.
    #[arg(value_name = "FILE")]
    artifact: PathBuf,
    /// A folder, or s3://BUCKET/PREFIX with the usual AWS_… variables.
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// File with the private key that signs the pointer; the artifact must be signed with it as well.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The folder or s3://BUCKET/PREFIX that was published to.
    #[arg(value_name = "PLACE")]
    place: String,
    /// Name of the corpus.
    #[arg(long, value_name = "NAME", default_value = "public")]
    corpus: String,
    /// The version to go back to; usually the one before the latest.
    #[arg(long, value_name = "VERSION")]
    to_version: Option<String>,
    /// File with the private key that signs the pointer.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

pub(super) fn publish(args: &PublishArgs) -> Result<(), Failure> {
    let key = signing_key(args.signing_key.as_deref())?;
    if !args.to.contains("://") {
        std::fs::create_dir_all(&args.to).with_context(|| format!("--to {}", args.to))?;
    }
    let place = Place::parse(&args.to).map_err(|error| Failure::Usage(format!("--to {error}")))?;
    let outcome = run(publish::publish(&args.artifact, &place, key.as_ref()))?;
    report(&place, &outcome)
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let key = signing_key(args.signing_key.as_deref())?;
    let place = Place::parse(&args.place).map_err(Failure::Usage)?;
    let outcome = run(publish::rollback(&place, &args.corpus, args.to_version.as_deref(), key.as_ref()))?;
    report(&place, &outcome)
}

fn run(work: impl Future<Output = Result<Outcome, publish::PublishFault>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    Ok(runtime.block_on(work)?)
}

fn report(place: &Place, outcome: &Outcome) -> Result<(), Failure> {
    let pointer = &outcome.pointer;
    let what = if outcome.changed { "is the latest now" } else { "was the latest already" };
    writeln!(
        std::io::stdout(),
        "{}: corpus {}, version {} {what}, sequence {}, {}",
        place.shown,
        pointer.corpus,
        pointer.latest.version,
        pointer.sequence,
        pointer.latest.artifact
    )
    .context("standard output")?;
    Ok(())
}
