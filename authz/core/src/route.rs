//! Step 2: which route a request belongs to. First match by specificity; no match is a refusal.
//!
//! Order of specificity: a host named exactly before a wildcard host before any host; then exact path, template (more
//! literal segments first), prefix (more segments first); then more header and query conditions; then the order in
//! which the policy lists them.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};

use crate::{
    corpus::RouteCorpus,
    cors::CorsProfile,
    identity::Issuer,
    limit::LimitRule,
    request::{NormalPath, RequestView},
};

/// One compiled route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name, unique in the policy.
    pub name: Arc<str>,
    /// The requests it takes.
    pub matcher: Matcher,
    /// Its CORS profile.
    pub cors: Option<Arc<CorsProfile>>,
    /// Requests without `Origin` are refused.
    pub require_origin: bool,
    /// What it serves.
    pub corpus: RouteCorpus,
    /// A token that does not verify means no token, instead of 401.
    pub anonymous_on_invalid_token: bool,
    /// The issuers accepted here.
    pub issuers: Vec<Arc<Issuer>>,
    /// Limits on addresses, counted before identity is known.
    pub flood_limits: Vec<Arc<LimitRule>>,
    /// Limits on callers, counted once identity is known.
    pub caller_limits: Vec<Arc<LimitRule>>,
    /// What one request costs.
    pub cost: u32,
    /// Closed for a while: 503 with this much `Retry-After`.
    pub maintenance: Option<Duration>,
    /// Refusals of limits and identity are only recorded.
    pub shadow: bool,
}

impl Route {
    /// Whether it matters who is calling. A route that serves only public corpora never looks at tokens.
    pub fn depends_on_identity(&self) -> bool {
        match &self.corpus {
            RouteCorpus::None => false,
            RouteCorpus::Auto => true,
            RouteCorpus::Only(corpus) => corpus.entitlement.is_some(),
        }
    }
}

/// Which requests a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The path.
    pub path: PathMatch,
    /// Methods; empty for any. `GET` takes `HEAD` too.
    pub methods: Vec<String>,
    /// Hosts; empty for any.
    pub hosts: Vec<HostMatch>,
    /// Headers that must be present, and their value if it matters.
    pub headers: Vec<(String, Option<String>)>,
    /// Query parameters that must be present, and their value if it matters.
    pub query: Vec<(String, Option<String>)>,
}

/// How a path is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments; the empty list takes every path.
    Prefix(Vec<String>),
    /// Segment by segment; `None` stands for any one non-empty segment.
    Template(Vec<Option<String>>),
}

/// How a host is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// This host, in lower case.
    Exact(String),
    /// One or more labels in front of this suffix, which begins with a dot.
    Suffix(String),
}

/// The route that a request belongs to, if there is one.
#[derive(Debug)]
pub enum RouteMatch<'a> {
    /// This one.
    Matched(&'a Arc<Route>),
    /// The path is known, the method is not: the methods that are, and the route whose CORS profile answers.
    WrongMethod {
        /// Methods that some route of this path takes.
        allowed: Vec<String>,
        /// The most specific of those routes.
        nearest: &'a Arc<Route>,
    },
    /// No route takes this path.
    NotFound,
}

/// All routes of a policy, in order of specificity.
#[derive(Debug, Clone, Default)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    /// Routes with an exact path, by path; most policies have little else.
    exact: HashMap<String, Vec<Ranked>>,
    /// All others.
    patterns: Vec<Ranked>,
}

/// A route and its place in the order of specificity.
#[derive(Debug, Clone)]
struct Ranked {
    rank: usize,
    route: Arc<Route>,
}

impl Router {
    /// Sorts the routes by specificity.
    pub fn new(mut routes: Vec<Arc<Route>>) -> Self {
        // The sort is stable: equals stay in the order of the policy.
        routes.sort_by_key(|route| Reverse(route.matcher.specificity()));
        let mut exact: HashMap<String, Vec<Ranked>> = HashMap::new();
        let mut patterns = Vec::new();
        for (rank, route) in routes.iter().enumerate() {
            let ranked = Ranked { rank, route: Arc::clone(route) };
            match &route.matcher.path {
                PathMatch::Exact(path) => exact.entry(path.clone()).or_default().push(ranked),
                PathMatch::Prefix(_) | PathMatch::Template(_) => patterns.push(ranked),
            }
        }
        Self { routes, exact, patterns }
    }

