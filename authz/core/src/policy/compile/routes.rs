//! Routes, and the names they refer to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Compiler,
    Step::{self, Index, Key},
};
use crate::{
    corpus::{Corpus, RouteCorpus},
    cors::CorsProfile,
    identity::{Issuer, TokenSource},
    limit::{Allowance, LimitRule},
    policy::{
        diagnostic::did_you_mean,
        document::{AllowDocument, MatchDocument, OnInvalidToken, RouteDocument},
    },
    request::NormalPath,
    route::{HostMatch, Matcher, PathMatch, Route},
};

/// What routes refer to.
pub(super) struct Definitions {
    pub(super) limits: Vec<Arc<LimitRule>>,
    pub(super) corpora: Vec<Arc<Corpus>>,
    pub(super) cors: Vec<Arc<CorsProfile>>,
    pub(super) issuers: Vec<Arc<Issuer>>,
}

/// What routes refer to by name.
pub(super) trait Named {
    /// What it is called in a finding.
    const KIND: &'static str;
    /// Words that may stand in place of a name.
    const WORDS: &'static [&'static str] = &[];
    fn name(&self) -> &str;
}

impl Named for LimitRule {
    const KIND: &'static str = "limit";
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Corpus {
    const KIND: &'static str = "corpus";
    const WORDS: &'static [&'static str] = &["auto"];
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for CorsProfile {
    const KIND: &'static str = "CORS profile";
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Issuer {
    const KIND: &'static str = "issuer";
    fn name(&self) -> &str {
        &self.name
    }
}

impl Compiler<'_, '_, '_> {
    pub(super) fn routes(&mut self, defined: &Definitions) -> Vec<Arc<Route>> {
        let document = self.document;
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut routes = Vec::with_capacity(document.routes.len());
        for (index, route) in document.routes.iter().enumerate() {
            self.name("route", &route.name, &[Key("routes"), Index(index), Key("name")]);
            if let Some(first) = names.insert(&route.name, index) {
                let line = self.at(&[Key("routes"), Index(first)]).line;
                self.error(
                    &[Key("routes"), Index(index), Key("name")],
                    format!("two routes are named `{}`; the first in line {line}", route.name),
                );
            }
            routes.push(Arc::new(self.route(index, route, defined)));
        }
        routes
    }

    fn route(&mut self, index: usize, route: &RouteDocument, defined: &Definitions) -> Route {
        let cors_path = [Key("routes"), Index(index), Key("cors")];
        let cors = route.cors.as_deref().and_then(|name| self.refer(name, &defined.cors, &cors_path));
        let corpus = self.route_corpus(index, route, &defined.corpora);
        let cost = route.cost.unwrap_or(1);
        if cost == 0 {
            self.error(
                &[Key("routes"), Index(index), Key("cost")],
                "a cost of zero would switch the limits off; remove `limits` instead",
            );
        }
        let limits = self.route_limits(index, route, &defined.limits);
        let (caller_limits, flood_limits) = limits.into_iter().partition(|rule| rule.needs_identity());
        let issuers = if route.issuers.is_empty() {
            defined.issuers.clone()
        } else {
            let named = route.issuers.iter().enumerate();
            named
                .filter_map(|(position, name)| {
                    let path = [Key("routes"), Index(index), Key("issuers"), Index(position)];
                    self.refer(name, &defined.issuers, &path)
                })
                .collect()
        };
        let route = Route {
            name: route.name.as_str().into(),
            matcher: self.matcher(index, &route.r#match),
            cors,
            require_origin: route.require_origin == Some(true),
            corpus,
            anonymous_on_invalid_token: route.on_invalid_token == Some(OnInvalidToken::Anonymous),
            issuers,
            flood_limits,
            caller_limits,
            cost: cost.max(1),
            maintenance: route.maintenance.as_deref().map(|text| {
                let range = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
                let path = [Key("routes"), Index(index), Key("maintenance")];
                self.duration(Some(text), Duration::from_secs(60), range, &path)
            }),
            shadow: route.shadow == Some(true),
        };
        self.refuse_cookies_for_any_site(&route, &cors_path);
        route
    }

    fn route_corpus(&mut self, index: usize, route: &RouteDocument, corpora: &[Arc<Corpus>]) -> RouteCorpus {
        match (route.corpus.as_deref(), route.allow) {
            (None, Some(AllowDocument::Anyone)) => RouteCorpus::None,
            (Some("auto"), None) => RouteCorpus::Auto,
            (Some(name), None) => {
                let path = [Key("routes"), Index(index), Key("corpus")];
                self.refer(name, corpora, &path).map_or(RouteCorpus::None, RouteCorpus::Only)
            }
            (Some(_), Some(_)) => {
                self.error(
                    &[Key("routes"), Index(index), Key("allow")],
                    "`allow: anyone` opens no corpus; remove `allow` or `corpus`",
                );
                RouteCorpus::None
            }
            (None, None) => {
                self.error(
                    &[Key("routes"), Index(index)],
                    format!("route `{}` says neither `corpus` nor `allow: anyone`", route.name),
                );
                RouteCorpus::None
            }
        }
    }

    fn route_limits(&mut self, index: usize, route: &RouteDocument, limits: &[Arc<LimitRule>]) -> Vec<Arc<LimitRule>> {
        let cost = route.cost.unwrap_or(1);
        let mut rules = Vec::with_capacity(route.limits.len());
        for (position, name) in route.limits.iter().enumerate() {
            let path = [Key("routes"), Index(index), Key("limits"), Index(position)];
            let Some(rule) = self.refer(name, limits, &path) else { continue };
            let smallest = rule.tiers.values().map(Allowance::burst).fold(rule.allowance.burst(), u32::min);
            if rules.iter().any(|known: &Arc<LimitRule>| known.name == rule.name) {
                self.error(&path, format!("limit `{name}` is listed twice; a request is counted once, remove one"));
                continue;
            }
            if smallest < cost {
                let message = format!(
                    "a request of this route costs {cost}, but limit `{name}` has a burst of {smallest}: it would never fit"
                );
                self.error(&path, format!("{message}; raise the burst or lower the cost"));
            }
            rules.push(rule);
        }
        rules
    }

    /// A route that takes cookies must not let any site read answers to them.
    fn refuse_cookies_for_any_site(&mut self, route: &Route, path: &[Step<'_>]) {
        let takes_cookies = route.corpus != RouteCorpus::None
            && route
                .issuers
                .iter()
                .any(|issuer| issuer.token_from.iter().any(|source| matches!(source, TokenSource::Cookie(_))));
        let Some(cors) = route.cors.as_ref().filter(|cors| cors.credentials && takes_cookies) else { return };
        // A sandboxed frame on any site has the origin `null`.
        for (allows, what) in [(cors.origins.allows_any(), "*"), (cors.origins.allows_null(), "null")] {
            if allows {
                let message = format!(
                    "any site could read members' answers: this route takes cookies and its CORS profile allows `{what}` with credentials"
                );
                self.error(path, message);
            }
        }
    }

    /// What a name refers to.
    fn refer<T: Named>(&mut self, name: &str, defined: &[Arc<T>], path: &[Step<'_>]) -> Option<Arc<T>> {
        let found = defined.iter().find(|known| known.name() == name);
        if found.is_none() {
            let known: Vec<&str> = defined.iter().map(|known| known.name()).chain(T::WORDS.iter().copied()).collect();
            let help =
                did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("defined: {}", known.join(", ")));
            self.findings.error(self.at(path), format!("there is no {} `{name}`", T::KIND), Some(help));
        }
        found.cloned()
    }

    pub(super) fn matcher(&mut self, index: usize, document: &MatchDocument) -> Matcher {
        let at = |key| [Key("routes"), Index(index), Key("match"), Key(key)];
        let path = match (&document.path, &document.prefix, &document.template) {
            (Some(path), None, None) => PathMatch::Exact(self.path(path, &at("path"))),
            (None, Some(prefix), None) => {
                let path = self.path(prefix, &at("prefix"));
                PathMatch::Prefix(path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect())
            }
            (None, None, Some(template)) => PathMatch::Template(self.template(template, &at("template"))),
            _ => {
                self.error(
                    &[Key("routes"), Index(index), Key("match")],
                    "exactly one of `path`, `prefix` and `template` is needed",
                );
                PathMatch::Exact(String::new())
            }
        };
        for (position, method) in document.methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
                let path = [Key("routes"), Index(index), Key("match"), Key("methods"), Index(position)];
                self.error(&path, format!("`{method}` is not a method; methods are case-sensitive, such as `GET`"));
            }
        }
        let mut hosts = Vec::new();
        for (position, host) in document.hosts.iter().enumerate() {
            match parse_host(host) {
                Ok(host) => hosts.push(host),
                Err(error) => {
                    self.error(&[Key("routes"), Index(index), Key("match"), Key("hosts"), Index(position)], error);
                }
            }
        }
        Matcher {
            path,
            methods: document.methods.clone(),
            hosts,
            headers: document.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            query: document.query.clone().into_iter().collect(),
        }
    }

    pub(super) fn path(&mut self, path: &str, at: &[Step<'_>]) -> String {
        match NormalPath::parse(path) {
            Ok(normal) => normal.as_str().to_owned(),
            Err(fault) => {
                self.error(at, format!("no request can have the path `{path}`: {fault}"));
                path.to_owned()
            }
        }
    }

    pub(super) fn template(&mut self, template: &str, at: &[Step<'_>]) -> Vec<Option<String>> {
        let mut segments = Vec::new();
        for segment in template.split('/').skip(1) {
            let placeholder = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match placeholder {
                Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    segments.push(None);
                }
                None if !segment.contains(['{', '}']) => segments.push(Some(segment.to_owned())),
                _ => self.error(
                    at,
                    format!("`{segment}` is neither a literal segment nor a placeholder such as `{{page}}`"),
                ),
            }
        }
        if !template.starts_with('/') {
            self.error(at, "a template begins with a slash, such as `/docs/{page}`");
        }
        segments
    }
}

fn parse_host(text: &str) -> Result<HostMatch, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let ascii = idna::domain_to_ascii(host).map_err(|_| format!("`{text}` is not a host name"))?;
    if ascii.is_empty() || ascii.contains(['*', ':', '/']) {
        return Err(format!(
            "`{text}` is not a host; expected a name without port, such as `docs.example.org` or `*.example.org`"
        ));
    }
    Ok(if host.len() == text.len() { HostMatch::Exact(ascii) } else { HostMatch::Suffix(format!(".{ascii}")) })
}
