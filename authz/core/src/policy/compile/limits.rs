//! Limits, where they are counted, and the addresses they count by.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{
    Compiler,
    Step::{self, Index, Key},
};
use crate::{
    client_ip::{ClientIpPolicy, Trust},
    limit::{Allowance, LimitKeyPart, LimitRule, Rate, quota::interval_nanos, table},
    policy::{
        LimiterBackend, LimiterPolicy, RedisPolicy,
        document::{LimitDocument, RedisDocument},
    },
};

/// Most keys that a policy may ask memory for: 2.8 GB.
const MAX_KEYS: u32 = 100_000_000;
/// Longest time in which a burst comes back. What is larger is a slip of the finger, and no process lives to see it.
const LONGEST_BURST: Duration = Duration::from_secs(10 * 366 * 86_400);
/// The name of the limit of preflights, which every policy has.
const PREFLIGHT: &str = "preflight";
/// The name of the limit of requests that no other limit counts, which every policy has.
const NOISE: &str = "noise";

impl Compiler<'_, '_, '_> {
    pub(super) fn limit(&mut self, name: &str, limit: &LimitDocument) -> LimitRule {
        let path = [Key("limits"), Key(name)];
        self.name("limit", name, &path);
        if name == PREFLIGHT {
            self.error(&path, "`preflight` is the limit of `limiter.preflight_rate`; choose another name");
        }
        if name == NOISE {
            self.error(&path, "`noise` is the limit of `limiter.noise_rate`; choose another name");
        }
        let key = limit.key.as_slice().to_vec();
        if key.is_empty() {
            self.error(
                &[Key("limits"), Key(name), Key("key")],
                "the key is empty; expected at least one part, such as `client_ip`",
            );
        }
        let allowance = self.allowance(&limit.rate, limit.burst, &[Key("limits"), Key(name), Key("rate")]);
        let tiers = limit
            .tiers
            .iter()
            .map(|(tier, written)| {
                let path = [Key("limits"), Key(name), Key("tiers"), Key(tier), Key("rate")];
                (tier.clone(), self.allowance(&written.rate, written.burst, &path))
            })
            .collect();
        let exempt = limit.exempt.clone().unwrap_or_default();
        let exempt_networks = self.networks(&exempt.cidrs, |index| {
            [Key("limits"), Key(name), Key("exempt"), Key("cidrs"), Index(index)].into()
        });
        LimitRule {
            name: name.into(),
            key,
            allowance,
            tiers,
            shadow: limit.shadow == Some(true),
            exempt_networks,
            exempt_api_keys: exempt.api_keys,
        }
    }

    fn allowance(&mut self, rate: &str, burst: Option<u32>, path: &[Step<'_>]) -> Allowance {
        let parsed = Rate::parse(rate).unwrap_or_else(|error| {
            self.error(path, format!("the rate `{rate}` is refused: {error}"));
            Rate { count: NonZeroU32::MIN, window: Duration::from_secs(1) }
        });
        if burst == Some(0) {
            let mut path = path.to_vec();
            path.pop();
            path.push(Key("burst"));
            self.error(&path, "a burst of zero would refuse everything; expected 1 or more");
        }
        let burst = burst.map_or(parsed.count, |burst| NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let allowance = Allowance::new(parsed, burst);
        let whole = u128::from(interval_nanos(&allowance.quota)) * u128::from(burst.get());
        if whole > LONGEST_BURST.as_nanos() {
            self.error(
                path,
                format!("a burst of {burst} at {rate} takes more than ten years to come back; lower the burst or raise the rate"),
            );
        }
        allowance
    }

    pub(super) fn networks<'p>(&mut self, texts: &[String], path: impl Fn(usize) -> Vec<Step<'p>>) -> Vec<IpNet> {
        let mut networks = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network.trunc()),
                Err(_) => {
                    self.error(
                        &path(index),
                        format!("`{text}` is not a network; expected CIDR such as `10.0.0.0/8` or an address"),
                    );
                }
            }
        }
        networks
    }

    pub(super) fn client_ip(&mut self) -> ClientIpPolicy {
        let document = self.document.client_ip.clone().unwrap_or_default();
        let mut networks = self.networks(&document.trusted_proxies, |index| {
            [Key("client_ip"), Key("trusted_proxies"), Index(index)].into()
        });
        if self.document.allow_env_overrides == Some(true) {
            let added: Vec<String> = self
                .overrides
                .trusted_proxies
                .iter()
                .flat_map(|list| list.split(','))
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect();
            networks.extend(self.networks(&added, |_| [Key("client_ip")].into()));
        }
        if document.trusted_hops.is_some() && !networks.is_empty() {
            self.error(
                &[Key("client_ip")],
                "`trusted_hops` and `trusted_proxies` are two answers to one question; keep one",
            );
        }
        if document.header.is_some() && networks.is_empty() {
            self.error(
                &[Key("client_ip"), Key("header")],
                "`header` is believed only from `trusted_proxies`; name them",
            );
        }
        let ipv6_prefix = document.ipv6_prefix.unwrap_or(64);
        if !(32..=128).contains(&ipv6_prefix) {
            self.error(
                &[Key("client_ip"), Key("ipv6_prefix")],
                format!("{ipv6_prefix} is not a prefix of one client; expected 32 to 128"),
            );
        }
        let trust = if networks.is_empty() {
            Trust::Hops(document.trusted_hops.unwrap_or(0).into())
        } else {
            Trust::Proxies(networks)
        };
        let deny = self.networks(&document.deny, |index| [Key("client_ip"), Key("deny"), Index(index)].into());
        ClientIpPolicy {
            trust,
            header: document.header.map(|name| name.to_ascii_lowercase()),
            envoy_appends: document.envoy_appends == Some(true),
            ipv6_prefix,
            deny,
        }
    }

    pub(super) fn limiter(&mut self) -> LimiterPolicy {
        let Some(document) = self.document.limiter.as_ref() else { return LimiterPolicy::default() };
        let default = LimiterPolicy::default();
        let max_keys = document.max_keys.unwrap_or(default.max_keys);
        if !(table::MIN_KEYS..=MAX_KEYS).contains(&max_keys) {
            let expected = format!("expected {} to {MAX_KEYS}", table::MIN_KEYS);
            self.error(
                &[Key("limiter"), Key("max_keys")],
                format!("`max_keys` of {max_keys} is out of range; {expected} (a key takes 28 bytes)"),
            );
        }
        let redis = document.redis.as_ref().map_or(default.redis, |redis| self.redis(redis));
        if document.redis.is_some() && document.backend == Some(LimiterBackend::Memory) {
            self.error(
                &[Key("limiter"), Key("redis")],
                "`redis` has no effect with `backend: memory`; remove it, or say `backend: redis`",
            );
        }
        LimiterPolicy { max_keys, backend: document.backend, redis }
    }

    fn redis(&mut self, redis: &RedisDocument) -> RedisPolicy {
        let default = RedisPolicy::default();
        let path = |field| [Key("limiter"), Key("redis"), Key(field)];
        let millis = Duration::from_millis;
        let timeout =
            self.duration(redis.timeout.as_deref(), default.timeout, (millis(1), millis(1000)), &path("timeout"));
        let lease_time = self.duration(
            redis.lease_time.as_deref(),
            default.lease_time,
            (millis(10), millis(60_000)),
            &path("lease_time"),
        );
        let replicas = redis.replicas.unwrap_or(default.replicas);
        if !(1..=1000).contains(&replicas) {
            self.error(&path("replicas"), format!("{replicas} replicas cannot be; expected 1 to 1000"));
        }
        if redis.lease.is_some_and(|lease| !(1..=10_000).contains(&lease)) {
            let remedy = "expected 1 to 10000 tokens; for no leases, leave it out";
            self.error(&path("lease"), format!("a lease of {} is refused; {remedy}", redis.lease.unwrap_or(0)));
        }
        if redis.lease.is_none() && redis.lease_time.is_some() {
            self.error(&path("lease_time"), "`lease_time` has no effect without `lease`; add that, or remove this");
        }
        RedisPolicy {
            timeout,
            replicas: replicas.max(1),
            when_down: redis.when_down.unwrap_or(default.when_down),
            lease: redis.lease.unwrap_or(0),
            lease_time,
        }
    }

    pub(super) fn preflight_limit(&mut self) -> Arc<LimitRule> {
        let rate = self.document.limiter.as_ref().and_then(|limiter| limiter.preflight_rate.clone());
        self.built_in(PREFLIGHT, rate.as_deref(), "preflight_rate")
    }

    pub(super) fn noise_limit(&mut self) -> Arc<LimitRule> {
        let rate = self.document.limiter.as_ref().and_then(|limiter| limiter.noise_rate.clone());
        self.built_in(NOISE, rate.as_deref(), "noise_rate")
    }

    /// A limit on addresses that every policy has; a sixth of what the rate gives in its period may come at once.
    fn built_in(&mut self, name: &str, rate: Option<&str>, field: &str) -> Arc<LimitRule> {
        let Allowance { rate, .. } = self.allowance(rate.unwrap_or("600/min"), None, &[Key("limiter"), Key(field)]);
        let sixth = NonZeroU32::new(rate.count.get().div_ceil(6)).unwrap_or(NonZeroU32::MIN);
        Arc::new(LimitRule {
            name: name.into(),
            key: vec![LimitKeyPart::ClientIp],
            allowance: Allowance::new(rate, sixth),
            tiers: BTreeMap::new(),
            shadow: false,
            exempt_networks: Vec::new(),
            exempt_api_keys: Vec::new(),
        })
    }
}
