//! `copilot index publish` and `copilot index rollback`

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::signing_key;
use crate::{
    cli::{
        Failure,
        values::{self, Lifetime},
    },
    clock::now,
    corpus::{
        artifact::SigningKey,
        place::Place,
        publish::{self, Outcome, Terms},
    },
};

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The artifact.
    #[arg(value_name = "FILE", required_unless_present = "refresh")]
    artifact: Option<PathBuf>,
    /// Publish no artifact: sign the pointer that is there again, before it expires.
    #[arg(long, conflicts_with = "artifact")]
    refresh: bool,
    /// Name of the corpus whose pointer is refreshed.
    #[arg(long, value_name = "NAME", default_value = "public", requires = "refresh")]
    corpus: String,
    /// A folder, or s3://BUCKET/PREFIX with the usual AWS_… variables.
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// How long the pointer is good for servers that do not follow it yet, such as 90d or 12h, or never.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = values::lifetime)]
    valid_for: Lifetime,
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
    /// How long the pointer is good for servers that do not follow it yet, such as 90d or 12h, or never.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = values::lifetime)]
    valid_for: Lifetime,
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
    let terms = terms(key.as_ref(), args.valid_for);
    let outcome = match &args.artifact {
        Some(artifact) => run(publish::publish(artifact, &place, terms))?,
        None => run(publish::refresh(&place, &args.corpus, terms))?,
    };
    report(&place, &outcome)
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let key = signing_key(args.signing_key.as_deref())?;
    let place = Place::parse(&args.place).map_err(Failure::Usage)?;
    let terms = terms(key.as_ref(), args.valid_for);
    let outcome = run(publish::rollback(&place, &args.corpus, args.to_version.as_deref(), terms))?;
    report(&place, &outcome)
}

fn terms(key: Option<&SigningKey>, valid_for: Lifetime) -> Terms<'_> {
    let now = now();
    Terms { key, now, expires_at: valid_for.ends(now) }
}

fn run(work: impl Future<Output = Result<Outcome, publish::PublishFault>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    Ok(runtime.block_on(work)?)
}

fn report(place: &Place, outcome: &Outcome) -> Result<(), Failure> {
    let pointer = &outcome.pointer;
    let what = if outcome.changed { "is the latest now" } else { "was the latest already" };
    let good = pointer.expires_at.map_or_else(
        || "good without end".to_owned(),
        |ends| {
            // Rounded up: it was signed a moment ago.
            let hours = ends.saturating_sub(now()).div_ceil(3600);
            format!("good for {} days and {} hours", hours / 24, hours % 24)
        },
    );
    writeln!(
        std::io::stdout(),
        "{}: corpus {}, version {} {what}, sequence {}, {good}, {}",
        place.shown,
        pointer.corpus,
        pointer.latest.version,
        pointer.sequence,
        pointer.latest.artifact
    )
    .context("standard output")?;
    Ok(())
}
