//! Step 3: CORS, in the semantics of the Fetch standard and of the Gateway API's HTTPRoute CORS filter.

pub mod origin;

use std::time::Duration;

pub use origin::{Origin, OriginFault, OriginPattern, OriginSet, TupleOrigin};

/// A response header that the gate sets: a name in lower case and its value.
pub type HeaderLine = (&'static str, String);

/// Response headers that a script may read unless the profile says otherwise.
pub const DEFAULT_EXPOSED: [&str; 5] =
    ["x-request-id", "ratelimit", "ratelimit-policy", "retry-after", "www-authenticate"];

/// A list of names in which `*` may stand for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// `*`
    Any,
    /// These.
    Listed(Vec<String>),
}

/// One compiled CORS profile.
#[derive(Debug, Clone)]
pub struct CorsProfile {
    /// Name in the policy.
    pub name: String,
    /// Who may read.
    pub origins: OriginSet,
    /// Who else may read, without credentials.
    pub anonymous: OriginSet,
    /// Methods that a preflight may ask for.
    pub methods: Names,
    /// Request headers that a preflight may ask for.
    pub headers: Names,
    /// Response headers that a script may read.
    pub expose: Vec<String>,
    /// Whether cookies may be sent and the answer read.
    pub credentials: bool,
    /// How long a preflight's answer may be kept; `None` leaves it to the browser.
    pub max_age: Option<Duration>,
    /// Whether a public site may reach a private network here.
    pub private_network: bool,
}

/// The verdict of CORS on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorsVerdict {
    /// The route has no profile, or no `Origin` was sent: nothing to check.
    NotCors,
    /// The origin may read the answer.
    Allowed,
    /// The origin may read the answer to a request without cookies.
    AllowedAnonymously,
    /// The origin may not.
    Refused,
}

/// What a preflight asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preflight<'a> {
    /// `Access-Control-Request-Method`.
    pub method: &'a str,
    /// `Access-Control-Request-Headers`, raw; see [`is_header_list`].
    pub headers: Option<&'a str>,
    /// `Access-Control-Request-Private-Network`.
    pub private_network: bool,
}

impl CorsProfile {
    /// Whether an origin may read answers of this profile.
    pub fn check(&self, origin: &Origin) -> CorsVerdict {
        if self.origins.allows(origin) {
            CorsVerdict::Allowed
        } else if self.anonymous.allows(origin) {
            CorsVerdict::AllowedAnonymously
        } else {
            CorsVerdict::Refused
        }
    }

    /// The pattern that lets an origin read, as written in a policy.
    pub fn allowing(&self, origin: &Origin) -> Option<String> {
        self.origins.allowing(origin).or_else(|| self.anonymous.allowing(origin))
    }

    /// Every pattern that lets somebody read, as written in a policy.
    pub fn patterns(&self) -> Vec<String> {
        let mut patterns = self.origins.patterns();
        patterns.extend(self.anonymous.patterns());
        patterns
    }

    fn with_credentials(&self, origin: &Origin) -> bool {
        self.credentials && self.origins.allows(origin)
    }

    /// Headers for every answer to an allowed origin, refusals included: without them a browser cannot even read the
    /// status.
    pub fn response_headers(&self, origin: &Origin) -> Vec<HeaderLine> {
        let mut lines = self.shared_headers(origin);
        if !self.expose.is_empty() {
            lines.push(("access-control-expose-headers", self.expose.join(", ")));
        }
        lines.push(("vary", "Origin".to_owned()));
        lines
    }

    /// Headers of the answer to a preflight.
    pub fn preflight_headers(&self, origin: &Origin, preflight: &Preflight<'_>) -> Vec<HeaderLine> {
        let mut lines = self.shared_headers(origin);
        // With credentials a literal `*` means a method or header of that name, so what was asked for is echoed.
        let methods = match &self.methods {
            Names::Any if self.with_credentials(origin) => preflight.method.to_owned(),
            Names::Any => "*".to_owned(),
            Names::Listed(methods) => methods.join(", "),
        };
        lines.push(("access-control-allow-methods", methods));
        let headers = match (&self.headers, preflight.headers) {
            (Names::Listed(listed), _) if listed.is_empty() => None,
            (Names::Listed(listed), _) => Some(listed.join(", ")),
            (Names::Any, Some(asked)) => Some(asked.to_owned()),
            (Names::Any, None) => None,
        };
        if let Some(headers) = headers {
            lines.push(("access-control-allow-headers", headers));
        }
        if let Some(max_age) = self.max_age {
            lines.push(("access-control-max-age", max_age.as_secs().to_string()));
        }
        // Browsers read it on the answer itself; the Gateway API's filter names it on both.
        if !self.expose.is_empty() {
            lines.push(("access-control-expose-headers", self.expose.join(", ")));
        }
        if preflight.private_network && self.private_network {
            lines.push(("access-control-allow-private-network", "true".to_owned()));
        }
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        lines.push(("vary", vary.to_owned()));
        lines
    }

    fn shared_headers(&self, origin: &Origin) -> Vec<HeaderLine> {
        let allow = if self.origins.allows_any() && !self.credentials { "*".to_owned() } else { origin.to_string() };
        let mut lines = vec![("access-control-allow-origin", allow)];
        if self.with_credentials(origin) {
            lines.push(("access-control-allow-credentials", "true".to_owned()));
        }
        lines
    }
}

/// `Vary` for answers of a route with a profile to requests without `Origin`: a cache must not give them to a browser.
pub fn vary_only() -> Vec<HeaderLine> {
    vec![("vary", "Origin".to_owned())]
}

/// Whether the value of `Access-Control-Request-Headers` is a list of header names within bounds. An echo of anything
/// else would let a client write into the answer.
pub fn is_header_list(value: &str) -> bool {
    value.len() <= 1024
        && value.split(',').all(|name| {
            let name = name.trim();
            !name.is_empty() && name.bytes().all(crate::request::is_token_byte)
        })
}

#[cfg(test)]
mod tests;
