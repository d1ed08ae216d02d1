//! Where limits are counted and what that may cost, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where limits are counted and what their state may cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct LimiterDocument {
    /// Where limits are counted. Default: `redis` if the process was given a Redis URL, otherwise `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<LimiterBackend>,
    /// How Redis is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisDocument>,
    /// Keys held in memory at the most, 1024 to 100000000; 1000000 by default. A key takes 28 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u32>,
    /// The per-address limit of preflights, which are answered before anything else is known; `600/min` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight_rate: Option<String>,
    /// The per-address limit of requests that are refused before any other limit has counted them: malformed, from an
    /// origin or network that is not allowed, without a route, with another method; `600/min` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_rate: Option<String>,
}

/// Where limits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimiterBackend {
    /// In each replica: a limit holds for each of them.
    Memory,
    /// In Redis 6 or newer, or Valkey: all replicas share a limit. The URL is a setting of the process.
    Redis,
}

/// How Redis is used for shared limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RedisDocument {
    /// How long a decision waits for Redis, `1ms` to `1s`; `5ms` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Replicas that share the limits; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What is done while Redis is away; `divide` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_down: Option<WhenDown>,
    /// Tokens that a replica may hold in advance for a key that is asked often, so that most decisions need no round
    /// trip. All replicas together then admit up to `replicas × lease` more than the burst. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u32>,
    /// How long leased tokens are good, `10ms` to `1m`; `1s` by default. What is not used by then is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_time: Option<String>,
}

/// What limits do while Redis is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenDown {
    /// Each replica counts by itself, with its share: rate and burst divided by `replicas`.
    #[default]
    Divide,
    /// Each replica counts by itself, with the whole rate and burst.
    Full,
    /// Requests that are limited are answered with 503.
    Refuse,
}
