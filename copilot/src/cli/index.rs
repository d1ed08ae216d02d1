//! `copilot index …`: from a docs build to a published artifact.

mod build;
mod publish;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::Failure;
use crate::corpus::artifact::{self, Expected, SigningKey, VerifyKey};

/// Build and look at artifacts.
#[derive(Debug, Args)]
pub struct IndexArgs {
    #[command(subcommand)]
    action: IndexAction,
}

#[derive(Debug, Subcommand)]
enum IndexAction {
    /// Build an artifact from a folder of Markdown, or from a built site.
    Build(build::BuildArgs),
    /// Show what an artifact says of itself.
    Inspect(ArtifactArgs),
    /// Check an artifact: digests, versions and, with a key, its signature.
    Verify(ArtifactArgs),
    /// Make a key pair that signs artifacts.
    Keygen(KeygenArgs),
    /// Put an artifact in a folder or bucket and point to it.
    Publish(publish::PublishArgs),
    /// Point to an earlier artifact of a folder or bucket again.
    Rollback(publish::RollbackArgs),
}

#[derive(Debug, Args)]
struct ArtifactArgs {
    /// The artifact.
    #[arg(value_name = "FILE")]
    artifact: PathBuf,
    /// File with the public key that it must be signed with.
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct KeygenArgs {
    /// Where to write the private key; the public one gets `.pub` appended.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave a key pair that is there as it is, and succeed.
    #[arg(long)]
    keep: bool,
}

/// Runs `copilot index …`.
///
/// # Errors
/// One sentence about what is wrong.
pub fn run(args: &IndexArgs) -> Result<ExitCode, Failure> {
    match &args.action {
        IndexAction::Build(args) => build::run(args)?,
        IndexAction::Inspect(args) => {
            let key = verify_key(args.verify_key.as_deref())?;
            let manifest = artifact::inspect(&args.artifact, key.as_ref()).map_err(anyhow::Error::from)?;
            let mut value = serde_json::to_value(&manifest).context("the manifest")?;
            if let Some(object) = value.as_object_mut() {
                object.insert("version".into(), manifest.version().into());
            }
            writeln!(std::io::stdout(), "{value:#}").context("standard output")?;
        }
        IndexAction::Verify(args) => {
            let key = verify_key(args.verify_key.as_deref())?;
            let scratch = tempfile::tempdir().context("a temporary folder")?;
            let expected = Expected { key: key.as_ref(), ..Expected::default() };
            let unpacked = artifact::open(&args.artifact, scratch.path(), expected).map_err(anyhow::Error::from)?;
            let signed = if key.is_some() { ", signature good" } else { "" };
            let manifest = unpacked.manifest;
            writeln!(
                std::io::stdout(),
                "{}: corpus {}, version {}, whole{signed}",
                args.artifact.display(),
                manifest.corpus,
                manifest.version()
            )
            .context("standard output")?;
        }
        IndexAction::Keygen(args) => keygen(args)?,
        IndexAction::Publish(args) => publish::publish(args)?,
        IndexAction::Rollback(args) => publish::rollback(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The key in the file of `--verify-key`.
pub(super) fn verify_key(path: Option<&Path>) -> Result<Option<VerifyKey>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |error: String| Failure::Usage(format!("--verify-key {}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    VerifyKey::parse(&text).map(Some).map_err(wrong)
}

/// The key in the file of `--signing-key`.
fn signing_key(path: Option<&Path>) -> Result<Option<SigningKey>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |error: String| Failure::Usage(format!("--signing-key {}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    SigningKey::parse(&text).map(Some).map_err(wrong)
}

fn keygen(args: &KeygenArgs) -> Result<()> {
    let public_path = PathBuf::from(format!("{}.pub", args.out.display()));
    if args.keep && args.out.is_file() && public_path.is_file() {
        writeln!(std::io::stdout(), "private key {} is there already", args.out.display())?;
        return Ok(());
    }
    let seed = SigningKey::generate().map_err(anyhow::Error::msg)?;
    let public = SigningKey::parse(&seed).map_err(anyhow::Error::msg)?.public();
    let mut options = fs::OpenOptions::new();
    let file = std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600).open(&args.out);
    file.and_then(|mut file| writeln!(file, "{seed}")).with_context(|| format!("--out {}", args.out.display()))?;
    fs::write(&public_path, format!("{public}\n")).with_context(|| public_path.display().to_string())?;
    writeln!(std::io::stdout(), "private key {}, public key {} ({public})", args.out.display(), public_path.display())?;
    Ok(())
}
