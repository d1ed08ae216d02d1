//! Routes, and the names they refer to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Compiler,
    Step::{self, Index, Key},
};
use crate::{
    corpus::{Corpus, RouteCorpus},
    cors::CorsProfile,
    identity::TokenSource,
    limit::LimitRule,
    policy::{
        Issuer,
        diagnostic::did_you_mean,
        document::{AllowDocument, MatchDocument, OnInvalidToken, RouteDocument},
    },
    request::NormalPath,
    route::{HostMatch, Matcher, PathMatch, Route},
};

impl Compiler<'_, '_, '_> {
    pub(super) fn routes(
        &mut self,
        limits: &BTreeMap<&str, Arc<LimitRule>>,
        corpora: &[Corpus],
        cors: &[CorsProfile],
        issuers: &[Arc<Issuer>],
    ) -> Vec<Route> {
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
            routes.push(self.route(index, route, limits, corpora, cors, issuers));
        }
        routes
    }

    pub(super) fn route(
        &mut self,
        index: usize,
        route: &RouteDocument,
        limits: &BTreeMap<&str, Arc<LimitRule>>,
        corpora: &[Corpus],
        cors: &[CorsProfile],
        issuers: &[Arc<Issuer>],
    ) -> Route {
        let profile = route.cors.as_deref().and_then(|name| {
            self.refer(
                "CORS profile",
                name,
                cors.iter().map(|profile| profile.name.as_str()),
                &[Key("routes"), Index(index), Key("cors")],
            )
        });
        let corpus = match (route.corpus.as_deref(), route.allow) {
            (None, Some(AllowDocument::Anyone)) => RouteCorpus::None,
            (Some("auto"), None) => RouteCorpus::Auto,
            (Some(name), None) => {
                let path = [Key("routes"), Index(index), Key("corpus")];
                let known = corpora.iter().map(|corpus| corpus.name.as_ref()).chain(["auto"]);
                self.refer("corpus", name, known, &path).map_or(RouteCorpus::None, RouteCorpus::Only)
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
        };
        let cost = route.cost.unwrap_or(1);
        if cost == 0 {
            self.error(
                &[Key("routes"), Index(index), Key("cost")],
                "a cost of zero would switch the limits off; remove `limits` instead",
            );
        }
        let mut rules = Vec::with_capacity(route.limits.len());
        for (position, name) in route.limits.iter().enumerate() {
            let path = [Key("routes"), Index(index), Key("limits"), Index(position)];
            if self.refer("limit", name, limits.keys().copied(), &path).is_none() {
                continue;
            }
            let Some(rule) = limits.get(name.as_str()) else { continue };
            let smallest = rule.tiers.values().chain([&rule.quota]).map(|quota| quota.burst).min().unwrap_or(0);
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
            rules.push(Arc::clone(rule));
        }
        let (caller_limits, flood_limits) = rules.into_iter().partition(|rule: &Arc<LimitRule>| rule.needs_identity());
        let accepted: Vec<usize> = if route.issuers.is_empty() {
            (0..issuers.len()).collect()
        } else {
            let named = route.issuers.iter().enumerate();
            named
                .filter_map(|(position, name)| {
                    let path = [Key("routes"), Index(index), Key("issuers"), Index(position)];
                    self.refer("issuer", name, issuers.iter().map(|issuer| issuer.name.as_ref()), &path)
                })
                .collect()
        };
        let takes_cookies = corpus != RouteCorpus::None
            && accepted
                .iter()
                .filter_map(|issuer| issuers.get(*issuer))
                .any(|issuer| issuer.token_from.iter().any(|source| matches!(source, TokenSource::Cookie(_))));
        let with_credentials = profile.and_then(|index| cors.get(index)).filter(|cors| cors.credentials);
        if let Some(cors) = with_credentials.filter(|_| takes_cookies) {
            // A sandboxed frame on any site has the origin `null`.
            for (allows, what) in [(cors.origins.allows_any(), "*"), (cors.origins.allows_null(), "null")] {
                if allows {
                    let message = format!(
                        "any site could read members' answers: this route takes cookies and its CORS profile allows `{what}` with credentials"
                    );
                    self.error(&[Key("routes"), Index(index), Key("cors")], message);
                }
            }
        }
        Route {
            name: route.name.as_str().into(),
            matcher: self.matcher(index, &route.r#match),
            cors: profile,
            require_origin: route.require_origin == Some(true),
            corpus,
            anonymous_on_invalid_token: route.on_invalid_token == Some(OnInvalidToken::Anonymous),
            issuers: accepted,
            flood_limits,
            caller_limits,
            cost: cost.max(1),
            maintenance: route.maintenance.as_deref().map(|text| {
                let range = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
                let path = [Key("routes"), Index(index), Key("maintenance")];
                self.duration(Some(text), Duration::from_secs(60), range, &path)
            }),
            shadow: route.shadow == Some(true),
        }
    }

    /// The index of a name among those that are defined.
    pub(super) fn refer<'n>(
        &mut self,
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'n str>,
        path: &[Step<'_>],
    ) -> Option<usize> {
        let known: Vec<&str> = known.collect();
        let found = known.iter().position(|known| *known == name);
        if found.is_none() {
            let help =
                did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("defined: {}", known.join(", ")));
            self.findings.error(self.at(path), format!("there is no {kind} `{name}`"), Some(help));
        }
        found
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
