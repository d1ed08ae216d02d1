//! From the document as written to the snapshot as used. Everything that is wrong is reported at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::{
    EntitlementsPolicy, Issuer, KeySource, LimiterPolicy, Snapshot,
    diagnostic::{Diagnostic, Findings, PolicyText, Position, did_you_mean},
    document::{
        AllowDocument, CorsDocument, IssuerDocument, LimitDocument, LimitKeyPart, MatchDocument, Mode, OnInvalidToken,
        PolicyDocument, RouteDocument, TokenSourceDocument,
    },
    schema,
    yaml::{self, Node, Value},
};
use crate::{
    client_ip::{ClientIpPolicy, Trust},
    corpus::{Corpus, RouteCorpus},
    cors::{CorsProfile, DEFAULT_EXPOSED, Names, OriginPattern, OriginSet},
    identity::TokenSource,
    limit::{LimitRule, Quota},
    request::{NormalPath, is_token_byte},
    route::{HostMatch, Matcher, PathMatch, Route, Router},
};

/// Additions from the environment, used where the policy says `allow_env_overrides: true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Origins of `CORS_ALLOW_ORIGIN`, separated by semicolons; added to every CORS profile.
    pub allow_origins: Option<String>,
    /// Networks of `FORWARDED_ALLOW_IPS`, separated by commas; added to `client_ip.trusted_proxies`.
    pub trusted_proxies: Option<String>,
}

/// A policy that can be used.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What probably does not mean what it says.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles the files of one policy: a union, in which whatever is defined twice is an error.
///
/// # Errors
/// Every finding, errors and warnings, in the order of the files.
pub fn compile(files: &[PolicyText], overrides: &Overrides) -> Result<Compiled, Vec<Diagnostic>> {
    let mut findings = Findings::new(files);
    let trees: Vec<Node> =
        files.iter().enumerate().filter_map(|(index, file)| yaml::parse(index, &file.text, &mut findings)).collect();
    if trees.is_empty() && !findings.any_error() {
        let help = "begin with `apiVersion: docsgate/v1` and `kind: Policy`".to_owned();
        findings.error(Position { file: 0, line: 1, column: 1 }, "the policy is empty", Some(help));
    }
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    let tree = merge(trees, &mut findings);
    schema::check(&tree, &mut findings);
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    let document: PolicyDocument = match serde_json::from_value(tree.to_json()) {
        Ok(document) => document,
        Err(error) => {
            findings.error(tree.at, error.to_string(), None);
            return Err(findings.into_sorted());
        }
    };
    let snapshot =
        Compiler { document: &document, tree: &tree, overrides, findings: &mut findings }.snapshot(version(files));
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    Ok(Compiled { snapshot, warnings: findings.into_sorted() })
}

/// A short hash of names and contents: the same policy has the same version everywhere.
fn version(files: &[PolicyText]) -> Arc<str> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.text.len().to_le_bytes());
        hash.update(file.text.as_bytes());
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Maps are united, lists are joined, and whatever else is given twice is an error that names both places.
fn merge(trees: Vec<Node>, findings: &mut Findings<'_>) -> Node {
    let mut trees = trees.into_iter();
    let Some(mut merged) = trees.next() else { return Node { at: Position::default(), value: Value::Null } };
    for tree in trees {
        let (Value::Map(into), Value::Map(from)) = (&mut merged.value, tree.value) else {
            findings.error(tree.at, "a policy file must be a map", None);
            continue;
        };
        for (key, at, node) in from {
            let Some((_, first, existing)) = into.iter_mut().find(|(name, _, _)| *name == key) else {
                into.push((key, at, node));
                continue;
            };
            let first = *first;
            match (&mut existing.value, node.value) {
                (Value::List(items), Value::List(more)) => items.extend(more),
                (Value::Map(entries), Value::Map(more)) => {
                    for (name, at, node) in more {
                        match entries.iter().find(|(known, _, _)| *known == name) {
                            Some((_, first, _)) => twice(&name, *first, at, findings),
                            None => entries.push((name, at, node)),
                        }
                    }
                }
                (existing, value) if matches!(key.as_str(), "apiVersion" | "kind") && *existing == value => {}
                _ => twice(&key, first, at, findings),
            }
        }
    }
    merged
}

fn twice(name: &str, first: Position, at: Position, findings: &mut Findings<'_>) {
    let file = findings.file_name(first.file).to_owned();
    let message = format!("`{name}` is already defined in {file}:{}:{}", first.line, first.column);
    findings.error(at, message, Some("files are merged without overriding: keep one of the two".into()));
}

