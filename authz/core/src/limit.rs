//! Steps 5 and 8: rate limits (GCRA), their keys, and the `RateLimit` fields of answers.
//!
//! The core computes the charges; whether they fit is a fact, because the state of limits is one.

pub mod gcra;
pub mod memory;
pub mod quota;
pub mod table;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ipnet::IpNet;
pub use quota::{Allowance, Quota, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{client_ip::ClientIp, cors::HeaderLine, identity::Identity};

/// What a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitKeyPart {
    /// The client's address: IPv4 /32, IPv6 by `client_ip.ipv6_prefix`.
    #[default]
    ClientIp,
    /// The network around it: IPv4 /24, IPv6 /48.
    IpPrefix,
    /// The member; not applied to others.
    Member,
    /// The API key; not applied to others.
    ApiKey,
    /// The member, else the API key, else the client's address.
    Caller,
    /// The route.
    Route,
    /// The best corpus of the decision.
    Corpus,
}

/// One compiled limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// Name in the policy; together with the key parts it names the state.
    pub name: Arc<str>,
    /// What forms the key.
    pub key: Vec<LimitKeyPart>,
    /// What callers without a tier of their own may do.
    pub allowance: Allowance,
    /// What others may do, by plan.
    pub tiers: BTreeMap<String, Allowance>,
    /// Only counted, never refused.
    pub shadow: bool,
    /// Networks that are not limited.
    pub exempt_networks: Vec<IpNet>,
    /// Public ids of API keys that are not limited.
    pub exempt_api_keys: Vec<String>,
}

impl LimitRule {
    /// Whether it needs to know who is calling; otherwise it is counted before identity (stage one).
    pub fn needs_identity(&self) -> bool {
        !self.tiers.is_empty()
            || !self.exempt_api_keys.is_empty()
            || self.key.iter().any(|part| {
                matches!(
                    part,
                    LimitKeyPart::Member | LimitKeyPart::ApiKey | LimitKeyPart::Caller | LimitKeyPart::Corpus
                )
            })
    }
}

/// The two moments at which limits are counted. A refusal in the second does not give back what the first took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before identity: addresses and networks.
    Flood,
    /// After identity: callers.
    Caller,
    /// The per-address limit of preflights, which stands alone.
    Preflight,
    /// The per-address limit of requests that were refused before any other limit counted them. Counted in each
    /// process, whatever the policy's backend: noise must not cost a round trip to another server.
    Noise,
}

/// What one limit counts for one request. Canonical text, such as `caller|member=https://learn.example|42`: the same
/// on every replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitKey(pub Box<str>);

/// One limit, about to be charged for one request.
#[derive(Debug, Clone)]
pub struct Charge {
    /// The limit.
    pub rule: Arc<LimitRule>,
    /// What applies to this caller.
    pub allowance: Allowance,
    /// The key.
    pub key: LimitKey,
    /// Tokens taken.
    pub cost: u32,
}

/// The state of one limit after a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// The limit's name.
    pub name: Arc<str>,
    /// What applied.
    pub allowance: Allowance,
    /// Whether the charge fits.
    pub fits: bool,
    /// Only counted: `fits` has no consequence.
    pub shadow: bool,
    /// Tokens left after this request.
    pub remaining: u32,
    /// Time until the whole burst is there again.
    pub reset_after: Duration,
    /// Time until the same request would fit; zero when it does. Larger than any wait when it never will.
    pub retry_after: Duration,
}

impl LimitState {
    fn of(charge: &Charge, verdict: &gcra::Verdict) -> Self {
        Self {
            name: Arc::clone(&charge.rule.name),
            allowance: charge.allowance,
            fits: verdict.fits,
            shadow: charge.rule.shadow,
            remaining: verdict.remaining,
            reset_after: verdict.reset_after,
            retry_after: verdict.retry_after,
        }
    }
}

/// The states of all limits of a stage. Either all of them were charged, or (when one that is enforced did not fit) none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageOutcome {
    /// In the order of the charges.
    pub states: Vec<LimitState>,
    /// The limits could not be charged at all, and the policy refuses then.
    pub undecidable: bool,
}

impl StageOutcome {
    /// The enforced limit that refuses and takes the longest to fit again.
    pub fn refusing(&self) -> Option<&LimitState> {
        self.states.iter().filter(|state| !state.fits && !state.shadow).max_by_key(|state| state.retry_after)
    }
}

