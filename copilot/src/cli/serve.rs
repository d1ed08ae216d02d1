//! `copilot serve`: settings, checked before anything is started.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::ArgAction;
use docsgate_grant::Keys;
use docsgate_service::logs::{self, LogFormat};

use super::Failure;
use crate::{
    corpus::source::Source,
    grant_guard::Guard,
    search::Synonyms,
    serve::{self, CorpusSource, Settings},
};

/// Settings of the server.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the public listener; Envoy connects to it.
    #[arg(long, env = "COPILOT_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Address of the operators' listener: /unanswered, beside /metrics, /healthz and /readyz. Whoever reaches it sees what
    /// readers asked.
    #[arg(long, env = "COPILOT_ADMIN_LISTEN", default_value = "127.0.0.1:9903")]
    admin_listen: SocketAddr,
    /// Address of a listener for /metrics, /healthz and /readyz alone; without it there is none.
    #[arg(long, env = "COPILOT_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// Address of the gRPC listener; without it there is none.
    #[arg(long, env = "COPILOT_GRPC_LISTEN")]
    grpc_listen: Option<SocketAddr>,
    /// A corpus and where its artifact is: NAME=SOURCE, a file, a folder or s3://BUCKET/PREFIX that was published to, or an
    /// https address; repeatable, separated by semicolons in the environment.
    #[arg(long = "corpus", env = "COPILOT_CORPORA", value_delimiter = ';', required = true, action = ArgAction::Append)]
    corpora: Vec<String>,
    /// Keys that grants are signed with: lines KID:BASE64SECRET.
    #[arg(long, env = "DOCSGATE_GRANT_KEY_FILE", required_unless_present = "insecure_no_grant")]
    grant_key_file: Option<PathBuf>,
    /// Development only: serve without grants.
    #[arg(long, env = "COPILOT_INSECURE_NO_GRANT", conflicts_with = "grant_key_file")]
    insecure_no_grant: bool,
    /// Corpora that are served without grants, best first.
    #[arg(long, value_delimiter = ',', default_value = "public", requires = "insecure_no_grant")]
    insecure_corpora: Vec<String>,
    /// Folder that artifacts are unpacked to; nothing is written elsewhere.
    #[arg(long, env = "COPILOT_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Most bytes of unpacked artifacts in that folder, such as 4GiB.
    #[arg(long, env = "COPILOT_CACHE_SIZE", default_value = "4GiB", value_parser = size)]
    cache_size: u64,
    /// Ed25519 public key; artifacts must then be signed with its private key.
    #[arg(long, env = "COPILOT_VERIFY_KEY_FILE")]
    verify_key: Option<PathBuf>,
    /// Words that mean the same: one group a line, separated by commas.
    #[arg(long, env = "COPILOT_SYNONYMS")]
    synonyms: Option<PathBuf>,
    /// Seconds between two looks at a source.
    #[arg(long, env = "COPILOT_POLL_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    poll_seconds: u64,
    /// Answers that may be streamed to one member at a time.
    #[arg(long, default_value_t = 4)]
    streams_per_caller: usize,
    /// Answers that may be streamed to all anonymous callers together.
    #[arg(long, default_value_t = 256)]
    streams_anonymous: usize,
    /// Memory that all searches under way may take together, such as 128MiB; beyond it requests wait, then get 503.
    #[arg(long, env = "COPILOT_SEARCH_MEMORY", default_value = "128MiB", value_parser = size)]
    search_memory: u64,
    /// Unanswered questions that are kept in memory for `copilot report unanswered`; 0 keeps none.
    #[arg(long, env = "COPILOT_UNANSWERED", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=10_000))]
    unanswered: u32,
    /// Written with process id and addresses once all listeners are bound.
    #[arg(long, env = "COPILOT_READY_FILE")]
    ready_file: Option<PathBuf>,
    /// Form of the log.
    #[arg(long, env = "COPILOT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

/// Checks the settings and serves until told to stop.
///
/// # Errors
/// A wrong setting, or a start that failed.
pub fn run(args: Args) -> Result<(), Failure> {
    logs::start(args.log_format);
    let settings = settings(args)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    Ok(runtime.block_on(serve::serve(settings))?)
}

/// A size such as `512MiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a size such as 512MiB or 4GiB".to_owned())
}

fn settings(args: Args) -> Result<Settings, Failure> {
    let mut corpora = Vec::new();
    let mut names = BTreeSet::new();
    for text in args.corpora.iter().filter(|text| !text.trim().is_empty()) {
        let (name, source) = text.split_once('=').ok_or_else(|| {
            Failure::Usage(format!("--corpus {text}: expected NAME=SOURCE, for example public=public.docsgate"))
        })?;
        let well_formed = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !well_formed || source.is_empty() {
            return Err(Failure::Usage(format!(
                "--corpus {text}: expected NAME=SOURCE, the name of letters, digits, - and _"
            )));
        }
        if !names.insert(name.to_owned()) {
            return Err(Failure::Usage(format!("--corpus {name} is given twice")));
        }
        let source = Source::parse(source).map_err(|error| Failure::Usage(format!("--corpus {name}={error}")))?;
        corpora.push(CorpusSource { corpus: name.to_owned(), source });
    }
    if corpora.is_empty() {
        return Err(Failure::Usage("no corpus to serve: expected --corpus NAME=SOURCE".to_owned()));
    }
    let guard = match &args.grant_key_file {
        Some(file) => {
            Guard::Grants(Keys::load(file).map_err(|fault| Failure::Usage(format!("--grant-key-file: {fault}")))?)
        }
        None => Guard::Open(args.insecure_corpora),
    };
    let synonyms = match &args.synonyms {
        Some(file) => {
            let read = std::fs::read_to_string(file)
                .map_err(|error| Failure::Usage(format!("--synonyms {}: {error}", file.display())))?;
            Synonyms::parse(&read).map_err(|fault| Failure::Usage(format!("--synonyms {}: {fault}", file.display())))?
        }
        None => Synonyms::default(),
    };
    Ok(Settings {
        listen: args.listen,
        admin_listen: args.admin_listen,
        metrics_listen: args.metrics_listen,
        grpc_listen: args.grpc_listen,
        corpora,
        guard,
        cache_dir: args.cache_dir.unwrap_or_else(|| std::env::temp_dir().join("docsgate-copilot")),
        cache_bytes: args.cache_size,
        verify_key: args.verify_key,
        synonyms,
        poll: Duration::from_secs(args.poll_seconds),
        streams_per_caller: args.streams_per_caller,
        streams_anonymous: args.streams_anonymous,
        search_bytes: args.search_memory,
        unanswered: args.unanswered as usize,
        ready_file: args.ready_file,
    })
}
