//! What is valid and probably does not mean what it says.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Compiler,
    Step::{self, Index, Key},
    routes::Definitions,
};
use crate::{
    corpus::RouteCorpus,
    route::{Matcher, Route, Router},
};

impl Compiler<'_, '_, '_> {
    pub(super) fn warnings(&mut self, routes: &[Arc<Route>], defined: &Definitions) {
        self.unused_limits_and_profiles(routes, defined);
        self.unused_corpora_and_issuers(routes, defined);
        self.unlimited_members(routes, defined);
        self.free_refusals(routes, defined);
        self.shadowed_routes(routes);
    }

    fn warn(&mut self, path: &[Step<'_>], message: String, help: &str) {
        self.findings.warning(self.at(path), message, Some(help.to_owned()));
    }

    fn unused_limits_and_profiles(&mut self, routes: &[Arc<Route>], defined: &Definitions) {
        for limit in &defined.limits {
            let used = routes.iter().any(|route| {
                route.flood_limits.iter().chain(&route.caller_limits).any(|rule| Arc::ptr_eq(rule, limit))
            });
            if !used {
                let (name, help) = (&*limit.name, "list it in the `limits` of a route, or remove it");
                self.warn(&[Key("limits"), Key(name)], format!("limit `{name}` is never used"), help);
            }
        }
        for profile in &defined.cors {
            if !routes.iter().any(|route| route.cors.as_ref().is_some_and(|cors| Arc::ptr_eq(cors, profile))) {
                let (name, help) = (&*profile.name, "name it in the `cors` of a route, or remove it");
                self.warn(&[Key("cors"), Key(name)], format!("CORS profile `{name}` is never used"), help);
            }
        }
    }

    fn unused_corpora_and_issuers(&mut self, routes: &[Arc<Route>], defined: &Definitions) {
        for corpus in &defined.corpora {
            let served = routes.iter().any(|route| match &route.corpus {
                RouteCorpus::None => false,
                RouteCorpus::Auto => true,
                RouteCorpus::Only(only) => Arc::ptr_eq(only, corpus),
            });
            if !served {
                let help = "name it in the `corpus` of a route, or remove it";
                self.warn(
                    &[Key("corpora"), Key(&corpus.name)],
                    format!("no route serves corpus `{}`", corpus.name),
                    help,
                );
            }
        }
        for issuer in &defined.issuers {
            let accepts = |route: &Route| route.issuers.iter().any(|accepted| Arc::ptr_eq(accepted, issuer));
            if !routes.iter().any(|route| route.corpus != RouteCorpus::None && accepts(route)) {
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
    fn unlimited_members(&mut self, routes: &[Arc<Route>], defined: &Definitions) {
        for (index, route) in routes.iter().enumerate() {
            let serves_members = match &route.corpus {
                RouteCorpus::None => false,
                RouteCorpus::Auto => defined.corpora.iter().any(|corpus| corpus.entitlement.is_some()),
                RouteCorpus::Only(corpus) => corpus.entitlement.is_some(),
            };
            if serves_members && route.caller_limits.is_empty() {
                let message = format!("route `{}` serves members without any limit on a member", route.name);
                let help = "add a limit whose key is `caller` or `member`";
                self.warn(&[Key("routes"), Index(index)], message, help);
            }
        }
    }

    /// Where only callers are counted, a token that does not verify is counted by nothing but the limit of noise.
    fn free_refusals(&mut self, routes: &[Arc<Route>], defined: &Definitions) {
        let anybody_known = !defined.issuers.is_empty() || self.document.api_keys.is_some();
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
    fn shadowed_routes(&mut self, routes: &[Arc<Route>]) {
        let router = Router::new(routes.to_vec());
        let place = |route| routes.iter().position(|listed| Arc::ptr_eq(listed, route));
        let mut by_path: BTreeMap<String, Vec<&Arc<Route>>> = BTreeMap::new();
        for route in router.routes() {
            let before = by_path.entry(format!("{:?}", route.matcher.path)).or_default();
            if let Some(first) = before.iter().find(|first| covers(&first.matcher, &route.matcher)) {
                let message =
                    format!("route `{}` is never reached: `{}` takes all its requests", route.name, first.name);
                let index = place(route).unwrap_or(0);
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
