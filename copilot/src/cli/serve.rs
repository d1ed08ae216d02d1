//! `copilot serve`: settings, checked before anything is started.

mod llm;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::ArgAction;
use docsgate_grant::Keys;
use docsgate_service::{
    environment,
    logs::{self, LogFormat},
};

use super::{Failure, values};
use crate::{
    answer::confidence::THRESHOLD,
    corpus::{artifact::VerifyKey, source::Source},
    grant_guard::Guard,
    search::Synonyms,
    serve::{self, CorpusSource, Settings},
};

/// Settings of the server.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the public listener; Envoy connects to it.
    #[arg(long, env = "DOCSGATE_COPILOT_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Address of the operators' listener: /unanswered, beside /metrics, /healthz and /readyz. Whoever reaches it sees what
    /// readers asked.
    #[arg(long, env = "DOCSGATE_COPILOT_ADMIN_LISTEN", default_value = "127.0.0.1:9903")]
    admin_listen: SocketAddr,
    /// Address of a listener for /metrics, /healthz and /readyz alone; without it there is none.
    #[arg(long, env = "DOCSGATE_COPILOT_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// Address of the gRPC listener; without it there is none.
    #[arg(long, env = "DOCSGATE_COPILOT_GRPC_LISTEN")]
    grpc_listen: Option<SocketAddr>,
    /// A corpus and where its artifact is: NAME=SOURCE, a file, a folder or s3://BUCKET/PREFIX that was published to, or an
    /// https address; repeatable, separated by semicolons in the environment.
    #[arg(long = "corpus", env = "DOCSGATE_COPILOT_CORPORA", value_delimiter = ';', required = true, action = ArgAction::Append)]
    corpora: Vec<String>,
    /// Keys that grants are signed with: lines KID:BASE64SECRET.
    #[arg(long, env = "DOCSGATE_GRANT_KEY_FILE", value_parser = values::path)]
    grant_key_file: Option<PathBuf>,
    /// Development only: serve without grants.
    #[arg(long, env = "DOCSGATE_COPILOT_INSECURE_NO_GRANT", value_name = "BOOL",
          value_parser = environment::switch("DOCSGATE_COPILOT_INSECURE_NO_GRANT"),
          action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    insecure_no_grant: bool,
    /// Corpora that are served without grants, best first; `public` unless said otherwise.
    #[arg(long, value_delimiter = ',')]
    insecure_corpora: Vec<String>,
    /// Folder that artifacts are unpacked to; nothing is written elsewhere.
    #[arg(long, env = "DOCSGATE_COPILOT_CACHE_DIR", value_parser = values::path)]
    cache_dir: Option<PathBuf>,
    /// Most bytes of unpacked artifacts in that folder, such as 4GiB.
    #[arg(long, env = "DOCSGATE_COPILOT_CACHE_SIZE", default_value = "4GiB", value_parser = values::size)]
    cache_size: u64,
    /// Ed25519 public key; artifacts must be signed with its private key.
    #[arg(long, env = "DOCSGATE_COPILOT_VERIFY_KEY_FILE", value_parser = values::path)]
    verify_key: Option<PathBuf>,
    /// Serve artifacts and follow pointers that nobody has vouched for, in place of --verify-key.
    #[arg(long, env = "DOCSGATE_COPILOT_ALLOW_UNSIGNED", value_name = "BOOL",
          value_parser = environment::switch("DOCSGATE_COPILOT_ALLOW_UNSIGNED"),
          action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    allow_unsigned: bool,
    /// Least sequence number that a pointer may have: CORPUS=N, so that a pod without a past follows no old one;
    /// repeatable, separated by semicolons in the environment.
    #[arg(long, env = "DOCSGATE_COPILOT_MIN_SEQUENCE", value_name = "CORPUS=N", value_delimiter = ';', action = ArgAction::Append)]
    min_sequence: Vec<String>,
    /// Words that mean the same: one group a line, separated by commas.
    #[arg(long, env = "DOCSGATE_COPILOT_SYNONYMS", value_parser = values::path)]
    synonyms: Option<PathBuf>,
    /// Least probability, from 0 to 1, with which a question is answered: higher says "not in the docs" more often.
    #[arg(long, env = "DOCSGATE_COPILOT_CONFIDENCE", default_value_t = THRESHOLD, value_parser = values::probability)]
    confidence: f32,
    #[command(flatten)]
    llm: llm::LlmArgs,
    /// Seconds between two polls of a source.
    #[arg(long, env = "DOCSGATE_COPILOT_POLL_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    poll_seconds: u64,
    /// Answers that may be streamed to one member at a time.
    #[arg(long, default_value_t = 4)]
    streams_per_caller: usize,
    /// Answers that may be streamed to all anonymous callers together.
    #[arg(long, default_value_t = 256)]
    streams_anonymous: usize,
    /// Memory that all searches under way may take together, such as 128MiB; beyond it requests wait, then get 503.
    #[arg(long, env = "DOCSGATE_COPILOT_SEARCH_MEMORY", default_value = "128MiB", value_parser = values::size)]
    search_memory: u64,
    /// Unanswered questions that are kept in memory for `copilot report unanswered`; 0 keeps none.
    #[arg(long, env = "DOCSGATE_COPILOT_UNANSWERED", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=10_000))]
    unanswered: u32,
    /// Written with process id and addresses once all listeners are bound.
    #[arg(long, env = "DOCSGATE_COPILOT_READY_FILE", value_parser = values::path)]
    ready_file: Option<PathBuf>,
    /// Form of the log.
    #[arg(long, env = "DOCSGATE_COPILOT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

