//! Refusals that no limit of the policy has counted: no route, another method, an origin that is not allowed, what cannot be
//! parsed. Whoever sends nothing else would be refused for free.

use std::sync::Arc;

use super::Evaluation;
use crate::{
    client_ip::{ClientIp, client_ip},
    decision::Refusal,
    facts::Facts,
    identity::Identity,
    limit::{self, Stage, Subject},
    request::{Malformed, RequestView},
};

impl<F: Facts> Evaluation<'_, F> {
    /// Charges a refusal that no limit has counted to the client's address, and turns it into a 429 when there were too
    /// many: nobody is refused for free. In shadow mode the refusal stays what it is.
    pub(super) async fn charge_noise(&mut self, request: &Result<RequestView, Malformed>, refusal: Refusal) -> Refusal {
        let counted = self.about.limits.iter().any(|state| !state.shadow);
        if counted || matches!(refusal, Refusal::Undecidable(_) | Refusal::RateLimited { .. }) {
            return refusal;
        }
        self.about.noise = true;
        let settings = &self.policy.client_ip;
        self.about.client_ip = match request {
            Ok(request) => self.about.client_ip.or_else(|| client_ip(settings, request)),
            Err(malformed) => malformed.peer.map(|peer| ClientIp::new(peer, settings.ipv6_prefix)),
        };
        let subject = Subject {
            ip: self.about.client_ip,
            identity: &Identity::Anonymous,
            plan: None,
            route: self.about.route_name().unwrap_or("none"),
            corpus: None,
            cost: 1,
        };
        let charges = limit::charges(std::slice::from_ref(&self.policy.noise_limit), &subject);
        let outcome = self.facts.charge(Stage::Noise, &charges, self.now).await;
        let Some(state) = outcome.refusing() else { return refusal };
        let limited = Refusal::RateLimited { limit: Arc::clone(&state.name), retry_after: state.retry_after };
        self.trace.note("limits", || format!("Noise: {refusal} does not fit {}", state.name));
        if self.shadows() {
            self.about.shadowed.get_or_insert(limited);
            return refusal;
        }
        self.about.limits.extend(outcome.states);
        limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cases::{self, WrittenFacts},
        decide::decide,
        decision::{Decision, Outcome},
        facts::immediately,
        policy::{Overrides, PolicyText, Snapshot, compile, diagnostic::render},
        request::RawRequest,
        time::Timestamp,
    };

    const DEV: &str = include_str!("../../../../policies/dev/policy.yaml");

    fn policy(text: &str) -> Snapshot {
        let file = PolicyText { name: "policy.yaml".into(), text: text.into() };
        compile(&[file], &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found))).snapshot
    }

    fn play(policy: &Snapshot, facts: &mut WrittenFacts, request: &str, peer: &str) -> Decision {
        let text = format!("request: {{{request}, peer: '{peer}'}}\n");
        let scene = cases::parse_scene(&PolicyText { name: "scene".into(), text }).unwrap();
        cases::play(policy, &scene, facts, Timestamp::from_seconds(1_800_000_000)).unwrap().decision
    }

    fn kind(decision: &Decision) -> &'static str {
        cases::summary(decision).2
    }

    const NOISE: [(&str, &str); 6] = [
        ("path: /nowhere", "no_route"),
        ("path: /api/docs-search, method: PUT", "method_not_allowed"),
        ("path: /api/docs-search, origin: 'https://evil.example'", "origin_not_allowed"),
        ("path: /api/docs-search, origin: nonsense", "malformed_origin"),
        ("path: '/a/..;/b'", "ambiguous_path"),
        ("path: /api/docs-search, method: 'G T'", "malformed_request"),
    ];

    #[test]
    fn every_refusal_that_no_limit_counts_is_charged_to_the_address() {
        let policy = policy(DEV);
        for (request, expected) in NOISE {
            let mut facts = WrittenFacts::default();
            for _ in 0..100 {
                let decision = play(&policy, &mut facts, request, "203.0.113.1");
                assert_eq!((kind(&decision), decision.about.noise), (expected, true), "{request}");
                assert!(decision.about.limits.is_empty(), "an answer within the limit says nothing of it");
            }
            let decision = play(&policy, &mut facts, request, "203.0.113.1");
            let Outcome::Refuse(Refusal::RateLimited { limit, .. }) = &decision.outcome else { panic!("{request}") };
            assert_eq!((&**limit, decision.about.noise), ("noise", true));
            assert!(limit::headers(&decision.about.limits).iter().any(|(name, _)| *name == "retry-after"));
            assert_eq!(kind(&play(&policy, &mut facts, request, "203.0.113.2")), expected);
            // IPv6: the whole /64 is one client.
            for number in 0..100 {
                assert_eq!(kind(&play(&policy, &mut facts, request, &format!("2001:db8::{number:x}"))), expected);
            }
            assert_eq!(kind(&play(&policy, &mut facts, request, "2001:db8::ffff:1")), "rate_limited");
            // Who makes noise may still ask.
            let search = play(&policy, &mut facts, "path: /api/docs-search", "203.0.113.1");
            assert_eq!((kind(&search), search.about.noise), ("allowed", false));
        }
    }

    #[test]
    fn a_readable_refusal_stays_readable() {
        let policy = policy(DEV);
        let mut facts = WrittenFacts::default();
        let request = "path: /api/docs-search, method: PUT, origin: 'http://localhost:8000'";
        let cors = play(&policy, &mut facts, request, "203.0.113.1").about.cors;
        assert!(!cors.is_empty());
        for _ in 0..100 {
            play(&policy, &mut facts, request, "203.0.113.1");
        }
        let limited = play(&policy, &mut facts, request, "203.0.113.1");
        assert_eq!((kind(&limited), limited.about.cors), ("rate_limited", cors));
    }

    #[test]
    fn shadow_mode_records_and_leaves_the_refusal_as_it_is() {
        let policy = policy(&DEV.replace("kind: Policy", "kind: Policy\nmode: shadow"));
        let mut facts = WrittenFacts::default();
        for _ in 0..100 {
            play(&policy, &mut facts, "path: /nowhere", "203.0.113.1");
        }
        let decision = play(&policy, &mut facts, "path: /nowhere", "203.0.113.1");
        assert_eq!(kind(&decision), "no_route");
        assert!(matches!(decision.about.shadowed, Some(Refusal::RateLimited { .. })));
    }

    /// By the route that was found, not by one of the same name: a wrong method on a shadow route is only recorded.
    #[test]
    fn noise_on_a_shadow_route_is_only_recorded() {
        let policy = policy(&DEV.replace("  - name: search\n", "  - name: search\n    shadow: true\n"));
        let mut facts = WrittenFacts::default();
        let mut ask = |path: &str| play(&policy, &mut facts, &format!("path: {path}, method: PUT"), "203.0.113.1");
        for _ in 0..100 {
            assert!(ask("/api/docs-search").about.shadowed.is_none());
        }
        let recorded = ask("/api/docs-search");
        assert_eq!(kind(&recorded), "method_not_allowed");
        assert!(matches!(recorded.about.shadowed, Some(Refusal::RateLimited { .. })));
        assert_eq!(kind(&ask("/api/docs-chat")), "rate_limited", "another route is not in shadow mode");
    }

    #[test]
    fn the_policy_sets_the_rate_and_cannot_name_another_limit_like_it() {
        let policy = policy(&format!("{DEV}limiter: {{noise_rate: 6/min}}\n"));
        let mut facts = WrittenFacts::default();
        assert_eq!(kind(&play(&policy, &mut facts, "path: /nowhere", "203.0.113.1")), "no_route");
        assert_eq!(kind(&play(&policy, &mut facts, "path: /nowhere", "203.0.113.1")), "rate_limited");
        let file = PolicyText { name: "p".into(), text: DEV.replace("  flood-net:", "  noise:") };
        let found = render(&compile(&[file], &Overrides::default()).unwrap_err());
        assert!(found.contains("`noise` is the limit of `limiter.noise_rate`"), "{found}");
    }

    /// What is too malformed to be read has no address but its peer's; without one, all share one budget.
    #[test]
    fn what_cannot_be_read_is_charged_to_its_peer() {
        let policy = policy(DEV);
        let facts = WrittenFacts::default();
        for peer in [Some("203.0.113.1"), None] {
            let headers = vec![("x-forwarded-for", "198.51.100.1".as_bytes()); 300];
            let raw = RawRequest {
                method: "GET",
                host: "h",
                path: "/",
                headers,
                peer: peer.map(|peer| peer.parse().unwrap()),
                ..RawRequest::default()
            };
            let view = RequestView::read(&raw);
            let ask = || immediately(decide(&policy, &view, &facts, Timestamp::from_seconds(1))).unwrap();
            for _ in 0..100 {
                assert_eq!(kind(&ask()), "headers_too_large");
            }
            assert_eq!(kind(&ask()), "rate_limited");
        }
    }

    /// A route that only counts callers refuses a bad token before it counts anybody.
    #[test]
    fn a_refusal_on_a_route_that_counted_nobody_is_charged_too() {
        let policy = policy(
            &DEV.replace("limits: [flood, flood-net, caller]", "limits: [caller]")
                .replace("limits: [flood, flood-net]", "limits: []")
                .replace("  flood:", "  # flood:")
                .replace("  flood-net:", "  # flood-net:"),
        );
        let scene = "request: {path: /api/docs-search}\ntoken: {subject: ada, fault: bad_signature}\n";
        let scene = cases::parse_scene(&PolicyText { name: "scene".into(), text: scene.into() }).unwrap();
        let mut facts = WrittenFacts::default();
        let mut ask = || cases::play(&policy, &scene, &mut facts, Timestamp::from_seconds(1)).unwrap().decision;
        for _ in 0..100 {
            assert_eq!(kind(&ask()), "invalid_token");
        }
        assert_eq!(kind(&ask()), "rate_limited");
    }
}
