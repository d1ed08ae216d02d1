//! The keys of one issuer, kept fresh in the background: by URL with HTTP's own caching rules, or from a file.

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use authz_core::identity::{
    KeySource,
    jwks::{KeySet, MAX_SET_BYTES},
};
use docsgate_service::pauses::Pauses;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use reqwest::{StatusCode, header};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

/// Time for one fetch.
const FETCH: Duration = Duration::from_secs(5);
/// Fetches on demand, whatever arrives: one in ten seconds.
const ON_DEMAND: Quota = Quota::per_minute(NonZeroU32::new(6).unwrap()).allow_burst(NonZeroU32::MIN);
/// Time that a decision waits for a fetch on demand.
const ON_DEMAND_WAIT: Duration = Duration::from_millis(60);
/// Shortest and longest time that keys are fresh, whatever the response says. A file is read every second, and fresh for the
/// shortest.
const FRESH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// Pauses after fetches that failed: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often a file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(1);

/// SHA-256 of a key set as it was published. Sets are told apart by their content and by nothing else: a number that counts
/// them starts again when an issuer leaves the policy and returns, and would then name another set.
pub type SetDigest = [u8; 32];

/// Keys and how long they may be used without being seen again.
#[derive(Debug)]
pub struct LoadedKeys {
    /// The keys.
    pub keys: KeySet,
    /// Which set they are.
    pub set: SetDigest,
    fresh_until: Mutex<Instant>,
}

impl LoadedKeys {
    /// They were just seen where the issuer publishes them.
    fn seen(&self, fresh_for: Duration) {
        *self.fresh_until.lock() = Instant::now() + fresh_for;
    }
}

/// The keys of one source and the task that keeps them fresh. The task ends when this is dropped.
#[derive(Debug)]
pub struct KeyState {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    source: KeySource,
    allow_http: bool,
    loaded: ArcSwapOption<LoadedKeys>,
    refresh_millis: AtomicU64,
    last_error: Mutex<Option<String>>,
    demands: DefaultDirectRateLimiter,
    demand: Notify,
    /// Counts fetches that have ended.
    fetched: watch::Sender<u64>,
    metrics: KeyMetrics,
}

impl Drop for KeyState {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyState {
    /// Begins to follow a source; the first fetch starts at once.
    pub fn follow(source: KeySource, allow_http: bool, metrics: KeyMetrics) -> Arc<Self> {
        let shared = Arc::new(Shared {
            source,
            allow_http,
            loaded: ArcSwapOption::empty(),
            refresh_millis: AtomicU64::new(300_000),
            last_error: Mutex::default(),
            demands: RateLimiter::direct(ON_DEMAND),
            demand: Notify::new(),
            fetched: watch::Sender::new(0),
            metrics,
        });
        let task = match &shared.source {
            KeySource::Url(_) => tokio::spawn(Arc::clone(&shared).follow_url()),
            KeySource::File(_) => tokio::spawn(Arc::clone(&shared).follow_file()),
        };
        Arc::new(Self { shared, task })
    }

