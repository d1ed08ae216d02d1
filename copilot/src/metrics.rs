//! Counters and durations, named in one place.

use std::time::{Duration, SystemTime};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{corpus::live::State, search::Work};

/// What a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, as the documentation site's pages speak it.
    Http,
    /// gRPC, for services.
    Grpc,
}

impl Protocol {
    /// As labels, spans and the log have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// A request that has ended, as far as it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// What was asked for.
    pub route: &'static str,
    /// How.
    pub protocol: Protocol,
    /// The outcome, as an HTTP status.
    pub status: u16,
    /// Time to the response's head.
    pub elapsed: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    route: &'static str,
    protocol: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    revision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Corpus {
    corpus: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    corpus: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    corpus: String,
    grounded: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    corpus: String,
    reason: &'static str,
}

/// All of copilot's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ByOutcome, Counter>,
    seconds: Family<ByRoute, Histogram>,
    grants: Counter,
    searches: Family<Corpus, Counter>,
    zero_results: Family<Corpus, Counter>,
    postings: Histogram,
    terms: Histogram,
    truncated: Counter,
    answers: Family<Answered, Counter>,
    generations: Family<Outcome, Counter>,
    generation: Histogram,
    first_token: Histogram,
    tokens: Counter,
    left_out: Counter,
    unknown_citations: Counter,
    rewritings: Family<Outcome, Counter>,
    refusals: Family<Refusal, Counter>,
    switches: Family<Corpus, Counter>,
    index: Family<Version, Gauge>,
    sections: Family<Corpus, Gauge>,
    loaded: Family<Corpus, Gauge>,
    expires: Family<Corpus, Gauge>,
}

