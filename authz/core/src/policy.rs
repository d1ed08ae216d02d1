//! The policy in its two representations: the document as written, and the compiled immutable snapshot.

mod compile;
pub mod diagnostic;
pub mod document;
pub mod manifest;
pub mod reference;
pub mod schema;
pub(crate) mod yaml;

use std::{sync::Arc, time::Duration};

pub use compile::{Compiled, Overrides, compile};
pub use diagnostic::{Diagnostic, PolicyText};
pub use document::{LimiterBackend, OnStoreDown, PolicyDocument, WhenDown};

use crate::{
    client_ip::ClientIpPolicy, corpus::Corpus, cors::CorsProfile, identity::Issuer, limit::LimitRule, route::Router,
};

/// A compiled policy. Immutable; swapped as a whole.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Hash of the content it was compiled from; named in every decision.
    pub version: Arc<str>,
    /// Refusals are only recorded.
    pub shadow: bool,
    /// Environment variables may add origins and trusted proxies.
    pub allow_env_overrides: bool,
    /// Where a reader signs in.
    pub sign_in_url: Option<String>,
    /// How the client's address is found.
    pub client_ip: ClientIpPolicy,
    /// CORS profiles.
    pub cors: Vec<Arc<CorsProfile>>,
    /// Token issuers.
    pub issuers: Vec<Arc<Issuer>>,
    /// The header that carries an API key, in lower case; `None` when keys are not accepted.
    pub api_key_header: Option<String>,
    /// How entitlements are cached.
    pub entitlements: EntitlementsPolicy,
    /// Corpora.
    pub corpora: Vec<Arc<Corpus>>,
    /// All limits, by the order of their names.
    pub limits: Vec<Arc<LimitRule>>,
    /// Where limits are counted.
    pub limiter: LimiterPolicy,
    /// The per-address limit of preflights.
    pub preflight_limit: Arc<LimitRule>,
    /// The per-address limit of requests that are refused before any other limit counts them.
    pub noise_limit: Arc<LimitRule>,
    /// The routes.
    pub router: Router,
}

/// How entitlements are looked up and cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitlementsPolicy {
    /// How long a member's record is used without reading it again.
    pub ttl: Duration,
    /// How long an unknown member stays unknown.
    pub negative_ttl: Duration,
    /// Greatest age of a member's record while no primary can be read.
    pub max_stale: Duration,
    /// Most members in memory.
    pub max_entries: u32,
    /// What `corpus: auto` gives when nothing can be known.
    pub on_store_down: OnStoreDown,
}

impl Default for EntitlementsPolicy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(10),
            max_stale: Duration::from_secs(3600),
            max_entries: 100_000,
            on_store_down: OnStoreDown::Public,
        }
    }
}

/// Where limits are counted and what that may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimiterPolicy {
    /// Most keys in memory.
    pub max_keys: u32,
    /// Where limits are counted; absent: in Redis if the process knows one.
    pub backend: Option<LimiterBackend>,
    /// How Redis is used.
    pub redis: RedisPolicy,
}

impl Default for LimiterPolicy {
    fn default() -> Self {
        Self { max_keys: 1_000_000, backend: None, redis: RedisPolicy::default() }
    }
}

/// How Redis is used for shared limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisPolicy {
    /// How long a decision waits.
    pub timeout: Duration,
    /// Replicas that share the limits; never zero.
    pub replicas: u32,
    /// What is done while Redis is away.
    pub when_down: WhenDown,
    /// Tokens that a replica may hold in advance for one key.
    pub lease: u32,
    /// How long they are good.
    pub lease_time: Duration,
}

impl Default for RedisPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(5),
            replicas: 1,
            when_down: WhenDown::Divide,
            lease: 0,
            lease_time: Duration::from_secs(1),
        }
    }
}