    /// All routes, the most specific first.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route for a request that uses `method` (for a preflight: the method it asks for).
    pub fn find(&self, request: &RequestView, method: &str) -> RouteMatch<'_> {
        let exact = self.exact.get(request.path.as_str()).map(Vec::as_slice).unwrap_or_default();
        let mut wrong_method: Vec<&Arc<Route>> = Vec::new();
        for route in merge(exact, &self.patterns).filter(|route| route.matcher.takes_all_but_method(request)) {
            if route.matcher.takes_method(method) {
                return RouteMatch::Matched(route);
            }
            wrong_method.push(route);
        }
        let Some(nearest) = wrong_method.first() else { return RouteMatch::NotFound };
        let mut allowed: Vec<String> =
            wrong_method.iter().flat_map(|route| route.matcher.methods.iter().cloned()).collect();
        if allowed.iter().any(|method| method == "GET") {
            allowed.push("HEAD".to_owned());
        }
        allowed.sort_unstable();
        allowed.dedup();
        RouteMatch::WrongMethod { allowed, nearest }
    }
}

/// Two lists in order of specificity as one.
fn merge<'a>(one: &'a [Ranked], other: &'a [Ranked]) -> impl Iterator<Item = &'a Arc<Route>> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    std::iter::from_fn(move || {
        let one_is_next = match (one.peek(), other.peek()) {
            (Some(first), Some(second)) => first.rank < second.rank,
            (first, _) => first.is_some(),
        };
        let next = if one_is_next { one.next() } else { other.next() };
        next.map(|ranked| &ranked.route)
    })
}

impl Matcher {
    fn takes_method(&self, method: &str) -> bool {
        self.methods.is_empty()
            || self.methods.iter().any(|taken| taken == method || (taken == "GET" && method == "HEAD"))
    }

    fn takes_all_but_method(&self, request: &RequestView) -> bool {
        self.path.takes(&request.path)
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.takes(&request.host)))
            && self.headers.iter().all(|(name, value)| match value {
                None => request.headers.has(name),
                Some(value) => request.headers.all(name).any(|line| line == value.as_bytes()),
            })
            && self.query.iter().all(|(name, value)| query_has(request.query.as_deref(), name, value.as_deref()))
    }

    /// Larger is more specific.
    fn specificity(&self) -> (u8, u8, usize, usize) {
        let host = match self.hosts.iter().map(|host| matches!(host, HostMatch::Exact(_))).max() {
            Some(true) => 2,
            Some(false) => 1,
            None => 0,
        };
        let (kind, length) = match &self.path {
            PathMatch::Exact(_) => (2, 0),
            PathMatch::Template(segments) => (1, segments.iter().flatten().count()),
            PathMatch::Prefix(segments) => (0, segments.len()),
        };
        (host, kind, length, self.headers.len() + self.query.len())
    }
}

impl PathMatch {
    fn takes(&self, path: &NormalPath) -> bool {
        match self {
            Self::Exact(exact) => path.as_str() == exact,
            Self::Prefix(prefix) => {
                let mut segments = path.segments();
                path.as_str() != "*" && prefix.iter().all(|wanted| segments.next() == Some(wanted))
            }
            Self::Template(template) => {
                let mut segments = path.segments();
                let all = template.iter().all(|wanted| match (wanted, segments.next()) {
                    (Some(wanted), Some(segment)) => wanted == segment,
                    (None, Some(segment)) => !segment.is_empty(),
                    (_, None) => false,
                });
                all && segments.next().is_none()
            }
        }
    }
}

impl HostMatch {
    fn takes(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == exact,
            Self::Suffix(suffix) => {
                host.len() > suffix.len() && host.ends_with(suffix.as_str()) && !host.starts_with('.')
            }
        }
    }
}

/// Whether the raw query has a parameter `name` (with `value`), after form decoding (WHATWG URL).
fn query_has(query: Option<&str>, name: &str, value: Option<&str>) -> bool {
    let Some(query) = query else { return false };
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(key, found)| key == name && value.is_none_or(|value| value == found))
}

#[cfg(test)]
mod tests;