/// Upper bounds of the durations' buckets.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Upper bounds of the work's buckets; the last ones are the most that is done ([`crate::search::budget::MOST`]).
const WORK: [f64; 7] = [1e3, 1e4, 5e4, 2e5, 4e5, 1e6, 2e6];

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("docsgate_copilot"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            grants: Counter::default(),
            searches: Family::default(),
            zero_results: Family::default(),
            postings: Histogram::new(WORK),
            terms: Histogram::new(WORK),
            truncated: Counter::default(),
            answers: Family::default(),
            generations: Family::default(),
            generation: Histogram::new(SECONDS),
            first_token: Histogram::new(SECONDS),
            tokens: Counter::default(),
            left_out: Counter::default(),
            unknown_citations: Counter::default(),
            rewritings: Family::default(),
            refusals: Family::default(),
            switches: Family::default(),
            index: Family::default(),
            sections: Family::default(),
            loaded: Family::default(),
            expires: Family::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        let help =
            "Requests and calls by route, protocol and status; of a call, the HTTP status that stands for its code";
        r.register("requests", help, self.requests.clone());
        r.register("request_seconds", "Time to the response's head", self.seconds.clone());
        r.register("grant_refusals", "Requests and calls without a valid grant", self.grants.clone());
        r.register("searches", "Searches by corpus", self.searches.clone());
        r.register("zero_results", "Searches that found nothing", self.zero_results.clone());
        let help = "Entries of posting lists that a search or a question read";
        r.register("search_postings", help, self.postings.clone());
        r.register("search_terms", "Terms that a search or a question looked up or compared", self.terms.clone());
        let help = "Searches and questions that were not searched for whole";
        r.register("searches_truncated", help, self.truncated.clone());
        r.register("answers", "Answers by whether the documents carried them", self.answers.clone());
        let help =
            "Questions put to the model by outcome: model, left (the reader), or why the extractive answer was given";
        r.register("generations", help, self.generations.clone());
        // What counts from 0 has a rate from the first answer on.
        drop(self.generations.get_or_create(&Outcome { outcome: "model" }));
        drop(self.rewritings.get_or_create(&Outcome { outcome: "model" }));
        let help = "Time from a question to the end of its generated answer, or to what stands in its place";
        r.register("generation_seconds", help, self.generation.clone());
        r.register("generation_first_token_seconds", "Time to the model's first token", self.first_token.clone());
        r.register("generation_tokens", "Tokens of finished answers, prompts included", self.tokens.clone());
        let help = "Sentences and blocks of code that no passage carried and that were left out";
        r.register("generation_left_out", help, self.left_out.clone());
        let help = "Citations of passages that there are not";
        r.register("generation_unknown_citations", help, self.unknown_citations.clone());
        let help = "Follow-ups rewritten by the model, by outcome; all but model were read without it";
        r.register("rewritings", help, self.rewritings.clone());
        r.register("artifact_refusals", "Artifacts not taken into service", self.refusals.clone());
        r.register("index_switches", "Indexes taken into service", self.switches.clone());
        r.register("index_info", "Version of the index in service", self.index.clone());
        r.register("index_sections", "Sections in service", self.sections.clone());
        let build = Family::<Build, Gauge>::default();
        let revision = docsgate_service::revision::REVISION.unwrap_or("unknown");
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION"), revision }).set(1);
        r.register("build_info", "Version and commit of this program; always 1", build);
        let help = "When the index in service was taken into service";
        r.register("index_loaded_timestamp_seconds", help, self.loaded.clone());
        let help = "When the pointer that is followed expires; 0 where there is none or it never does";
        r.register("pointer_expires_timestamp_seconds", help, self.expires.clone());
        self
    }

    /// A finished request.
    pub fn request(&self, request: Request) {
        let Request { route, status, elapsed, .. } = request;
        let protocol = request.protocol.name();
        self.requests.get_or_create(&ByOutcome { route, protocol, status }).inc();
        self.seconds.get_or_create(&ByRoute { route, protocol }).observe(elapsed.as_secs_f64());
    }

    /// A request without a valid grant.
    pub fn refused_grant(&self) {
        self.grants.inc();
    }

    /// A search with its number of results.
    pub fn searched(&self, corpus: &str, total: usize) {
        let label = Corpus { corpus: corpus.to_owned() };
        self.searches.get_or_create(&label).inc();
        if total == 0 {
            self.zero_results.get_or_create(&label).inc();
        }
    }

    /// The work of a search, or of the search for an answer.
    pub fn worked(&self, work: Work, truncated: bool) {
        #[expect(clippy::cast_precision_loss, reason = "at most millions")]
        let (postings, terms) = (work.postings as f64, work.terms as f64);
        self.postings.observe(postings);
        self.terms.observe(terms);
        if truncated {
            self.truncated.inc();
        }
    }

    /// An answer, or an honest refusal of one.
    pub fn answered(&self, corpus: &str, grounded: bool) {
        let grounded = if grounded { "true" } else { "false" };
        self.answers.get_or_create(&Answered { corpus: corpus.to_owned(), grounded }).inc();
    }

    /// A question that was put to the model, by how it went.
    pub fn generated(&self, outcome: &'static str, elapsed: Duration) {
        self.generations.get_or_create(&Outcome { outcome }).inc();
        self.generation.observe(elapsed.as_secs_f64());
    }

    /// The model's first token.
    pub fn first_token(&self, elapsed: Duration) {
        self.first_token.observe(elapsed.as_secs_f64());
    }

    /// Tokens of an answer or rewriting, its prompt included.
    pub fn generation_tokens(&self, tokens: u64) {
        self.tokens.inc_by(tokens);
    }

    /// What was left out of a generated answer.
    pub fn left_out(&self, units: usize, unknown_citations: usize) {
        self.left_out.inc_by(units as u64);
        self.unknown_citations.inc_by(unknown_citations as u64);
    }

    /// A follow-up that the model was asked to rewrite.
    pub fn rewritten(&self, outcome: &'static str) {
        self.rewritings.get_or_create(&Outcome { outcome }).inc();
    }

    /// An artifact that was not taken, with the name of the reason.
    pub fn refused_artifact(&self, corpus: &str, reason: &'static str) {
        self.refusals.get_or_create(&Refusal { corpus: corpus.to_owned(), reason }).inc();
    }

    /// An index that was taken into service.
    pub fn switched(&self, corpus: &str) {
        self.switches.get_or_create(&Corpus { corpus: corpus.to_owned() }).inc();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.loaded.get_or_create(&Corpus { corpus: corpus.to_owned() }).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// The pointer that is followed, and when it expires in seconds since the epoch.
    pub fn followed(&self, corpus: &str, expires_at: Option<u64>) {
        let label = Corpus { corpus: corpus.to_owned() };
        self.expires.get_or_create(&label).set(expires_at.and_then(|time| i64::try_from(time).ok()).unwrap_or(0));
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn render(&self, states: &[State]) -> String {
        self.index.clear();
        for state in states {
            if let Some(version) = &state.version {
                let label = Version { corpus: state.corpus.clone(), version: version.clone() };
                self.index.get_or_create(&label).set(1);
            }
            let sections = i64::try_from(state.sections).unwrap_or(i64::MAX);
            self.sections.get_or_create(&Corpus { corpus: state.corpus.clone() }).set(sections);
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        text
    }
}
