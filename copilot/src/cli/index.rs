//! `copilot index …`: from a docs build to a published artifact.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    corpus::{
        artifact::{self, SigningKey, VerifyKey},
        manifest::{FORMAT, Manifest},
    },
    index::{build, language::Language, schema, site::Site, tokenizer, writer},
};

/// Build and look at artifacts.
#[derive(Debug, Args)]
pub struct IndexArgs {
    #[command(subcommand)]
    action: IndexAction,
}

#[derive(Debug, Subcommand)]
enum IndexAction {
    /// Build an artifact from a folder of Markdown.
    Build(BuildArgs),
    /// Show what an artifact says of itself.
    Inspect(ArtifactArgs),
    /// Check an artifact: digests, versions and, with a key, its signature.
    Verify(ArtifactArgs),
    /// Make a key pair that signs artifacts.
    Keygen(KeygenArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The folder that holds the Markdown files.
    #[arg(value_name = "DOCS")]
    docs: PathBuf,
    /// Where the documents are published.
    #[arg(long, value_name = "URL")]
    site_url: String,
    /// Name of the corpus.
    #[arg(long, value_name = "NAME", default_value = "public")]
    corpus: String,
    /// The artifact to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pages are published as a/b.html instead of a/b/ (MkDocs: use_directory_urls: false).
    #[arg(long)]
    no_directory_urls: bool,
    /// Language of the documents.
    #[arg(long, value_enum, default_value_t = Language::English)]
    language: Language,
    /// File with the private key that signs the artifact.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
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
}

/// Runs `copilot index …`.
///
/// # Errors
/// One sentence about what is wrong.
pub fn run(args: &IndexArgs) -> Result<ExitCode> {
    match &args.action {
        IndexAction::Build(args) => build(args)?,
        IndexAction::Inspect(args) => {
            let manifest = artifact::inspect(&args.artifact, verify_key(args.verify_key.as_deref())?.as_ref())?;
            let mut value = serde_json::to_value(&manifest)?;
            if let Some(object) = value.as_object_mut() {
                object.insert("version".into(), manifest.version().into());
            }
            writeln!(std::io::stdout(), "{value:#}")?;
        }
        IndexAction::Verify(args) => {
            let key = verify_key(args.verify_key.as_deref())?;
            let scratch = tempfile::tempdir().context("a temporary folder")?;
            let unpacked = artifact::open(&args.artifact, scratch.path(), key.as_ref(), None)?;
            let signed = if key.is_some() { ", signature good" } else { "" };
            let manifest = unpacked.manifest;
            writeln!(
                std::io::stdout(),
                "{}: corpus {}, version {}, whole{signed}",
                args.artifact.display(),
                manifest.corpus,
                manifest.version()
            )?;
        }
        IndexAction::Keygen(args) => keygen(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build(args: &BuildArgs) -> Result<()> {
    let started = Instant::now();
    let plain = !args.corpus.is_empty()
        && args.corpus.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if !plain {
        bail!("--corpus {}: expected lower-case letters, digits, `.`, `_` and `-`", args.corpus);
    }
    let site =
        Site::new(&args.site_url, !args.no_directory_urls).map_err(|error| anyhow::anyhow!("--site-url {error}"))?;
    let key = match &args.signing_key {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("--signing-key {}", path.display()))?;
            Some(
                SigningKey::parse(&text)
                    .map_err(|error| anyhow::anyhow!("--signing-key {}: {error}", path.display()))?,
            )
        }
        None => None,
    };
    let bar = progress_bar();
    let read = build::read(&args.docs, &site, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let scratch = tempfile::tempdir().context("a temporary folder")?;
    let written = writer::write(scratch.path(), &read.chunks, args.language)?;
    let manifest = Manifest {
        format: FORMAT,
        corpus: args.corpus.clone(),
        site_url: site.base().to_owned(),
        source_revision: git(&args.docs, &["rev-parse", "HEAD"]),
        built_at: std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .or_else(|| git(&args.docs, &["log", "-1", "--format=%ct", "--", "."]))
            .and_then(|time| time.parse().ok()),
        language: args.language,
        pages: written.pages,
        chunks: written.documents,
        schema: schema::VERSION,
        tokenizer: tokenizer::VERSION,
        files: artifact::digests(scratch.path())?,
    };
    let bytes = artifact::pack(scratch.path(), &manifest, key.as_ref(), &args.out)?;
    report(args, &read, &manifest, bytes, started)
}

fn report(args: &BuildArgs, read: &build::Read, manifest: &Manifest, bytes: u64, started: Instant) -> Result<()> {
    const SHOWN: usize = 20;
    let mut out = std::io::stdout().lock();
    for (name, reason) in read.skipped.iter().take(SHOWN) {
        writeln!(out, "skipped {name}: {reason}")?;
    }
    if let Some(more) = read.skipped.len().checked_sub(SHOWN + 1) {
        writeln!(out, "skipped {} more", more + 1)?;
    }
    writeln!(
        out,
        "{}: corpus {}, version {}, {} pages, {} sections, {} skipped, {} KiB from {} KiB, {:.1} s",
        args.out.display(),
        manifest.corpus,
        manifest.version(),
        manifest.pages,
        manifest.chunks,
        read.skipped.len(),
        bytes.div_ceil(1024),
        read.bytes.div_ceil(1024),
        started.elapsed().as_secs_f64()
    )?;
    Ok(())
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("reading {bar:40} {pos}/{len} pages {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// What git says of the folder; nothing if it is not in a repository or there is no git.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn verify_key(path: Option<&Path>) -> Result<Option<VerifyKey>> {
    let Some(path) = path else { return Ok(None) };
    let text = fs::read_to_string(path).with_context(|| format!("--verify-key {}", path.display()))?;
    VerifyKey::parse(&text).map(Some).map_err(|error| anyhow::anyhow!("--verify-key {}: {error}", path.display()))
}

fn keygen(args: &KeygenArgs) -> Result<()> {
    let seed = SigningKey::generate().map_err(anyhow::Error::msg)?;
    let public = SigningKey::parse(&seed).map_err(anyhow::Error::msg)?.public();
    let mut options = fs::OpenOptions::new();
    let file = std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600).open(&args.out);
    file.and_then(|mut file| writeln!(file, "{seed}")).with_context(|| format!("--out {}", args.out.display()))?;
    let public_path = PathBuf::from(format!("{}.pub", args.out.display()));
    fs::write(&public_path, format!("{public}\n")).with_context(|| public_path.display().to_string())?;
    writeln!(std::io::stdout(), "private key {}, public key {} ({public})", args.out.display(), public_path.display())?;
    Ok(())
}