/// What a request is charged for, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The client's address, if known.
    pub ip: Option<ClientIp>,
    /// Who is calling.
    pub identity: &'a Identity,
    /// The caller's plan.
    pub plan: Option<&'a str>,
    /// The route's name.
    pub route: &'a str,
    /// The best corpus of the decision so far.
    pub corpus: Option<&'a str>,
    /// What the request costs.
    pub cost: u32,
}

/// The charges of `rules` for one request. A limit whose key does not exist for this caller (a `member` limit for an
/// anonymous one) does not apply; an exempt caller is not charged. Without an address everything that counts by
/// address shares one key, so that a missing peer is never a way around a limit.
pub fn charges(rules: &[Arc<LimitRule>], subject: &Subject<'_>) -> Vec<Charge> {
    rules
        .iter()
        .filter(|rule| !is_exempt(rule, subject))
        .filter_map(|rule| {
            let key = key(rule, subject)?;
            let tier = subject.plan.and_then(|plan| rule.tiers.get(plan));
            let allowance = tier.copied().unwrap_or(rule.allowance);
            Some(Charge { rule: Arc::clone(rule), allowance, key, cost: subject.cost })
        })
        .collect()
}

fn is_exempt(rule: &LimitRule, subject: &Subject<'_>) -> bool {
    let by_network =
        subject.ip.is_some_and(|ip| rule.exempt_networks.iter().any(|network| network.contains(&ip.address)));
    let by_key = match subject.identity {
        Identity::ApiKey(key) => rule.exempt_api_keys.iter().any(|exempt| **exempt == *key.id),
        Identity::Anonymous | Identity::Member(_) => false,
    };
    by_network || by_key
}

fn key(rule: &LimitRule, subject: &Subject<'_>) -> Option<LimitKey> {
    let address = |network: fn(&ClientIp) -> IpNet| match &subject.ip {
        Some(ip) => format!("ip={}", network(ip)),
        None => "ip=unknown".to_owned(),
    };
    let member = || match subject.identity {
        Identity::Member(token) => Some(format!("member={}|{}", token.member.issuer, token.member.subject)),
        Identity::Anonymous | Identity::ApiKey(_) => None,
    };
    let api_key = || match subject.identity {
        Identity::ApiKey(key) => Some(format!("key={}", key.id)),
        Identity::Anonymous | Identity::Member(_) => None,
    };
    let mut text = rule.name.to_string();
    for part in &rule.key {
        text.push('|');
        text.push_str(&match part {
            LimitKeyPart::ClientIp => address(ClientIp::client),
            LimitKeyPart::IpPrefix => address(ClientIp::wider),
            LimitKeyPart::Member => member()?,
            LimitKeyPart::ApiKey => api_key()?,
            LimitKeyPart::Caller => member().or_else(api_key).unwrap_or_else(|| address(ClientIp::client)),
            LimitKeyPart::Route => format!("route={}", subject.route),
            LimitKeyPart::Corpus => format!("corpus={}", subject.corpus.unwrap_or("none")),
        });
    }
    Some(LimitKey(text.into()))
}

/// The `RateLimit`, `RateLimit-Policy` and, when refused, `Retry-After` fields
/// (draft-ietf-httpapi-ratelimit-headers; RFC 9110, section 10.2.3). They report the limit with the least left.
pub fn headers(states: &[LimitState]) -> Vec<HeaderLine> {
    let enforced = || states.iter().filter(|state| !state.shadow);
    let mut lines = Vec::with_capacity(3);
    if let Some(tightest) = enforced().min_by(|a, b| tightness(a).cmp(&tightness(b))) {
        let reset = ceil_seconds(tightest.reset_after);
        lines.push(("ratelimit", format!("{};r={};t={reset}", quoted(&tightest.name), tightest.remaining)));
        let policies: Vec<String> = enforced()
            .map(|state| {
                let Rate { count, window } = state.allowance.rate;
                format!("{};q={count};w={}", quoted(&state.name), window.as_secs())
            })
            .collect();
        lines.push(("ratelimit-policy", policies.join(", ")));
    }
    if let Some(wait) = enforced().filter(|state| !state.fits).map(|state| state.retry_after).max() {
        lines.push(("retry-after", ceil_seconds(wait).max(1).to_string()));
    }
    lines
}

/// A refusing limit before all others, then the smallest share left.
fn tightness(state: &LimitState) -> (bool, u64) {
    (state.fits, u64::from(state.remaining) * 1_000_000 / u64::from(state.allowance.burst()))
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A structured-field string (RFC 9651, section 3.3.3). Names were checked when the policy was compiled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace(['"', '\\'], "_"))
}

#[cfg(test)]
mod tests;
