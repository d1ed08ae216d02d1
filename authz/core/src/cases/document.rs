//! Policy cases as an operator writes them, beside the policy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::document::{ApiVersion, OneOrMany, TokenSourceDocument};

/// The host of a request that names none.
pub(super) const HOST: &str = "docs.example.org";
/// The peer of a request that names none (TEST-NET-2).
pub(super) const PEER: &str = "198.51.100.7";

/// Cases of one policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CasesDocument {
    /// Version of this format. Always `docsgate/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of document. Always `PolicyCases`.
    pub kind: CasesKind,
    /// The policy: one path or several, relative to this file. Default: `NAME.yaml` for `NAME.cases.yaml`.
    #[serde(default)]
    pub policy: Option<OneOrMany<String>>,
    /// When every case starts (UTC); 2026-01-05T12:00:00Z by default.
    #[serde(default)]
    pub clock: Option<String>,
    /// Members that the store knows, by subject.
    #[serde(default)]
    pub members: BTreeMap<String, MemberDocument>,
    /// API keys that the store knows, by public id.
    #[serde(default)]
    pub api_keys: BTreeMap<String, MemberDocument>,
    /// The cases.
    pub cases: Vec<CaseDocument>,
}

/// The kind of document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CasesKind {
    /// Cases of a policy.
    #[default]
    PolicyCases,
}

/// A member, or the holder of an API key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberDocument {
    /// Plan, which selects the tier of limits.
    #[serde(default)]
    pub plan: Option<String>,
    /// Suspended members are served as anonymous ones.
    #[serde(default)]
    pub suspended: bool,
    /// What the member may see.
    #[serde(default)]
    pub entitlements: Vec<EntitlementDocument>,
}

/// One entitlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitlementDocument {
    /// The feature it opens.
    pub feature: String,
    /// In force from here (UTC); for ever by default.
    #[serde(default)]
    pub starts: Option<String>,
    /// In force until here (UTC); for ever by default.
    #[serde(default)]
    pub ends: Option<String>,
}

/// One case: a single request, or several steps on one clock that share the state of limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseDocument {
    /// What the policy promises, as a sentence.
    pub name: String,
    /// When the case starts (UTC).
    #[serde(default)]
    pub clock: Option<String>,
    /// The request; steps may have their own.
    #[serde(default)]
    pub request: Option<RequestDocument>,
    /// The token that comes with it.
    #[serde(default)]
    pub token: Option<TokenDocument>,
    /// The public id of the API key that comes with it.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The state of the store.
    #[serde(default)]
    pub store: Option<StoreDocument>,
    /// What the policy must say. With `steps`, each step says it.
    #[serde(default)]
    pub expect: Option<ExpectDocument>,
    /// Several requests in a row.
    #[serde(default)]
    pub steps: Vec<StepDocument>,
}

impl CaseDocument {
    /// The steps; a case without any is one step.
    pub(super) fn steps(&self) -> Vec<StepDocument> {
        if self.steps.is_empty() {
            vec![StepDocument { expect: self.expect.clone().unwrap_or_default(), ..StepDocument::default() }]
        } else {
            self.steps.clone()
        }
    }
}

/// One step of a case. What it does not say is as in the case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDocument {
    /// Time that passes before, such as `30s`.
    #[serde(default)]
    pub after: Option<String>,
    /// How often the request is made at this instant; each time the expectation must hold.
    #[serde(default)]
    pub repeat: Option<u32>,
    /// The request.
    #[serde(default)]
    pub request: Option<RequestDocument>,
    /// The token.
    #[serde(default)]
    pub token: Option<TokenDocument>,
    /// The public id of an API key.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The state of the store.
    #[serde(default)]
    pub store: Option<StoreDocument>,
    /// What the policy must say.
    pub expect: ExpectDocument,
}

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestDocument {
    /// Method; GET by default.
    #[serde(default)]
    pub method: Option<String>,
    /// Host; docs.example.org by default.
    #[serde(default)]
    pub host: Option<String>,
    /// Path and query, as the backend would see them.
    pub path: String,
    /// The `Origin` header.
    #[serde(default)]
    pub origin: Option<String>,
    /// The method that a preflight asks for; makes the request an `OPTIONS`.
    #[serde(default)]
    pub preflight: Option<String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, OneOrMany<String>>,
    /// The TCP peer of Envoy; 198.51.100.7 by default.
    #[serde(default)]
    pub peer: Option<String>,
}

/// A token. Its signature is not looked at: `fault` says how its verification ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenDocument {
    /// `sub`
    pub subject: String,
    /// Name of the issuer in the policy; the first by default.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Where it is sent; the first place of its issuer by default.
    #[serde(default)]
    pub from: Option<TokenSourceDocument>,
    /// How long it is valid, such as `1h`; `0s` has expired. One hour by default.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// Why it does not verify, such as `bad_signature`, `unknown_key`, `audience`.
    #[serde(default)]
    pub fault: Option<String>,
    /// Its `jti` was revoked.
    #[serde(default)]
    pub revoked: bool,
}

/// The state of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreDocument {
    /// It answers.
    #[default]
    Up,
    /// It cannot be read and nothing is cached.
    Down,
    /// It cannot be read; what is cached is served.
    Stale,
}

/// What the policy must say. What is not mentioned may be anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectDocument {
    /// Allowed, answered as a preflight, or refused.
    #[serde(default)]
    pub outcome: Option<OutcomeDocument>,
    /// HTTP status: 200 for allowed, 204 for a preflight.
    #[serde(default)]
    pub status: Option<u16>,
    /// The last part of the problem type, such as `rate_limited`.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the log says beyond the reason, such as `limit caller` or `expired`.
    #[serde(default)]
    pub cause: Option<String>,
    /// Name of the route.
    #[serde(default)]
    pub route: Option<String>,
    /// Corpora that are opened, the best first.
    #[serde(default)]
    pub corpora: Option<Vec<String>>,
    /// The caller's plan, or `none`.
    #[serde(default)]
    pub plan: Option<String>,
    /// The address that the client is limited by.
    #[serde(default)]
    pub client_ip: Option<String>,
    /// What shadow mode would have refused, or `none`.
    #[serde(default)]
    pub shadowed: Option<String>,
    /// Notes of the decision, such as `stale_session`.
    #[serde(default)]
    pub notes: Option<Vec<String>>,
    /// CORS and rate limit headers of the answer; `*` for any value, nothing for a header that must be absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeDocument {
    /// The request goes on to the backend.
    Allowed,
    /// The gate answers a preflight.
    Preflight,
    /// The request is refused.
    Refused,
}

impl OutcomeDocument {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Preflight => "preflight",
            Self::Refused => "refused",
        }
    }
}
