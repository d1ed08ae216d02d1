//! The policy as an operator writes it.
//!
//! These types are the single source of the JSON Schema, of `docs/public/policy.md` and of what `authz check` accepts.
//! Rules for the document: unknown fields are errors, nothing is flattened, no negative options, names are map keys.
//! Nothing past [`compile`](super::compile) sees them.

mod limiter;

use std::collections::BTreeMap;

pub use limiter::{LimiterBackend, LimiterDocument, RedisDocument, WhenDown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{identity::TokenAlgorithm, limit::LimitKeyPart};

/// One policy document. Several files of a directory merge into one: a union in which a name defined twice is an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct PolicyDocument {
    /// Version of this format. Always `docsgate/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of document. Always `Policy`.
    pub kind: Kind,
    /// `enforce` refuses what the policy refuses; `shadow` only records what it would have refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Lets the environment variables `CORS_ALLOW_ORIGIN` and `FORWARDED_ALLOW_IPS` add origins and trusted proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_env_overrides: Option<bool>,
    /// A policy that would refuse every request is rejected unless this says that it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_nothing: Option<bool>,
    /// Where a reader signs in. Reaches the body of a 401 and the widget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_url: Option<String>,
    /// How the address of the client is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<ClientIpDocument>,
    /// CORS profiles by name; a route names the one that it uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cors: BTreeMap<String, CorsDocument>,
    /// Token issuers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub issuers: BTreeMap<String, IssuerDocument>,
    /// How API keys are accepted. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeysDocument>,
    /// How entitlements are looked up and cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlements: Option<EntitlementsDocument>,
    /// Corpora by name, with the entitlement that opens each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub corpora: BTreeMap<String, CorpusDocument>,
    /// Rate limits by name; a route lists those that apply.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, LimitDocument>,
    /// Where limits are counted and what their state may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limiter: Option<LimiterDocument>,
    /// Routes. A request that matches none is refused with 404.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteDocument>,
}

/// The version of the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only version there is.
    #[default]
    #[serde(rename = "docsgate/v1")]
    V1,
}

/// The kind of document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A policy.
    #[default]
    Policy,
}

/// Whether refusals bite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refusals are enforced.
    #[default]
    Enforce,
    /// Refusals are recorded and the request goes on, with what an anonymous caller may see at the most.
    Shadow,
}

/// How the address of the client is found: from the right-most untrusted hop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ClientIpDocument {
    /// Number of proxies in front of Envoy that append to `X-Forwarded-For`. Excludes `trusted_proxies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_hops: Option<u8>,
    /// Networks (CIDR) of the proxies in front of Envoy: entries of `X-Forwarded-For` are passed over from the right
    /// while they are in one of these. Excludes `trusted_hops`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// A header that carries the client's address alone, such as `cf-connecting-ip`. Used only when the peer is in
    /// `trusted_proxies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Whether Envoy itself appends its peer to `X-Forwarded-For` before it asks, as it does without `skip_xff_append:
    /// true`; that entry is then no hop. The shipped bootstraps do not append. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_appends: Option<bool>,
    /// Bits of an IPv6 address that make one client; 64 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<u8>,
    /// Networks (CIDR) of clients that are refused on every route, with 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// One CORS profile, in the words of the Gateway API's HTTPRoute CORS filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct CorsDocument {
    /// Origins that may read responses: `https://docs.example.org`, `https://*.example.org` (one or more labels) or `*`.
    pub allow_origins: Vec<String>,
    /// Further origins that may read responses, but as nobody in particular: browsers are told to send no cookies, and a
    /// cookie that comes all the same does not count. For sites that anybody may publish, such as previews.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anonymous_origins: Vec<String>,
    /// Methods that a preflight may ask for; `*` for any. Default: the methods of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request headers that a preflight may ask for; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response headers that a script may read. Default: `x-request-id`, `ratelimit`, `ratelimit-policy`,
    /// `retry-after`, `www-authenticate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// Whether a browser may send cookies and read the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// How long a browser may keep a preflight's answer, such as `10m`. Default: 5s, as browsers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Whether a public site may reach this gate on a private network (`Access-Control-Request-Private-Network`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_private_network: Option<bool>,
    /// Whether the opaque origin `null` (sandboxed frames, files) counts as allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_null_origin: Option<bool>,
}

