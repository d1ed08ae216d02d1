//! What is valid and probably does not mean what it says.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Compiler,
    Step::{self, Index, Key},
};
use crate::{
    corpus::{Corpus, RouteCorpus},
    limit::LimitRule,
    policy::Issuer,
    route::{Matcher, Route, Router},
};

impl Compiler<'_, '_, '_> {
    pub(super) fn warnings(
        &mut self,
        routes: &[Route],
        limits: &BTreeMap<&str, Arc<LimitRule>>,
        corpora: &[Corpus],
        issuers: &[Arc<Issuer>],
    ) {
        self.unused_limits_and_profiles(routes, limits);
        self.unused_corpora_and_issuers(routes, corpora, issuers);
        self.unlimited_members(routes, corpora);
        self.free_refusals(routes, issuers);
        self.shadowed_routes(routes);
    }

    fn warn(&mut self, path: &[Step<'_>], message: String, help: &str) {
        self.findings.warning(self.at(path), message, Some(help.to_owned()));
    }

    fn unused_limits_and_profiles(&mut self, routes: &[Route], limits: &BTreeMap<&str, Arc<LimitRule>>) {
        for name in limits.keys() {
            let used = routes
                .iter()
                .any(|route| route.flood_limits.iter().chain(&route.caller_limits).any(|rule| &*rule.name == *name));
            if !used {
                let help = "list it in the `limits` of a route, or remove it";
                self.warn(&[Key("limits"), Key(name)], format!("limit `{name}` is never used"), help);
            }
        }
        for (index, name) in self.document.cors.keys().enumerate() {
            if !routes.iter().any(|route| route.cors == Some(index)) {
                let help = "name it in the `cors` of a route, or remove it";
                self.warn(&[Key("cors"), Key(name)], format!("CORS profile `{name}` is never used"), help);
            }
        }
    }

    fn unused_corpora_and_issuers(&mut self, routes: &[Route], corpora: &[Corpus], issuers: &[Arc<Issuer>]) {
        let any_auto = routes.iter().any(|route| route.corpus == RouteCorpus::Auto);
        for (index, corpus) in corpora.iter().enumerate() {
            if !any_auto && !routes.iter().any(|route| route.corpus == RouteCorpus::Only(index)) {
                let help = "name it in the `corpus` of a route, or remove it";
                self.warn(
                    &[Key("corpora"), Key(&corpus.name)],
                    format!("no route serves corpus `{}`", corpus.name),
                    help,
                );
            }
        }
        for (index, issuer) in issuers.iter().enumerate() {
            if !routes.iter().any(|route| route.corpus != RouteCorpus::None && route.issuers.contains(&index)) {
                let help = "no route looks at its tokens; name it in the `issuers` of a route, or remove it";
                self.warn(
                    &[Key("issuers"), Key(&issuer.name)],
                    format!("issuer `{}` is never used", issuer.name),
                    help,
                );
            }
        }
    }

    /// A stolen token on a route without a limit on callers reads everything there is in one evening.
    fn unlimited_members(&mut self, routes: &[Route], corpora: &[Corpus]) {
        let closed = |index: &usize| corpora.get(*index).is_some_and(|corpus| corpus.entitlement.is_some());
        for (index, route) in routes.iter().enumerate() {
            let serves_members = match &route.corpus {
                RouteCorpus::None => false,
                RouteCorpus::Auto => corpora.iter().any(|corpus| corpus.entitlement.is_some()),
                RouteCorpus::Only(corpus) => closed(corpus),
            };
            if serves_members && route.caller_limits.is_empty() {
                let message = format!("route `{}` serves members without any limit on a member", route.name);
                let help = "add a limit whose key is `caller` or `member`";
                self.warn(&[Key("routes"), Index(index)], message, help);
            }
        }
    }

    /// Where only callers are counted, a token that does not verify is counted by nothing but the limit of noise.
    fn free_refusals(&mut self, routes: &[Route], issuers: &[Arc<Issuer>]) {
        let anybody_known = !issuers.is_empty() || self.document.api_keys.is_some();
        for (index, route) in routes.iter().enumerate() {
            let only_callers = route.flood_limits.is_empty() && !route.caller_limits.is_empty();
            if anybody_known && only_callers && route.corpus != RouteCorpus::None {
                let message = format!(
                    "route `{}` counts nobody before it looks at a token: its 401s cost next to nothing",
                    route.name
                );
                let help = "add a limit on addresses, whose key is `client_ip`, without tiers";
                self.warn(&[Key("routes"), Index(index), Key("limits")], message, help);
            }
        }
    }

    /// A route that stands behind another one which takes everything that it would take.
    fn shadowed_routes(&mut self, routes: &[Route]) {
        let router = Router::new(routes.to_vec());
        let place = |name: &str| routes.iter().position(|route| &*route.name == name);
        let mut by_path: BTreeMap<String, Vec<&Arc<Route>>> = BTreeMap::new();
        for route in router.routes() {
            let before = by_path.entry(format!("{:?}", route.matcher.path)).or_default();
            if let Some(first) = before.iter().find(|first| covers(&first.matcher, &route.matcher)) {
                let message =
                    format!("route `{}` is never reached: `{}` takes all its requests", route.name, first.name);
                let index = place(&route.name).unwrap_or(0);
                self.warn(&[Key("routes"), Index(index)], message, "narrow the other route, or remove this one");
            }
            before.push(route);
        }
    }
}

/// Whether `first` takes every request that `second` takes; both have the same path.
fn covers(first: &Matcher, second: &Matcher) -> bool {
    let hosts = first.hosts.is_empty()
        || (!second.hosts.is_empty() && second.hosts.iter().all(|host| first.hosts.contains(host)));
    let methods = first.methods.is_empty()
        || (!second.methods.is_empty() && second.methods.iter().all(|method| first.methods.contains(method)));
    hosts
        && methods
        && first.headers.iter().all(|header| second.headers.contains(header))
        && first.query.iter().all(|parameter| second.query.contains(parameter))
}
