//! `copilot index build`

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::signing_key;
use crate::{
    cli::Failure,
    corpus::{
        artifact,
        manifest::{FORMAT, Manifest},
    },
    index::{
        anchor::Slug,
        build::{self, Documents},
        language::Language,
        mkdocs::{self, MkDocs},
        schema,
        select::{Form, Selection},
        site::Site,
        tokenizer, writer,
    },
};

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The folder that holds the pages, or the one that holds mkdocs.yml.
    #[arg(value_name = "DOCS")]
    docs: PathBuf,
    /// Where the documents are published; usually `site_url` of mkdocs.yml.
    #[arg(long, value_name = "URL")]
    site_url: Option<String>,
    /// Name of the corpus.
    #[arg(long, value_name = "NAME", default_value = "public")]
    corpus: String,
    /// The artifact to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Settings of the site; usually mkdocs.yml in DOCS or above it, if there is one.
    #[arg(long, value_name = "FILE", conflicts_with = "html")]
    mkdocs: Option<PathBuf>,
    /// DOCS is a built site: read its HTML.
    #[arg(long)]
    html: bool,
    /// Only pages that match this pattern (as in .gitignore); repeatable.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No pages that match this pattern (as in .gitignore); repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Pages are published as a/b.html instead of a/b/ (MkDocs: use_directory_urls: false).
    #[arg(long)]
    no_directory_urls: bool,
    /// Folder besides DOCS with files that pages bring in (snippets, examples); repeatable. Usually the folder of
    /// mkdocs.yml.
    #[arg(long, value_name = "DIR")]
    include_from: Vec<PathBuf>,
    /// Language of the documents.
    #[arg(long, value_enum, default_value_t = Language::English)]
    language: Language,
    /// File with the private key that signs the artifact.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

pub(super) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let plain = !args.corpus.is_empty()
        && args.corpus.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if !plain {
        let expected = "expected lower-case letters, digits, `.`, `_` and `-`";
        return Err(Failure::Usage(format!("--corpus {}: {expected}", args.corpus)));
    }
    let key = signing_key(args.signing_key.as_deref())?;
    let settings = settings(args)?;
    let given = args.site_url.as_deref().or_else(|| settings.as_ref()?.site_url.as_deref());
    let url = given.ok_or_else(|| {
        let where_else =
            settings.as_ref().map_or_else(String::new, |found| format!(" ({} has no site_url)", found.file.display()));
        Failure::Usage(format!("--site-url is missing{where_else}: say where the documents are published"))
    })?;
    let directory_urls = !args.no_directory_urls && settings.as_ref().is_none_or(|found| found.directory_urls);
    let site = Site::new(url, directory_urls).map_err(|error| Failure::Usage(format!("--site-url {error}")))?;
    let exclude = settings.iter().flat_map(|found| &found.exclude).chain(&args.exclude).cloned().collect::<Vec<_>>();
    let selection = Selection::new(&args.include, &exclude)
        .map_err(|error| Failure::Usage(format!("--include or --exclude: {error}")))?;
    let folder = settings.as_ref().map_or(args.docs.as_path(), |found| found.docs_dir.as_path());
    let documents = Documents {
        folder,
        site: &site,
        form: if args.html { Form::Html } else { Form::Markdown },
        selection,
        titles: settings.as_ref().map(|found| found.titles.clone()).unwrap_or_default(),
        slug: settings.as_ref().map_or_else(Slug::default, |found| found.slug),
        include_from: include_from(args, settings.as_ref())?,
    };
    let bar = progress_bar();
    let read = build::read(&documents, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let read = read.map_err(anyhow::Error::from)?;
    let (manifest, bytes) = pack(args, &documents, &read, key.as_ref())?;
    let packed = Packed { manifest, bytes, seconds: started.elapsed().as_secs_f64() };
    report(args, settings.as_ref(), &read, &packed)?;
    Ok(())
}

/// The site's settings: those that were named, or those that govern the folder.
fn settings(args: &BuildArgs) -> Result<Option<MkDocs>, Failure> {
    if args.html {
        return Ok(None);
    }
    let found = match &args.mkdocs {
        Some(file) => mkdocs::read(file).map(Some),
        None => mkdocs::find(&args.docs),
    };
    found.map_err(Failure::Usage)
}

/// Folders of files that pages bring in: those that were named, else that of the site's settings.
fn include_from(args: &BuildArgs, settings: Option<&MkDocs>) -> Result<Vec<PathBuf>, Failure> {
    if let Some(missing) = args.include_from.iter().find(|folder| !folder.is_dir()) {
        return Err(Failure::Usage(format!("--include-from {}: expected a folder", missing.display())));
    }
    let of_settings = settings.and_then(|found| found.file.parent()).map(Path::to_owned);
    Ok(if args.include_from.is_empty() { of_settings.into_iter().collect() } else { args.include_from.clone() })
}

fn pack(
    args: &BuildArgs,
    documents: &Documents<'_>,
    read: &build::Read,
    key: Option<&artifact::SigningKey>,
) -> anyhow::Result<(Manifest, u64)> {
    let folder = documents.folder;
    let scratch = tempfile::tempdir().context("a temporary folder")?;
    let written = writer::write(scratch.path(), &read.chunks, args.language)?;
    let manifest = Manifest {
        format: FORMAT,
        corpus: args.corpus.clone(),
        site_url: documents.site.base().to_owned(),
        source_revision: git(folder, &["rev-parse", "HEAD"]),
        built_at: std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .or_else(|| git(folder, &["log", "-1", "--format=%ct", "--", "."]))
            .and_then(|time| time.parse().ok()),
        language: args.language,
        pages: written.pages,
        chunks: written.documents,
        schema: schema::VERSION,
        tokenizer: tokenizer::VERSION,
        bytes: written.bytes,
        files: artifact::digests(scratch.path())?,
    };
    let bytes = artifact::pack(scratch.path(), &manifest, key, &args.out)?;
    Ok((manifest, bytes))
}

/// An artifact that was written.
struct Packed {
    manifest: Manifest,
    /// Its size.
    bytes: u64,
    /// How long it took.
    seconds: f64,
}

fn report(args: &BuildArgs, settings: Option<&MkDocs>, read: &build::Read, packed: &Packed) -> anyhow::Result<()> {
    const SHOWN: usize = 20;
    let mut out = std::io::stdout().lock();
    if let Some(settings) = settings {
        writeln!(out, "settings of {}", settings.file.display())?;
        if settings.slug == Slug::Unknown {
            writeln!(out, "its slugify function is not known here: links lead to pages, not to headings")?;
        }
    }
    for (name, reason) in read.skipped.iter().take(SHOWN) {
        writeln!(out, "skipped {name}: {reason}")?;
    }
    if let Some(more) = read.skipped.len().checked_sub(SHOWN + 1) {
        writeln!(out, "skipped {} more", more + 1)?;
    }
    let Packed { manifest, bytes, seconds } = packed;
    writeln!(
        out,
        "{}: corpus {}, version {}, {} pages, {} sections, {} skipped, {} KiB from {} KiB, {seconds:.1} s",
        args.out.display(),
        manifest.corpus,
        manifest.version(),
        manifest.pages,
        manifest.chunks,
        read.skipped.len(),
        bytes.div_ceil(1024),
        read.bytes.div_ceil(1024),
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
