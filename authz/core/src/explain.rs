//! What would have made a request pass.

use crate::{
    corpus::RouteCorpus,
    decision::{Decision, Outcome, Refusal, Undecided},
    identity::{TokenFault, TokenSource},
    policy::{Snapshot, diagnostic::did_you_mean},
    request::RequestView,
    route::{PathMatch, Route},
};

/// What would have made the request pass, or opened more; `None` when there is nothing to add.
pub fn remedy(policy: &Snapshot, request: Option<&RequestView>, decision: &Decision) -> Option<String> {
    let route = decision.about.route.as_deref();
    match &decision.outcome {
        Outcome::Refuse(refusal) => Some(refused(policy, request, decision, refusal)),
        Outcome::Preflight => None,
        Outcome::Allow(allow) => {
            let closed: Vec<_> = policy
                .corpora
                .iter()
                .filter(|corpus| corpus.entitlement.is_some() && !allow.corpora().contains(&corpus.name))
                .filter_map(|corpus| {
                    Some(format!("`{}` (entitlement `{}`)", corpus.name, corpus.entitlement.as_ref()?))
                })
                .collect();
            let route = route.filter(|route| route.corpus == RouteCorpus::Auto)?;
            if closed.is_empty() {
                return None;
            }
            let missing = match decision.about.facts.member() {
                Some(member) => format!("member {} has no entitlement in force for it", member.subject),
                None => format!("no token counted; send one {}", sources(route)),
            };
            Some(format!("also open with more: {}; {missing}", closed.join(", ")))
        }
    }
}

fn refused(policy: &Snapshot, request: Option<&RequestView>, decision: &Decision, refusal: &Refusal) -> String {
    let route = decision.about.route.as_deref();
    let profile = route.and_then(|route| route.cors.as_ref());
    let origin = request.and_then(|request| request.single("origin").ok().flatten()).unwrap_or("the origin");
    match refusal {
        Refusal::NoRoute => {
            let path = request.map_or("", |request| request.path.as_str());
            let paths: Vec<String> = policy.router.routes().iter().map(|route| path_of(&route.matcher.path)).collect();
            let nearest = did_you_mean(path, paths.iter().map(String::as_str));
            let nearest = nearest.map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("add a route that takes {path}{nearest}; routes also ask for hosts, headers and query parameters")
        }
        Refusal::WrongMethod { allowed } => {
            format!("use one of {}, or add the method to the route", allowed.join(", "))
        }
        Refusal::OriginRequired => "send an Origin header, or remove `require_origin` from the route".to_owned(),
        Refusal::OriginRefused => match profile {
            Some(profile) => format!("add `{origin}` to `cors.{}.allow_origins`", profile.name),
            None => "give the route a CORS profile: it has none, so no script of another site may call it".to_owned(),
        },
        Refusal::AddressRefused => "remove the network from `client_ip.deny`".to_owned(),
        Refusal::Maintenance { .. } => "remove `maintenance` from the route".to_owned(),
        Refusal::RateLimited { limit, retry_after } => {
            let state = decision.about.limits.iter().find(|state| state.name == *limit);
            let quota = state.map_or_else(String::new, |state| format!(" (now {})", state.allowance));
            let plan = decision.about.plan.as_deref();
            let tier = plan.map_or_else(String::new, |plan| format!(" or of its tier `{plan}`"));
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            format!(
                "wait {seconds} s, or raise `rate` or `burst` of `limits.{limit}`{quota}{tier}, or exempt the caller"
            )
        }
        Refusal::TwoIdentities => "send either the token or the API key".to_owned(),
        Refusal::InvalidToken(fault) => token(route, *fault),
        Refusal::InvalidApiKey => {
            "check the key with `authz api-key list`; make a new one with `authz api-key create`".to_owned()
        }
        Refusal::IdentityRequired => {
            let from = route.map_or_else(String::new, sources);
            format!("send a token {from}; a cookie counts only with an allowed Origin or a same-site fetch")
        }
        Refusal::MissingEntitlement { entitlement } => match decision.about.facts.member() {
            Some(member) => {
                format!("authz member grant --issuer {} --feature {entitlement} {}", member.issuer, member.subject)
            }
            None => format!("give the API key's holder the entitlement `{entitlement}`"),
        },
        Refusal::Undecidable(what) => match what {
            Undecided::Keys => {
                "make the issuer's JWKS reachable; see /readyz and the metrics of the key fetches".to_owned()
            }
            Undecided::Entitlements => "bring the database back, or raise `entitlements.max_stale`".to_owned(),
            Undecided::Limits => "give the gate more time (`--deadline-ms`) or less to do".to_owned(),
            Undecided::Grant => "check the grant key file".to_owned(),
            Undecided::Answer => {
                "look in the policy for a header value with a line break or letters outside ASCII".to_owned()
            }
        },
        Refusal::Malformed(_) | Refusal::MalformedOrigin | Refusal::MalformedPreflight => refusal.detail(),
    }
}

fn token(route: Option<&Route>, fault: TokenFault) -> String {
    let issuers = || {
        let accepted = route.into_iter().flat_map(|route| &route.issuers);
        accepted
            .map(|issuer| format!("{} (audiences {})", issuer.issuer, issuer.audiences.join(", ")))
            .collect::<Vec<_>>()
            .join("; ")
    };
    match fault {
        TokenFault::Expired => "sign in again: the token has expired".to_owned(),
        TokenFault::NotYetValid => "correct the clocks of issuer and gate, or raise `leeway`".to_owned(),
        TokenFault::LivesTooLong => "issue shorter tokens, or raise `max_lifetime`".to_owned(),
        TokenFault::Audience | TokenFault::UnknownIssuer => format!("use a token of {}", issuers()),
        TokenFault::WrongSource => "send the token where its issuer's `token_from` says".to_owned(),
        TokenFault::UnknownKey | TokenFault::NoKeys => {
            "publish the signing key in the issuer's JWKS and see that the gate can fetch it".to_owned()
        }
        TokenFault::Revoked => "sign in again: this token was revoked".to_owned(),
        _ => format!("send a well-formed token of {}; `authz token inspect` says what is wrong with one", issuers()),
    }
}

/// Where tokens of the route's issuers may be sent.
fn sources(route: &Route) -> String {
    let places: Vec<String> = route
        .issuers
        .iter()
        .flat_map(|issuer| {
            issuer.token_from.iter().map(|source| match source {
                TokenSource::Header(name) => format!("of {} in the header {name}", issuer.issuer),
                TokenSource::Cookie(name) => format!("of {} in the cookie {name}", issuer.issuer),
            })
        })
        .collect();
    if places.is_empty() { "of an issuer (the route accepts none)".to_owned() } else { places.join(" or ") }
}

fn path_of(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Prefix(segments) => format!("/{}", segments.join("/")),
        PathMatch::Template(segments) => {
            let segments = segments.iter().map(|segment| segment.as_deref().unwrap_or("{}"));
            format!("/{}", segments.collect::<Vec<_>>().join("/"))
        }
    }
}
