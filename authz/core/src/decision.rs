//! What a decision is: an outcome, what it rests on, and how a refusal reads.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    client_ip::ClientIp, cors::HeaderLine, facts::CallerFacts, identity::TokenFault, limit::LimitState,
    request::RequestFault, route::Route,
};

/// The decision on one request.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Allowed, answered here, or refused.
    pub outcome: Outcome,
    /// What it rests on and what goes with it.
    pub about: About,
}

/// There is no default and nothing starts as allowed.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The request goes on to the backend.
    Allow(Allow),
    /// The gate answers a preflight itself, with 204.
    Preflight,
    /// The request is refused.
    Refuse(Refusal),
}

/// What an allowed request carries. Made in one place only, at the end of [`decide`](crate::decide::decide).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Names of the corpora that may be read; empty for `allow: anyone`.
    corpora: Vec<Arc<str>>,
}

impl Allow {
    pub(crate) fn new(corpora: Vec<Arc<str>>) -> Self {
        Self { corpora }
    }

    /// Names of the corpora that may be read, the best first.
    pub fn corpora(&self) -> &[Arc<str>] {
        &self.corpora
    }
}

/// What a decision rests on and what goes with it, up to the step that ended it.
#[derive(Debug, Clone)]
pub struct About {
    /// Version of the policy that decided.
    pub policy: Arc<str>,
    /// The route, once found; for a wrong method, the nearest one.
    pub route: Option<Arc<Route>>,
    /// The client's address, once found.
    pub client_ip: Option<ClientIp>,
    /// The facts about the caller.
    pub facts: CallerFacts,
    /// The plan of a caller who is not suspended.
    pub plan: Option<String>,
    /// Response headers for CORS: also on refusals, and to be kept when the backend answers.
    pub cors: Vec<HeaderLine>,
    /// The state of each limit that was charged, in that order.
    pub limits: Vec<LimitState>,
    /// Things worth a line in the decision log that did not decide: a suspended member, a stale cookie.
    pub notes: Vec<Note>,
    /// What would have been refused, were it not for shadow mode.
    pub shadowed: Option<Refusal>,
    /// It was refused before any limit of the policy counted it, so it was charged to the limit of such noise.
    pub noise: bool,
}

impl About {
    /// Before the first step.
    pub(crate) fn new(policy: Arc<str>) -> Self {
        Self {
            policy,
            route: None,
            client_ip: None,
            facts: CallerFacts::default(),
            plan: None,
            cors: Vec::new(),
            limits: Vec::new(),
            notes: Vec::new(),
            shadowed: None,
            noise: false,
        }
    }

    /// The name of the route, once found.
    pub fn route_name(&self) -> Option<&str> {
        self.route.as_ref().map(|route| &*route.name)
    }
}

/// Something that did not decide but explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The member is suspended and served as an anonymous caller.
    Suspended,
    /// A stale cookie was ignored; the reader should sign in again.
    StaleSession(TokenFault),
    /// A token did not verify and the route serves such callers as anonymous ones.
    InvalidTokenIgnored(TokenFault),
    /// A cookie did not count: neither an allowed origin nor a same-site fetch.
    UncountedCookie,
    /// Entitlements could not be known; served as an anonymous caller.
    StoreDown,
    /// Entitlements were served from a cache that could not be refreshed, or as a standby has them.
    Stale,
    /// The store knows no such member.
    UnknownMember,
}

impl Note {
    /// A short stable word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::StaleSession(_) => "stale_session",
            Self::InvalidTokenIgnored(_) => "invalid_token_ignored",
            Self::UncountedCookie => "uncounted_cookie",
            Self::StoreDown => "store_down",
            Self::Stale => "stale_entitlements",
            Self::UnknownMember => "unknown_member",
        }
    }
}

