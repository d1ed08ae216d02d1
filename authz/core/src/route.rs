//! Step 2: which route a request belongs to. First match by specificity; no match is a refusal.
//!
//! Order of specificity: a host named exactly before a wildcard host before any host; then exact path, template (more
//! literal segments first), prefix (more segments first); then more header and query conditions; then the order in
//! which the policy lists them.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};

use crate::{
    corpus::RouteCorpus,
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
    /// Index of its CORS profile in the snapshot.
    pub cors: Option<usize>,
    /// Requests without `Origin` are refused.
    pub require_origin: bool,
    /// What it serves.
    pub corpus: RouteCorpus,
    /// A token that does not verify means no token, instead of 401.
    pub anonymous_on_invalid_token: bool,
    /// Indices of the issuers accepted here.
    pub issuers: Vec<usize>,
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

/// What routing found.
#[derive(Debug)]
pub enum Found<'a> {
    /// The route.
    Route(&'a Arc<Route>),
    /// The path is known, the method is not: the methods that are, and the route whose CORS profile answers.
    WrongMethod {
        /// Methods that some route of this path takes.
        allowed: Vec<String>,
        /// The most specific of those routes.
        nearest: &'a Arc<Route>,
    },
    /// Nothing takes this path.
    Nothing,
}

/// All routes of a policy, in order of specificity.
#[derive(Debug, Clone, Default)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    /// Indices of routes with an exact path; most policies have little else.
    exact: HashMap<String, Vec<usize>>,
    /// Indices of all others.
    patterns: Vec<usize>,
}

impl Router {
    /// Sorts the routes by specificity.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        // The sort is stable: equals stay in the order of the policy.
        routes.sort_by_key(|route| Reverse(route.matcher.specificity()));
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut patterns = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            match &route.matcher.path {
                PathMatch::Exact(path) => exact.entry(path.clone()).or_default().push(index),
                PathMatch::Prefix(_) | PathMatch::Template(_) => patterns.push(index),
            }
        }
        Self { routes, exact, patterns }
    }

    /// All routes, the most specific first.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route for a request that uses `method` (for a preflight: the method it asks for).
    pub fn find(&self, request: &RequestView, method: &str) -> Found<'_> {
        let exact = self.exact.get(request.path.as_str()).map(Vec::as_slice).unwrap_or_default();
        // Both lists are in order of specificity; merging them keeps it.
        let (mut exact, mut patterns) = (exact.iter().peekable(), self.patterns.iter().peekable());
        let mut wrong_method: Vec<&Arc<Route>> = Vec::new();
        loop {
            let next = match (exact.peek(), patterns.peek()) {
                (Some(a), Some(b)) if a < b => exact.next(),
                (Some(_), None) => exact.next(),
                (_, Some(_)) => patterns.next(),
                (None, None) => break,
            };
            let Some(route) = next.and_then(|index| self.routes.get(*index)) else { break };
            if !route.matcher.takes_all_but_method(request) {
                continue;
            }
            if route.matcher.takes_method(method) {
                return Found::Route(route);
            }
            wrong_method.push(route);
        }
        match wrong_method.first() {
            None => Found::Nothing,
            Some(nearest) => {
                let mut allowed: Vec<String> =
                    wrong_method.iter().flat_map(|route| route.matcher.methods.iter().cloned()).collect();
                if allowed.iter().any(|method| method == "GET") {
                    allowed.push("HEAD".to_owned());
                }
                allowed.sort_unstable();
                allowed.dedup();
                Found::WrongMethod { allowed, nearest }
            }
        }
    }
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