/// One issuer of member tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct IssuerDocument {
    /// `iss` of the tokens, compared exactly.
    pub issuer: String,
    /// A token's `aud` must contain one of these.
    pub audiences: Vec<String>,
    /// Where the keys are published. https, except in development. Excludes `jwks_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A JWKS on disk, such as a mounted ConfigMap; followed when it changes. Excludes `jwks_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// Signature algorithms that are accepted; a key must also be of the matching type.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where a token may be found; the first source that is present is used. Default: the `authorization` header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_from: Vec<TokenSourceDocument>,
    /// Accepted `typ` header values, compared without case. Default: `JWT`, `at+jwt`, or none at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Claims that must be present, besides `iss`, `aud`, `sub` and `exp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_claims: Vec<String>,
    /// Clock difference that is tolerated; 30s by default, 5m at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<String>,
    /// Longest accepted time between `iat` (or now) and `exp`; 24h by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<String>,
    /// How often the keys are fetched when the response does not say; 5m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// How long the last good keys serve while the issuer cannot be reached, from the moment they are no longer fresh; 24h by
    /// default. 0s: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<String>,
    /// Whether the gate is ready before it has seen this issuer's keys. `ready_without_keys: true` serves anonymous
    /// readers meanwhile; `false` (default) keeps the gate out of rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_without_keys: Option<bool>,
}

/// Where a token may be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum TokenSourceDocument {
    /// A header with the `Bearer` scheme, such as `authorization`.
    Header(String),
    /// A cookie. It counts only with an allowed `Origin` or `Sec-Fetch-Site: same-origin|same-site`.
    Cookie(String),
}

/// How API keys are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ApiKeysDocument {
    /// The header that carries the key; `x-api-key` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// How entitlements are looked up and cached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct EntitlementsDocument {
    /// How long a looked-up member is believed without asking again; 60s by default. A change is announced by the database
    /// at once, whatever this says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// How long an unknown member is remembered as unknown; 10s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_ttl: Option<String>,
    /// How old may be what is said of a member while no primary can be read, from memory or by a standby, which counts
    /// from its last replay; 1h by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<String>,
    /// Members kept in memory at the most; 100000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u32>,
    /// What an identified caller gets on a `corpus: auto` route when the database cannot be read and nothing is cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_store_down: Option<OnStoreDown>,
}

/// What `corpus: auto` gives when entitlements cannot be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreDown {
    /// The public corpora, as for an anonymous caller.
    #[default]
    Public,
    /// 503 with `Retry-After`.
    Unavailable,
}

/// One corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct CorpusDocument {
    /// The entitlement (feature) that opens it. Absent: open to everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitlement: Option<String>,
}

/// One rate limit (GCRA).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct LimitDocument {
    /// What is counted: one part, or several that form one key together.
    pub key: OneOrMany<LimitKeyPart>,
    /// Sustained rate, such as `60/min`, `10/s`, `1000/day`.
    pub rate: String,
    /// How much may come at once; by default what the rate gives in one of its periods, 1 at the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Other quotas for callers whose plan (tier) is named here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierDocument>,
    /// Only count what would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// Who is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt: Option<ExemptDocument>,
}

/// The quota of one tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct TierDocument {
    /// Sustained rate, such as `300/min`.
    pub rate: String,
    /// How much may come at once; by default what the rate gives in one of its periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// Who is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ExemptDocument {
    /// Networks (CIDR) of client addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// Public ids of API keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<String>,
}

/// One value or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T: Default> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::One(T::default())
    }
}

impl<T> OneOrMany<T> {
    /// The values, in the order written.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RouteDocument {
    /// Name, unique in the policy; it appears in logs and metrics.
    pub name: String,
    /// Which requests it takes.
    pub r#match: MatchDocument,
    /// The CORS profile. Absent: no cross-origin script may read the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<String>,
    /// Refuse requests without an `Origin` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_origin: Option<bool>,
    /// `auto`: every corpus that the caller may read. Otherwise the name of the one corpus that is served.
    /// Absent together with `allow: anyone`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<String>,
    /// `anyone`: no identity is looked at and no corpus is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<AllowDocument>,
    /// What a token that does not verify means; `refuse` (401) by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_invalid_token: Option<OnInvalidToken>,
    /// Issuers accepted here. Default: all of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Names of the limits that apply; all of them must agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// What one request costs in every limit; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// The route is closed for a while: every request is answered with 503 and this much `Retry-After`, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
    /// Only record what this route would refuse (limits and identity); a member corpus stays closed all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
}

/// Who may pass without identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowDocument {
    /// Everyone.
    Anyone,
}

/// What a token that does not verify means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalidToken {
    /// 401 with the fault class.
    #[default]
    Refuse,
    /// As if there were no token.
    Anonymous,
}

/// Which requests a route takes. Exactly one of `path`, `prefix` and `template` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct MatchDocument {
    /// The whole normalised path, such as `/api/docs-chat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whole leading segments: `/api` takes `/api` and `/api/x`, not `/apix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Segments, of which `{name}` stands for exactly one: `/docs/{page}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Methods; `GET` includes `HEAD`. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Hosts without port, exact or `*.example.org` (one or more labels). Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Headers that must be present; a value, if given, must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Option<String>>,
    /// Query parameters that must be present; a value, if given, must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Option<String>>,
}