/// Why a request is refused. Closed: every kind has one URN, one status and one text for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed or ambiguous.
    Malformed(RequestFault),
    /// The `Origin` header is not an origin.
    MalformedOrigin,
    /// A preflight asks for something that is not a method or a list of headers.
    MalformedPreflight,
    /// No route takes this path.
    NoRoute,
    /// The path is known, the method is not.
    WrongMethod {
        /// Methods for the `Allow` header.
        allowed: Vec<String>,
    },
    /// The route wants an `Origin` header.
    OriginRequired,
    /// The origin may not read answers of this route.
    OriginRefused,
    /// The client's network is refused by the policy.
    AddressRefused,
    /// The route is closed for a while.
    Maintenance {
        /// What the policy promises.
        retry_after: Duration,
    },
    /// A limit does not fit.
    RateLimited {
        /// The limit that refused.
        limit: Arc<str>,
        /// Time until the same request would fit.
        retry_after: Duration,
    },
    /// A token and an API key came together.
    TwoIdentities,
    /// The token does not verify.
    InvalidToken(TokenFault),
    /// The API key is malformed, unknown, revoked or expired.
    InvalidApiKey,
    /// The route serves identified callers only.
    IdentityRequired,
    /// The caller lacks the entitlement that opens the corpus.
    MissingEntitlement {
        /// The entitlement.
        entitlement: String,
    },
    /// The gate cannot decide; never an allow.
    Undecidable(Undecided),
}

/// What the gate does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// The issuer's keys are not known.
    Keys,
    /// Entitlements are not known.
    Entitlements,
    /// The limits could not be asked.
    Limits,
    /// The grant could not be signed.
    Grant,
    /// The answer holds a header that cannot be sent.
    Answer,
}