    /// How often to fetch when the response does not say.
    pub fn set_refresh(&self, refresh: Duration) {
        self.shared.refresh_millis.store(u64::try_from(refresh.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The keys, unless they are unknown or have been stale for longer than `max_stale`; with zero they serve only while they
    /// are fresh.
    pub fn usable(&self, max_stale: Duration) -> Option<Arc<LoadedKeys>> {
        let loaded = self.shared.loaded.load_full()?;
        let fresh_until = *loaded.fresh_until.lock();
        (Instant::now() < fresh_until + max_stale).then_some(loaded)
    }

    /// Why the last fetch failed, if it did.
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().clone()
    }

    /// Asks for a fetch because a token named a key that is not known, and waits for it a moment. `false` when one was
    /// asked for only just now. All that wait share one fetch.
    pub async fn refetched_on_demand(&self) -> bool {
        let mut fetched = self.shared.fetched.subscribe();
        fetched.mark_unchanged();
        let demands = &self.shared.demands;
        match demands.check() {
            Ok(()) => self.shared.demand.notify_one(),
            Err(until) => {
                let since = ON_DEMAND.replenish_interval().saturating_sub(until.wait_time_from(demands.clock().now()));
                if since >= ON_DEMAND_WAIT {
                    return false;
                }
            }
        }
        timeout(ON_DEMAND_WAIT, fetched.changed()).await.is_ok()
    }
}

impl Shared {
    /// Fetches for ever: when fresh keys are due, when somebody asks, and after a pause when it failed.
    async fn follow_url(self: Arc<Self>) {
        let KeySource::Url(url) = &self.source else { return };
        let client = match client() {
            Ok(client) => client,
            Err(error) => return self.failed(&error.to_string()),
        };
        let (mut etag, mut pauses) = (None, Pauses::new(PAUSES.0, PAUSES.1));
        loop {
            let pause = match self.fetch(&client, url, &mut etag).await {
                Ok(fresh_for) => {
                    pauses.reset();
                    *self.last_error.lock() = None;
                    self.metrics.succeeded();
                    before_stale(fresh_for)
                }
                Err(error) => {
                    self.failed(&error);
                    pauses.after_failure()
                }
            };
            self.fetched.send_modify(|count| *count += 1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.demand.notified() => {}
            }
        }
    }

    /// How long a response is fresh: as it says, or for `refresh`.
    fn freshness(&self, headers: &header::HeaderMap) -> Duration {
        max_age(headers)
            .unwrap_or_else(|| Duration::from_millis(self.refresh_millis.load(Ordering::Relaxed)))
            .clamp(FRESH.0, FRESH.1)
    }

    /// One fetch. Returns how long its response is fresh.
    async fn fetch(
        &self,
        client: &reqwest::Client,
        url: &str,
        etag: &mut Option<header::HeaderValue>,
    ) -> Result<Duration, String> {
        if !self.allow_http && !url.starts_with("https://") {
            return Err(format!("{url}: keys are fetched over https only (--allow-http-jwks is for development)"));
        }
        let mut request = client.get(url).header(header::ACCEPT, "application/jwk-set+json, application/json");
        if let (Some(etag), true) = (etag.as_ref(), self.loaded.load().is_some()) {
            request = request.header(header::IF_NONE_MATCH, etag.clone());
        }
        let mut response = request.send().await.map_err(|error| describe(url, &error))?;
        let fresh_for = self.freshness(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(loaded) = self.loaded.load_full()
        {
            loaded.seen(fresh_for);
            return Ok(fresh_for);
        }
        if response.status() != StatusCode::OK {
            return Err(format!(
                "{url}: status {}; expected 200 (redirects are not followed)",
                response.status().as_u16()
            ));
        }
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(url, &error))? {
            if content.len() + chunk.len() > MAX_SET_BYTES {
                return Err(format!("{url}: more than {MAX_SET_BYTES} bytes"));
            }
            content.extend_from_slice(&chunk);
        }
        self.adopt(&content, fresh_for).map_err(|error| format!("{url}: {error}"))?;
        *etag = response.headers().get(header::ETAG).cloned();
        Ok(fresh_for)
    }

    /// Follows a file by its content: a mounted Secret or ConfigMap swaps a symbolic link.
    async fn follow_file(self: Arc<Self>) {
        let KeySource::File(path) = &self.source else { return };
        let mut every = tokio::time::interval(FILE_EVERY);
        loop {
            every.tick().await;
            match read(Path::new(path)).await.and_then(|content| self.adopt(&content, FRESH.0)) {
                Ok(()) => *self.last_error.lock() = None,
                Err(error) => self.failed(&format!("{path}: {error}")),
            }
            self.fetched.send_modify(|count| *count += 1);
        }
    }

    /// Puts a set in force if it is usable and differs. The last good one stays otherwise.
    fn adopt(&self, content: &[u8], fresh_for: Duration) -> Result<(), String> {
        let set: SetDigest = Sha256::digest(content).into();
        if let Some(before) = self.loaded.load_full().filter(|before| before.set == set) {
            before.seen(fresh_for);
            return Ok(());
        }
        let keys = KeySet::parse(content).map_err(|fault| fault.to_string())?;
        for skipped in keys.skipped() {
            tracing::warn!(skipped, "a key of the set is not used");
        }
        tracing::info!(source = ?self.source, keys = keys.len(), "token keys loaded");
        self.metrics.keys.set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        let loaded = LoadedKeys { keys, set, fresh_until: Mutex::new(Instant::now() + fresh_for) };
        self.loaded.store(Some(Arc::new(loaded)));
        Ok(())
    }

    fn failed(&self, error: &str) {
        self.metrics.fetches.get_or_create(&FetchLabels { result: "failed" }).inc();
        let mut last = self.last_error.lock();
        if last.as_deref() != Some(error) {
            let kept = self.loaded.load().is_some();
            tracing::error!(error, kept, "token keys cannot be refreshed");
        }
        *last = Some(error.to_owned());
    }
}

/// When to fetch again: a while before the keys are stale, so that with `max_stale: 0s` there is no moment without keys.
fn before_stale(fresh_for: Duration) -> Duration {
    fresh_for.mul_f64(0.8)
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(FETCH)
        .connect_timeout(FETCH)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("docsgate-authz/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The error with its causes: reqwest's own text hides the reason.
fn describe(url: &str, error: &reqwest::Error) -> String {
    let mut text = format!("{url}: cannot be fetched");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?.len();
    if size > MAX_SET_BYTES as u64 {
        return Err(format!("more than {MAX_SET_BYTES} bytes"));
    }
    tokio::fs::read(path).await.map_err(|error| error.to_string())
}

/// `max-age` of `Cache-Control` (RFC 9111); `no-cache` and `no-store` mean zero.
fn max_age(headers: &header::HeaderMap) -> Option<Duration> {
    let value = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    value.split(',').map(str::trim).find_map(|directive| match directive.split_once('=') {
        Some((name, seconds)) if name.eq_ignore_ascii_case("max-age") => {
            seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
        }
        None if directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store") => {
            Some(Duration::ZERO)
        }
        _ => None,
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    result: &'static str,
}

/// Metrics of key sets.
#[derive(Debug, Clone)]
pub struct KeyMetrics {
    fetches: Family<FetchLabels, Counter>,
    keys: Gauge,
    fetched_at: Gauge,
}

impl KeyMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self { fetches: Family::default(), keys: Gauge::default(), fetched_at: Gauge::default() };
        registry.register("docsgate_authz_jwks_fetches", "Fetches of token keys, by result", metrics.fetches.clone());
        registry.register("docsgate_authz_jwks_keys", "Usable token keys of the set loaded last", metrics.keys.clone());
        registry.register(
            "docsgate_authz_jwks_fetched_timestamp_seconds",
            "When token keys were last fetched",
            metrics.fetched_at.clone(),
        );
        metrics
    }

    fn succeeded(&self) {
        self.fetches.get_or_create(&FetchLabels { result: "ok" }).inc();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.fetched_at.set(i64::try_from(now).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