struct Compiler<'d, 'f, 't> {
    document: &'d PolicyDocument,
    tree: &'d Node,
    overrides: &'d Overrides,
    findings: &'f mut Findings<'t>,
}

/// A step into the tree.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}
use Step::{Index, Key};

impl<'d> Compiler<'d, '_, '_> {
    /// The place of what a path leads to, or of the nearest node above it.
    fn at(&self, path: &[Step<'_>]) -> Position {
        let mut node = self.tree;
        for step in path {
            let next = match step {
                Key(key) => node.get(key),
                Index(index) => node.item(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.at
    }

    fn error(&mut self, path: &[Step<'_>], message: impl Into<String>) {
        self.findings.error(self.at(path), message, None);
    }

    fn snapshot(&mut self, version: Arc<str>) -> Snapshot {
        let document = self.document;
        let limits: BTreeMap<&str, Arc<LimitRule>> =
            document.limits.iter().map(|(name, limit)| (name.as_str(), Arc::new(self.limit(name, limit)))).collect();
        let corpora = self.corpora();
        let cors: Vec<CorsProfile> = document.cors.iter().map(|(name, profile)| self.cors(name, profile)).collect();
        let issuers: Vec<Arc<Issuer>> =
            document.issuers.iter().map(|(name, issuer)| Arc::new(self.issuer(name, issuer))).collect();
        let routes = self.routes(&limits, &corpora, &cors, &issuers);
        if routes.is_empty() && document.allow_nothing != Some(true) {
            self.error(
                &[],
                "the policy has no routes and would refuse every request; add `routes`, or say `allow_nothing: true`",
            );
        }
        self.unused(&routes, &limits);
        Snapshot {
            version,
            shadow: document.mode == Some(Mode::Shadow),
            allow_env_overrides: document.allow_env_overrides == Some(true),
            sign_in_url: self.sign_in_url(),
            client_ip: self.client_ip(),
            cors,
            issuers,
            api_key_header: document
                .api_keys
                .as_ref()
                .map(|keys| keys.header.as_deref().unwrap_or("x-api-key").to_ascii_lowercase()),
            entitlements: self.entitlements(),
            corpora,
            limits: limits.into_values().collect(),
            limiter: self.limiter(),
            preflight_limit: self.preflight_limit(),
            router: Router::new(routes),
        }
    }

    /// Names appear in headers, metrics and logs.
    fn name(&mut self, kind: &str, name: &str, path: &[Step<'_>]) {
        let valid = name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !valid {
            self.error(path, format!("the {kind} name `{name}` must match [a-z0-9][a-z0-9_.-]{{0,62}}"));
        }
    }

    fn duration(
        &mut self,
        text: Option<&str>,
        default: Duration,
        range: (Duration, Duration),
        path: &[Step<'_>],
    ) -> Duration {
        let Some(text) = text else { return default };
        match parse_duration(text) {
            Ok(duration) if duration < range.0 || duration > range.1 => {
                self.error(
                    path,
                    format!(
                        "`{text}` is out of range; expected {} s to {} s",
                        range.0.as_secs_f64(),
                        range.1.as_secs()
                    ),
                );
                default
            }
            Ok(duration) => duration,
            Err(error) => {
                self.error(path, error);
                default
            }
        }
    }

    fn limit(&mut self, name: &str, limit: &LimitDocument) -> LimitRule {
        let path = [Key("limits"), Key(name)];
        self.name("limit", name, &path);
        let key = limit.key.as_slice().to_vec();
        if key.is_empty() {
            self.error(
                &[Key("limits"), Key(name), Key("key")],
                "the key is empty; expected at least one part, such as `client_ip`",
            );
        }
        let quota = self.quota(&limit.rate, limit.burst, &[Key("limits"), Key(name), Key("rate")]);
        let tiers = limit
            .tiers
            .iter()
            .map(|(tier, quota)| {
                let path = [Key("limits"), Key(name), Key("tiers"), Key(tier), Key("rate")];
                (tier.clone(), self.quota(&quota.rate, quota.burst, &path))
            })
            .collect();
        let exempt = limit.exempt.clone().unwrap_or_default();
        let exempt_networks = self.networks(&exempt.cidrs, |index| {
            [Key("limits"), Key(name), Key("exempt"), Key("cidrs"), Index(index)].into()
        });
        LimitRule {
            name: name.into(),
            key,
            quota,
            tiers,
            shadow: limit.shadow == Some(true),
            exempt_networks,
            exempt_api_keys: exempt.api_keys,
        }
    }

    fn quota(&mut self, rate: &str, burst: Option<u32>, path: &[Step<'_>]) -> Quota {
        let (count, window) = Quota::parse_rate(rate).unwrap_or_else(|error| {
            self.error(path, format!("the rate `{rate}` is refused: {error}"));
            (1, Duration::from_secs(1))
        });
        let burst = burst.unwrap_or(count);
        if burst == 0 {
            self.error(path, "a burst of zero would refuse everything; expected 1 or more");
        }
        Quota { count, window, burst: burst.max(1) }
    }

    fn networks<'p>(&mut self, texts: &[String], path: impl Fn(usize) -> Vec<Step<'p>>) -> Vec<IpNet> {
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

    fn corpora(&mut self) -> Vec<Corpus> {
        let document = self.document;
        let mut corpora = Vec::new();
        for (name, corpus) in &document.corpora {
            self.name("corpus", name, &[Key("corpora"), Key(name)]);
            if matches!(name.as_str(), "auto" | "none") {
                self.error(
                    &[Key("corpora"), Key(name)],
                    format!("`{name}` cannot name a corpus: it has a meaning of its own in routes"),
                );
            }
            corpora.push(Corpus { name: name.as_str().into(), entitlement: corpus.entitlement.clone() });
        }
        corpora
    }

    fn cors(&mut self, name: &str, profile: &CorsDocument) -> CorsProfile {
        self.name("CORS profile", name, &[Key("cors"), Key(name)]);
        let mut patterns = Vec::with_capacity(profile.allow_origins.len());
        for (index, text) in profile.allow_origins.iter().enumerate() {
            match OriginPattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let path = [Key("cors"), Key(name), Key("allow_origins"), Index(index)];
                    self.error(&path, format!("the origin `{text}` is refused: {error}"));
                }
            }
        }
        if self.document.allow_env_overrides == Some(true) {
            for text in self
                .overrides
                .allow_origins
                .iter()
                .flat_map(|list| list.split(';'))
                .map(str::trim)
                .filter(|text| !text.is_empty())
            {
                match OriginPattern::parse(text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(error) => self
                        .error(&[Key("cors"), Key(name)], format!("CORS_ALLOW_ORIGIN: `{text}` is refused: {error}")),
                }
            }
        }
        let null = profile.allow_null_origin == Some(true);
        if patterns.is_empty() && !null && self.document.allow_nothing != Some(true) {
            self.error(
                &[Key("cors"), Key(name), Key("allow_origins")],
                "no origin is allowed, so every browser would be refused; list at least one",
            );
        }
        let credentials = profile.allow_credentials == Some(true);
        if credentials && patterns.contains(&OriginPattern::Any) {
            let path = [Key("cors"), Key(name), Key("allow_origins")];
            let help = "any site could read members' answers; list the origins".to_owned();
            self.findings.warning(self.at(&path), "`*` together with `allow_credentials: true`", Some(help));
        }
        let methods = self.names(
            &profile.allow_methods,
            |index| [Key("cors"), Key(name), Key("allow_methods"), Index(index)].into(),
            str::to_owned,
        );
        let headers = self.names(
            &profile.allow_headers,
            |index| [Key("cors"), Key(name), Key("allow_headers"), Index(index)].into(),
            str::to_ascii_lowercase,
        );
        let expose = profile.expose_headers.clone().unwrap_or_else(|| DEFAULT_EXPOSED.map(str::to_owned).into());
        for (index, header) in expose.iter().enumerate() {
            if header.is_empty() || !header.bytes().all(is_token_byte) {
                self.error(
                    &[Key("cors"), Key(name), Key("expose_headers"), Index(index)],
                    format!("`{header}` is not a header name"),
                );
            }
        }
        CorsProfile {
            name: name.to_owned(),
            origins: OriginSet::new(patterns, null),
            methods,
            headers,
            expose,
            credentials,
            max_age: profile.max_age.as_deref().map(|text| {
                let range = (Duration::ZERO, Duration::from_secs(86_400));
                self.duration(Some(text), Duration::from_secs(5), range, &[Key("cors"), Key(name), Key("max_age")])
            }),
            private_network: profile.allow_private_network == Some(true),
        }
    }

    fn names<'p>(
        &mut self,
        listed: &[String],
        path: impl Fn(usize) -> Vec<Step<'p>>,
        form: fn(&str) -> String,
    ) -> Names {
        for (index, name) in listed.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                self.error(&path(index), format!("`{name}` is not a name that can stand in a header"));
            }
        }
        if listed.iter().any(|name| name == "*") {
            Names::Any
        } else {
            Names::Listed(listed.iter().map(|name| form(name)).collect())
        }
    }

    fn issuer(&mut self, name: &str, issuer: &IssuerDocument) -> Issuer {
        const DAY: Duration = Duration::from_secs(86_400);
        self.name("issuer", name, &[Key("issuers"), Key(name)]);
        let path = |key| [Key("issuers"), Key(name), Key(key)];
        if issuer.issuer.is_empty() {
            self.error(&path("issuer"), "the issuer is empty; expected the `iss` of its tokens");
        }
        if issuer.audiences.is_empty() {
            self.error(
                &path("audiences"),
                "no audience: tokens made for any other service would be accepted; list at least one",
            );
        }
        if issuer.algorithms.is_empty() {
            self.error(
                &path("algorithms"),
                "no algorithm: no token could be accepted; list at least one, such as `EdDSA`",
            );
        }
        let keys = match (&issuer.jwks_url, &issuer.jwks_file) {
            (Some(url), None) => {
                match url::Url::parse(url) {
                    Ok(parsed) if parsed.scheme() == "https" => {}
                    Ok(parsed) if parsed.scheme() == "http" => {
                        let help =
                            "use https; the process accepts http only with --allow-http-jwks (development)".to_owned();
                        self.findings.warning(
                            self.at(&path("jwks_url")),
                            "the keys are fetched without protection",
                            Some(help),
                        );
                    }
                    _ => self.error(&path("jwks_url"), format!("`{url}` is not an https URL")),
                }
                KeySource::Url(url.clone())
            }
            (None, Some(file)) => KeySource::File(file.clone()),
            _ => {
                self.error(
                    &[Key("issuers"), Key(name)],
                    format!("issuer `{name}` needs exactly one of `jwks_url` and `jwks_file`"),
                );
                KeySource::File(String::new())
            }
        };
        let token_from = issuer.token_from.iter().map(|source| match source {
            TokenSourceDocument::Header(header) => TokenSource::Header(header.to_ascii_lowercase()),
            TokenSourceDocument::Cookie(cookie) => TokenSource::Cookie(cookie.clone()),
        });
        let mut token_from: Vec<TokenSource> = token_from.collect();
        if token_from.is_empty() {
            token_from.push(TokenSource::Header("authorization".to_owned()));
        }
        Issuer {
            name: name.into(),
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            keys,
            algorithms: issuer.algorithms.clone(),
            token_from,
            types: issuer.types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
            required_claims: issuer.required_claims.clone(),
            leeway: self.duration(
                issuer.leeway.as_deref(),
                Duration::from_secs(30),
                (Duration::ZERO, Duration::from_secs(300)),
                &path("leeway"),
            ),
            max_lifetime: self.duration(
                issuer.max_lifetime.as_deref(),
                DAY,
                (Duration::from_secs(1), DAY * 366),
                &path("max_lifetime"),
            ),
            refresh: self.duration(
                issuer.refresh.as_deref(),
                Duration::from_secs(300),
                (Duration::from_secs(1), DAY),
                &path("refresh"),
            ),
            max_stale: self.duration(issuer.max_stale.as_deref(), DAY, (Duration::ZERO, DAY * 30), &path("max_stale")),
            ready_without_keys: issuer.ready_without_keys == Some(true),
        }
    }

    fn routes(
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

    fn route(
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
        if takes_cookies
            && profile
                .and_then(|index| cors.get(index))
                .is_some_and(|cors| cors.credentials && cors.origins.allows_any())
        {
            let message = "any site could read members' answers: this route takes cookies and its CORS profile allows `*` with credentials";
            self.error(&[Key("routes"), Index(index), Key("cors")], message);
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
            shadow: route.shadow == Some(true),
        }
    }

    /// The index of a name among those that are defined.
    fn refer<'n>(
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

    fn matcher(&mut self, index: usize, document: &MatchDocument) -> Matcher {
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

    fn path(&mut self, path: &str, at: &[Step<'_>]) -> String {
        match NormalPath::parse(path) {
            Ok(normal) => normal.as_str().to_owned(),
            Err(fault) => {
                self.error(at, format!("no request can have the path `{path}`: {fault}"));
                path.to_owned()
            }
        }
    }

    fn template(&mut self, template: &str, at: &[Step<'_>]) -> Vec<Option<String>> {
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

    fn sign_in_url(&mut self) -> Option<String> {
        let url = self.document.sign_in_url.clone()?;
        if !url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            self.error(&[Key("sign_in_url")], format!("`{url}` is not an http or https URL"));
        }
        Some(url)
    }

    fn client_ip(&mut self) -> ClientIpPolicy {
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
        ClientIpPolicy { trust, header: document.header.map(|name| name.to_ascii_lowercase()), ipv6_prefix }
    }

    fn entitlements(&mut self) -> EntitlementsPolicy {
        let document = self.document.entitlements.clone().unwrap_or_default();
        let default = EntitlementsPolicy::default();
        let range = (Duration::from_millis(100), Duration::from_secs(7 * 86_400));
        let at = |key| [Key("entitlements"), Key(key)];
        EntitlementsPolicy {
            ttl: self.duration(document.ttl.as_deref(), default.ttl, range, &at("ttl")),
            negative_ttl: self.duration(
                document.negative_ttl.as_deref(),
                default.negative_ttl,
                range,
                &at("negative_ttl"),
            ),
            max_stale: self.duration(
                document.max_stale.as_deref(),
                default.max_stale,
                (Duration::ZERO, range.1),
                &at("max_stale"),
            ),
            max_entries: document.max_entries.unwrap_or(default.max_entries).max(1),
            on_store_down: document.on_store_down.unwrap_or_default(),
        }
    }

    fn limiter(&mut self) -> LimiterPolicy {
        let document = self.document.limiter.clone().unwrap_or_default();
        let default = LimiterPolicy::default();
        let timeout = (Duration::from_millis(1), Duration::from_millis(90));
        LimiterPolicy {
            backend: document.backend.unwrap_or_default(),
            max_keys: document.max_keys.unwrap_or(default.max_keys).max(1024),
            redis_timeout: self.duration(
                document.redis_timeout.as_deref(),
                default.redis_timeout,
                timeout,
                &[Key("limiter"), Key("redis_timeout")],
            ),
            replicas: document.replicas.unwrap_or(1).max(1),
            on_redis_down: document.on_redis_down.unwrap_or_default(),
            lease: document.lease.unwrap_or(0),
        }
    }

    fn preflight_limit(&mut self) -> Arc<LimitRule> {
        let rate = self.document.limiter.as_ref().and_then(|limiter| limiter.preflight_rate.clone());
        let quota = self.quota(rate.as_deref().unwrap_or("600/min"), None, &[Key("limiter"), Key("preflight_rate")]);
        Arc::new(LimitRule {
            name: "preflight".into(),
            key: vec![LimitKeyPart::ClientIp],
            quota: Quota { burst: quota.count.div_ceil(6).max(1), ..quota },
            tiers: BTreeMap::new(),
            shadow: false,
            exempt_networks: Vec::new(),
            exempt_api_keys: Vec::new(),
        })
    }

    /// What is defined but never used probably does not mean what it says.
    fn unused(&mut self, routes: &[Route], limits: &BTreeMap<&str, Arc<LimitRule>>) {
        for name in limits.keys() {
            let used = routes
                .iter()
                .any(|route| route.flood_limits.iter().chain(&route.caller_limits).any(|rule| &*rule.name == *name));
            if !used {
                let help = Some("list it in the `limits` of a route, or remove it".to_owned());
                self.findings.warning(
                    self.at(&[Key("limits"), Key(name)]),
                    format!("limit `{name}` is never used"),
                    help,
                );
            }
        }
        for (index, name) in self.document.cors.keys().enumerate() {
            if !routes.iter().any(|route| route.cors == Some(index)) {
                let help = Some("name it in the `cors` of a route, or remove it".to_owned());
                self.findings.warning(
                    self.at(&[Key("cors"), Key(name)]),
                    format!("CORS profile `{name}` is never used"),
                    help,
                );
            }
        }
    }
}

/// A duration: a whole number and a unit, such as `30s`, `10m`, `1h`, `500ms`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as `500ms`, `30s`, `10m`, `1h` or `7d`";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a duration; {expected}"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{text}` has no known unit; {expected}")),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)))
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

#[cfg(test)]
mod tests;
