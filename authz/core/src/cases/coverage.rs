//! Which parts of a policy no case ever touches.

use std::collections::BTreeMap;

use super::Played;
use crate::{
    cors::Origin,
    decision::{Outcome, Refusal},
    policy::Snapshot,
};

/// How often each route, limit and origin of a policy was exercised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By kind (`route`, `limit`, `origin`, `corpus`) and name: requests that touched it, and those that it refused or,
    /// for corpora, opened.
    pub touched: BTreeMap<(&'static str, String), (u32, u32)>,
}

impl Coverage {
    /// Everything that the policy has, touched by nothing.
    pub fn of(policy: &Snapshot) -> Self {
        let mut coverage = Self::default();
        let mut add = |kind, name: String| {
            coverage.touched.entry((kind, name)).or_default();
        };
        for route in policy.router.routes() {
            add("route", route.name.to_string());
        }
        for limit in &policy.limits {
            add("limit", limit.name.to_string());
        }
        for corpus in &policy.corpora {
            add("corpus", corpus.name.to_string());
        }
        for profile in &policy.cors {
            for pattern in profile.patterns() {
                add("origin", format!("{}: {pattern}", profile.name));
            }
        }
        coverage
    }

    /// Counts one decision.
    pub(super) fn record(&mut self, played: &Played) {
        let decision = &played.decision;
        let refused = matches!(decision.outcome, Outcome::Refuse(_));
        let mut hit = |kind, name: String, decisive: bool| {
            if let Some((touched, decided)) = self.touched.get_mut(&(kind, name)) {
                *touched += 1;
                *decided += u32::from(decisive);
            }
        };
        if let Some(route) = decision.about.route_name() {
            hit("route", route.to_owned(), refused);
        }
        for state in &decision.about.limits {
            let refuses = matches!(&decision.outcome, Outcome::Refuse(Refusal::RateLimited { limit, .. }) if *limit == state.name);
            hit("limit", state.name.to_string(), refuses);
        }
        if let Outcome::Allow(allow) = &decision.outcome {
            for corpus in allow.corpora() {
                hit("corpus", corpus.to_string(), true);
            }
        }
        let origin = played.view.as_ref().ok().and_then(|view| view.single("origin").ok().flatten());
        let origin = origin.and_then(|origin| Origin::parse(origin).ok());
        let profile = decision.about.route.as_ref().and_then(|route| route.cors.as_ref());
        if let (Some(origin), Some(profile)) = (origin, profile)
            && let Some(pattern) = profile.allowing(&origin)
        {
            hit("origin", format!("{}: {pattern}", profile.name), refused);
        }
    }

    /// What no case touched.
    pub fn untouched(&self) -> Vec<String> {
        let never = self.touched.iter().filter(|(_, (touched, _))| *touched == 0);
        never.map(|((kind, name), _)| format!("{kind} {name}")).collect()
    }
}