impl Refusal {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(RequestFault::TargetTooLong) => 414,
            Self::Malformed(RequestFault::HeadersTooLarge) => 431,
            Self::Malformed(_) | Self::MalformedOrigin | Self::MalformedPreflight | Self::TwoIdentities => 400,
            Self::NoRoute => 404,
            Self::WrongMethod { .. } => 405,
            Self::OriginRequired | Self::OriginRefused | Self::AddressRefused | Self::MissingEntitlement { .. } => 403,
            Self::RateLimited { .. } => 429,
            Self::InvalidToken(_) | Self::InvalidApiKey | Self::IdentityRequired => 401,
            Self::Undecidable(_) | Self::Maintenance { .. } => 503,
        }
    }

    /// gRPC status code, for gRPC requests.
    pub fn grpc_code(&self) -> i32 {
        match self {
            Self::Malformed(_) | Self::MalformedOrigin | Self::MalformedPreflight | Self::TwoIdentities => 3,
            Self::NoRoute | Self::WrongMethod { .. } => 12,
            Self::OriginRequired | Self::OriginRefused | Self::AddressRefused | Self::MissingEntitlement { .. } => 7,
            Self::RateLimited { .. } => 8,
            Self::InvalidToken(_) | Self::InvalidApiKey | Self::IdentityRequired => 16,
            Self::Undecidable(_) | Self::Maintenance { .. } => 14,
        }
    }

    /// The last part of the problem type `urn:docsgate:problem:…`, which is also the reason in logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(RequestFault::TargetTooLong) => "uri_too_long",
            Self::Malformed(RequestFault::HeadersTooLarge) => "headers_too_large",
            Self::Malformed(RequestFault::Path(_)) => "ambiguous_path",
            Self::Malformed(_) => "malformed_request",
            Self::MalformedOrigin => "malformed_origin",
            Self::MalformedPreflight => "malformed_preflight",
            Self::NoRoute => "no_route",
            Self::WrongMethod { .. } => "method_not_allowed",
            Self::OriginRequired => "origin_required",
            Self::OriginRefused => "origin_not_allowed",
            Self::AddressRefused => "address_not_allowed",
            Self::Maintenance { .. } => "maintenance",
            Self::RateLimited { .. } => "rate_limited",
            Self::TwoIdentities => "two_identities",
            Self::InvalidToken(_) => "invalid_token",
            Self::InvalidApiKey => "invalid_api_key",
            Self::IdentityRequired => "identity_required",
            Self::MissingEntitlement { .. } => "insufficient_entitlement",
            Self::Undecidable(_) => "undecidable",
        }
    }

    /// A short title for the client.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Malformed(RequestFault::TargetTooLong) => "The URL is too long",
            Self::Malformed(RequestFault::HeadersTooLarge) => "The request headers are too large",
            Self::Malformed(RequestFault::Path(_)) => "The path can be understood in more than one way",
            Self::Malformed(_) => "The request is malformed",
            Self::MalformedOrigin => "The Origin header is malformed",
            Self::MalformedPreflight => "The preflight request is malformed",
            Self::NoRoute => "There is nothing here",
            Self::WrongMethod { .. } => "The method is not allowed here",
            Self::OriginRequired => "An Origin header is required here",
            Self::OriginRefused => "This origin is not allowed",
            Self::AddressRefused => "This network is not allowed",
            Self::Maintenance { .. } => "This is closed for a while",
            Self::RateLimited { .. } => "Too many requests",
            Self::TwoIdentities => "A token and an API key were sent together",
            Self::InvalidToken(_) => "The token is not valid",
            Self::InvalidApiKey => "The API key is not valid",
            Self::IdentityRequired => "Sign in to read this",
            Self::MissingEntitlement { .. } => "Your membership does not include this",
            Self::Undecidable(_) => "The request cannot be decided right now",
        }
    }

    /// What the client can do, without any internal detail.
    pub fn detail(&self) -> String {
        match self {
            // What the proxy in front got wrong is for its operators, who have it in the log.
            Self::Malformed(RequestFault::NoHttp | RequestFault::Undescribed(_)) => {
                "The request could not be understood.".to_owned()
            }
            Self::Malformed(fault) => format!("The request was refused: {fault}."),
            Self::MalformedOrigin => "Send exactly one Origin header of the form scheme://host[:port].".into(),
            Self::MalformedPreflight => "Ask for one method and a list of header names.".into(),
            Self::NoRoute => "No route of this site has this path.".into(),
            Self::WrongMethod { allowed } => format!("Use one of: {}.", allowed.join(", ")),
            Self::OriginRequired => "Only pages of the documentation site may call this.".into(),
            Self::OriginRefused => "Pages of this origin may not call this; ask the operator to add it.".into(),
            Self::AddressRefused => "Ask the operator if you think that this is a mistake.".into(),
            Self::RateLimited { retry_after, .. } | Self::Maintenance { retry_after } => {
                format!("Try again in {} s.", retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
            }
            Self::TwoIdentities => "Send either a token or an API key.".into(),
            Self::InvalidToken(fault) => format!("Sign in again: {fault}."),
            Self::InvalidApiKey => "The key is malformed, unknown, revoked or expired.".into(),
            Self::IdentityRequired => "This is for members: send a token of the learn portal.".into(),
            Self::MissingEntitlement { entitlement } => format!("The entitlement `{entitlement}` is needed."),
            Self::Undecidable(_) => "Try again in a moment.".into(),
        }
    }

    /// What the log has beyond [`Refusal::kind`].
    pub fn cause(&self) -> String {
        match self {
            Self::Malformed(fault) => fault.to_string(),
            Self::InvalidToken(fault) => fault.code().to_owned(),
            Self::RateLimited { limit, .. } => format!("limit {limit}"),
            Self::MissingEntitlement { entitlement } => format!("entitlement {entitlement}"),
            Self::Undecidable(what) => format!("{what:?}").to_ascii_lowercase(),
            other => other.title().to_owned(),
        }
    }

    /// Whether shadow mode may let the request go on: what was refused is a matter of policy, not of safety.
    pub(crate) fn may_be_shadowed(&self) -> bool {
        match self {
            Self::OriginRequired
            | Self::OriginRefused
            | Self::AddressRefused
            | Self::RateLimited { .. }
            | Self::InvalidToken(_)
            | Self::InvalidApiKey => true,
            Self::Malformed(_)
            | Self::MalformedOrigin
            | Self::MalformedPreflight
            | Self::NoRoute
            | Self::Maintenance { .. }
            | Self::WrongMethod { .. }
            | Self::TwoIdentities
            | Self::IdentityRequired
            | Self::MissingEntitlement { .. }
            | Self::Undecidable(_) => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind(), self.cause())
    }
}

/// The steps of a decision, for `authz explain`. Costs nothing unless it is wanted.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: Option<Vec<TraceStep>>,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// Name of the step, in the words of DESIGN: request, route, cors, client_ip, limits, identity, entitlement, corpus.
    pub step: &'static str,
    /// What it found and decided.
    pub text: String,
}

impl Trace {
    /// A trace that records.
    pub(crate) fn recording() -> Self {
        Self { steps: Some(Vec::new()) }
    }

    /// A trace that does not.
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// Notes a step of a trace that records.
    pub(crate) fn note(&mut self, step: &'static str, text: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(TraceStep { step, text: text() });
        }
    }

    /// The steps, in order.
    pub(crate) fn into_steps(self) -> Vec<TraceStep> {
        self.steps.unwrap_or_default()
    }
}