/// Reads the settings and serves until SIGTERM or SIGINT.
///
/// # Errors
/// A wrong setting, or a start that failed.
pub fn run(args: Args) -> Result<(), Failure> {
    logs::start(args.log_format);
    let settings = settings(args)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    let served = runtime.block_on(serve::serve(settings));
    // An artifact that is being fetched has a thread of its own; a source that stalls must not keep the process from ending.
    runtime.shutdown_background();
    Ok(served?)
}

/// Everything that the server needs, checked before anything is started.
fn settings(args: Args) -> Result<Settings, Failure> {
    let corpora = corpora(&args)?;
    let guard = guard(&args)?;
    let verify_key = verify_key(&args)?;
    let least = least(&args, &corpora)?;
    let synonyms = synonyms(&args)?;
    let generation = args.llm.settings().map_err(Failure::Usage)?;
    Ok(Settings {
        listen: args.listen,
        admin_listen: args.admin_listen,
        metrics_listen: args.metrics_listen,
        grpc_listen: args.grpc_listen,
        corpora,
        guard,
        cache_dir: args.cache_dir.unwrap_or_else(|| std::env::temp_dir().join("docsgate-copilot")),
        cache_bytes: args.cache_size,
        verify_key,
        least,
        synonyms,
        confidence: args.confidence,
        generation,
        poll: Duration::from_secs(args.poll_seconds),
        streams_per_caller: args.streams_per_caller,
        streams_anonymous: args.streams_anonymous,
        search_bytes: args.search_memory,
        unanswered: args.unanswered as usize,
        ready_file: args.ready_file,
    })
}

/// The corpora with their sources, each of them once.
fn corpora(args: &Args) -> Result<Vec<CorpusSource>, Failure> {
    let mut corpora: Vec<CorpusSource> = Vec::new();
    for text in args.corpora.iter().filter(|text| !text.trim().is_empty()) {
        let corpus = corpus(text).map_err(|fault| Failure::Usage(format!("--corpus {fault}")))?;
        if corpora.iter().any(|known| known.corpus == corpus.corpus) {
            return Err(Failure::Usage(format!("--corpus {} is given twice", corpus.corpus)));
        }
        corpora.push(corpus);
    }
    if corpora.is_empty() {
        return Err(Failure::Usage("no corpus to serve: expected --corpus NAME=SOURCE".to_owned()));
    }
    Ok(corpora)
}

/// `NAME=SOURCE`
fn corpus(text: &str) -> Result<CorpusSource, String> {
    let (name, source) = text
        .split_once('=')
        .ok_or_else(|| format!("{text}: expected NAME=SOURCE, for example public=public.docsgate"))?;
    let well_formed = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !well_formed || source.is_empty() {
        return Err(format!("{text}: expected NAME=SOURCE, the name of letters, digits, - and _"));
    }
    let source = Source::parse(source).map_err(|fault| format!("{name}={fault}"))?;
    Ok(CorpusSource { corpus: name.to_owned(), source })
}

/// Who decides what a request may read. Neither a variable that is merely there nor a forgotten key opens anything.
fn guard(args: &Args) -> Result<Guard, Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if !args.insecure_no_grant && !args.insecure_corpora.is_empty() {
        return usage("--insecure-corpora needs --insecure-no-grant");
    }
    match (&args.grant_key_file, args.insecure_no_grant) {
        (Some(file), false) => {
            let keys = Keys::load(file).map_err(|fault| Failure::Usage(format!("--grant-key-file: {fault}")))?;
            Ok(Guard::Grants(keys))
        }
        (None, true) if args.insecure_corpora.is_empty() => Ok(Guard::Open(vec!["public".to_owned()])),
        (None, true) => Ok(Guard::Open(args.insecure_corpora.clone())),
        (Some(_), true) => usage("--grant-key-file and --insecure-no-grant contradict each other: leave one out"),
        (None, false) => usage(
            "--grant-key-file is missing: expected the keys that the gate signs grants with \
             (for development only, --insecure-no-grant serves without)",
        ),
    }
}

/// The key that artifacts must be signed with; none only where that is said.
fn verify_key(args: &Args) -> Result<Option<VerifyKey>, Failure> {
    match (&args.verify_key, args.allow_unsigned) {
        (Some(file), false) => {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
            let key = text.and_then(|text| VerifyKey::parse(&text));
            key.map(Some).map_err(|fault| Failure::Usage(format!("--verify-key {}: {fault}", file.display())))
        }
        (None, true) => Ok(None),
        (Some(_), true) => {
            Err(Failure::Usage("--verify-key and --allow-unsigned contradict each other: leave one out".to_owned()))
        }
        (None, false) => Err(Failure::Usage(
            "--verify-key is missing: expected the public key that artifacts are signed with (`copilot index keygen` \
             makes one); --allow-unsigned serves artifacts that nobody has vouched for"
                .to_owned(),
        )),
    }
}

/// Least sequence numbers of pointers, by corpus.
fn least(args: &Args, corpora: &[CorpusSource]) -> Result<BTreeMap<String, u64>, Failure> {
    let is_served = |name: &str| corpora.iter().any(|corpus| corpus.corpus == name);
    values::by_corpus(&args.min_sequence, is_served).map_err(|fault| Failure::Usage(format!("--min-sequence {fault}")))
}

fn synonyms(args: &Args) -> Result<Synonyms, Failure> {
    let Some(file) = &args.synonyms else { return Ok(Synonyms::default()) };
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let synonyms = read.and_then(|text| Synonyms::parse(&text));
    synonyms.map_err(|fault| Failure::Usage(format!("--synonyms {}: {fault}", file.display())))
}
