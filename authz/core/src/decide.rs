//! The decision: one function, read as the numbered steps of the design.

mod caller;
mod noise;

use std::sync::Arc;

use crate::{
    client_ip::client_ip,
    corpus::{self, RouteCorpus},
    cors::{self, CorsVerdict, Origin, Preflight},
    decision::{About, Allow, Decision, Outcome, Refusal, Trace, TraceStep, Undecided},
    facts::Facts,
    identity::Identity,
    limit::{self, LimitRule, Stage, Subject},
    policy::{OnStoreDown, Snapshot},
    request::{Malformed, RequestView, is_token_byte},
    route::{Route, RouteMatch},
    time::Timestamp,
};
use caller::{Caller, Known};

/// Decides on one request. Deterministic given the policy, the request, the facts and the time.
pub async fn decide<F: Facts>(
    policy: &Snapshot,
    request: &Result<RequestView, Malformed>,
    facts: &F,
    now: Timestamp,
) -> Decision {
    let mut evaluation = Evaluation::new(policy, facts, now);
    let outcome = evaluation.outcome(request).await;
    Decision { outcome, about: evaluation.about }
}

/// Decides as [`decide`] does, and tells the steps.
pub async fn decide_in_steps<F: Facts>(
    policy: &Snapshot,
    request: &Result<RequestView, Malformed>,
    facts: &F,
    now: Timestamp,
) -> (Decision, Vec<TraceStep>) {
    let mut evaluation = Evaluation { trace: Trace::recording(), ..Evaluation::new(policy, facts, now) };
    let outcome = evaluation.outcome(request).await;
    (Decision { outcome, about: evaluation.about }, evaluation.trace.into_steps())
}

/// One decision while it is made: what it is made with, and what is known so far.
struct Evaluation<'a, F> {
    policy: &'a Snapshot,
    facts: &'a F,
    now: Timestamp,
    about: About,
    trace: Trace,
}

impl<'a, F: Facts> Evaluation<'a, F> {
    fn new(policy: &'a Snapshot, facts: &'a F, now: Timestamp) -> Self {
        Self { policy, facts, now, about: About::new(Arc::clone(&policy.version)), trace: Trace::off() }
    }

    async fn outcome(&mut self, request: &Result<RequestView, Malformed>) -> Outcome {
        let outcome = match request {
            Ok(request) => self.steps(request).await,
            Err(malformed) => Err(Refusal::Malformed(malformed.fault.clone())),
        };
        match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                let refusal = self.charge_noise(request, refusal).await;
                self.trace.note("decision", || format!("refused with {}: {refusal}", refusal.status()));
                Outcome::Refuse(refusal)
            }
        }
    }

    /// Cheap refusals first; every early return is a refusal or the answer to a preflight.
    async fn steps(&mut self, request: &RequestView) -> Result<Outcome, Refusal> {
        // 1. The request is well formed: its type says so. 2. Route. A preflight belongs to the method that it asks for.
        let origin = origin(request)?;
        let route = self.route(request, origin.as_ref())?;

        // 3. CORS. From here on every answer carries the headers that let a browser read it.
        let cors = self.check_cors(route, request, origin.as_ref())?;

        // 4. The client's address. 5. Limits on addresses, before anything costs more.
        self.find_client_ip(request)?;
        let mut caller = Caller::anonymous();
        if request.is_preflight() {
            let rules = std::slice::from_ref(&self.policy.preflight_limit);
            let subject = Subject { cost: 1, ..self.subject(route, &caller) };
            self.charge(Stage::Preflight, rules, &subject).await?;
            return Ok(Outcome::Preflight);
        }
        self.charge(Stage::Flood, &route.flood_limits, &self.subject(route, &caller)).await?;
        if let Some(retry_after) = route.maintenance {
            return Err(Refusal::Maintenance { retry_after });
        }

        // 6. Who is calling. 7. What they may see, now.
        if route.depends_on_identity() {
            caller = self.identify(route, request, cors).await?;
        }

        // 8. Limits on callers. The corpora are computed first because a limit may count by corpus.
        caller.corpora = corpus::open_to(&self.policy.corpora, caller.entitlements(), self.now);
        self.charge(Stage::Caller, &route.caller_limits, &self.subject(route, &caller)).await?;

        // 9. The corpora that are opened. The only place where a request is allowed.
        let corpora = self.choose_corpora(route, caller)?;
        self.trace.note("decision", || format!("allowed, corpora [{}]", corpora.join(", ")));
        Ok(Outcome::Allow(Allow::new(corpora)))
    }

    fn route(&mut self, request: &RequestView, origin: Option<&Origin>) -> Result<&'a Route, Refusal> {
        let method = if request.is_preflight() { requested_method(request)? } else { request.method.as_str() };
        match self.policy.router.find(request, method) {
            RouteMatch::Matched(route) => {
                self.trace.note("route", || format!("{method} {} belongs to route `{}`", request.path, route.name));
                self.about.route = Some(Arc::clone(route));
                Ok(route)
            }
            RouteMatch::WrongMethod { allowed, nearest } => {
                self.trace.note("route", || {
                    format!("{} is route `{}`, which does not take {method}", request.path, nearest.name)
                });
                self.about.route = Some(Arc::clone(nearest));
                if let (Some(profile), Some(origin)) = (&nearest.cors, origin)
                    && profile.check(origin) != CorsVerdict::Refused
                {
                    self.about.cors = profile.response_headers(origin);
                }
                Err(Refusal::WrongMethod { allowed })
            }
            RouteMatch::NotFound => {
                self.trace.note("route", || format!("no route takes {} on host {}", request.path, request.host));
                Err(Refusal::NoRoute)
            }
        }
    }

    fn check_cors(
        &mut self,
        route: &Route,
        request: &RequestView,
        origin: Option<&Origin>,
    ) -> Result<CorsVerdict, Refusal> {
        let (Some(origin), Some(profile)) = (origin, &route.cors) else {
            self.trace.note("cors", || match (origin, &route.cors) {
                (None, Some(profile)) => format!("no Origin header; profile `{}` has nothing to check", profile.name),
                _ => "the route has no CORS profile".into(),
            });
            if route.cors.is_some() {
                self.about.cors = cors::vary_only();
            }
            if origin.is_none() && route.require_origin {
                return self.refuse_or_shadow(Refusal::OriginRequired).map(|()| CorsVerdict::NotCors);
            }
            // A cross-origin script has no business on a route without a profile, and its preflight must say so.
            return if request.is_preflight() { Err(Refusal::OriginRefused) } else { Ok(CorsVerdict::NotCors) };
        };
        let verdict = profile.check(origin);
        self.trace.note("cors", || format!("origin {origin} against profile `{}`: {verdict:?}", profile.name));
        if verdict == CorsVerdict::Refused {
            // Another origin gets another answer; caches must know.
            self.about.cors = cors::vary_only();
            // A refused preflight stays refused in shadow mode too: a browser would not send the request anyway.
            if request.is_preflight() {
                return Err(Refusal::OriginRefused);
            }
            return self.refuse_or_shadow(Refusal::OriginRefused).map(|()| CorsVerdict::Refused);
        }
        self.about.cors = if request.is_preflight() {
            profile.preflight_headers(origin, &preflight(request)?)
        } else {
            profile.response_headers(origin)
        };
        Ok(verdict)
    }

    fn find_client_ip(&mut self, request: &RequestView) -> Result<(), Refusal> {
        let client = client_ip(&self.policy.client_ip, request);
        self.about.client_ip = client;
        self.trace.note("client_ip", || {
            client.map_or("unknown".into(), |ip| format!("{} counts as {}", ip.address, ip.client()))
        });
        if client.is_some_and(|ip| self.policy.client_ip.denies(&ip)) {
            return self.refuse_or_shadow(Refusal::AddressRefused);
        }
        Ok(())
    }

    /// What a request to this route is charged for.
    fn subject<'s>(&self, route: &'s Route, caller: &'s Caller) -> Subject<'s> {
        Subject {
            ip: self.about.client_ip,
            identity: &caller.identity,
            plan: caller.plan(),
            route: &route.name,
            corpus: caller.corpora.first().map(AsRef::as_ref),
            cost: route.cost,
        }
    }

    /// Charges the limits of one stage: all of them, or none when one does not fit.
    async fn charge(&mut self, stage: Stage, rules: &[Arc<LimitRule>], subject: &Subject<'_>) -> Result<(), Refusal> {
        let charges = limit::charges(rules, subject);
        if charges.is_empty() {
            return Ok(());
        }
        let outcome = self.facts.charge(stage, &charges, self.now).await;
        self.trace.note("limits", || {
            let states = outcome.states.iter().map(|state| {
                format!(
                    "{} {} ({} left)",
                    state.name,
                    if state.fits { "fits" } else { "does not fit" },
                    state.remaining
                )
            });
            format!("{stage:?}: {}", states.collect::<Vec<_>>().join("; "))
        });
        if outcome.undecidable {
            return Err(Refusal::Undecidable(Undecided::Limits));
        }
        let refused = outcome
            .refusing()
            .map(|state| Refusal::RateLimited { limit: Arc::clone(&state.name), retry_after: state.retry_after });
        self.about.limits.extend(outcome.states);
        refused.map_or(Ok(()), |refusal| self.refuse_or_shadow(refusal))
    }

    /// A corpus that needs an entitlement is opened by an entitlement in force, and by nothing else: shadow mode included.
    fn choose_corpora(&mut self, route: &Route, caller: Caller) -> Result<Vec<Arc<str>>, Refusal> {
        let known = !matches!(caller.known, Known::Nothing);
        match &route.corpus {
            RouteCorpus::None => Ok(Vec::new()),
            RouteCorpus::Auto => {
                if !known {
                    if self.policy.entitlements.on_store_down == OnStoreDown::Unavailable {
                        return Err(Refusal::Undecidable(Undecided::Entitlements));
                    }
                    self.trace.note("corpus", || "entitlements are not known: public corpora only".into());
                }
                Ok(caller.corpora)
            }
            RouteCorpus::Only(corpus) => match (&corpus.entitlement, &caller.identity) {
                (None, _) => Ok(vec![Arc::clone(&corpus.name)]),
                (Some(_), _) if !known => Err(Refusal::Undecidable(Undecided::Entitlements)),
                (Some(_), _) if caller.corpora.contains(&corpus.name) => Ok(vec![Arc::clone(&corpus.name)]),
                (Some(_), Identity::Anonymous) => Err(Refusal::IdentityRequired),
                (Some(entitlement), Identity::Member(_) | Identity::ApiKey(_)) => {
                    Err(Refusal::MissingEntitlement { entitlement: entitlement.clone() })
                }
            },
        }
    }

    /// Refuses, unless the route or the whole policy only shadows and the refusal is one that may be: then it is noted.
    fn refuse_or_shadow(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if self.shadows() && refusal.may_be_shadowed() {
            self.about.shadowed.get_or_insert(refusal);
            return Ok(());
        }
        Err(refusal)
    }

    /// Whether refusals are only recorded.
    fn shadows(&self) -> bool {
        self.policy.shadow || self.about.route.as_ref().is_some_and(|route| route.shadow)
    }
}

/// The request's origin. Repeated or malformed values are refused: which one counts must never be a guess.
fn origin(request: &RequestView) -> Result<Option<Origin>, Refusal> {
    match request.single("origin") {
        Ok(None) => Ok(None),
        Ok(Some(value)) => Origin::parse(value).map(Some).map_err(|_| Refusal::MalformedOrigin),
        Err(_) => Err(Refusal::MalformedOrigin),
    }
}

/// The method that a preflight asks for.
fn requested_method(request: &RequestView) -> Result<&str, Refusal> {
    let method = request.single("access-control-request-method").map_err(|_| Refusal::MalformedPreflight)?;
    method
        .filter(|method| !method.is_empty() && method.len() <= 32 && method.bytes().all(is_token_byte))
        .ok_or(Refusal::MalformedPreflight)
}

/// What a preflight asks for.
fn preflight(request: &RequestView) -> Result<Preflight<'_>, Refusal> {
    let header = |name| request.single(name).map_err(|_| Refusal::MalformedPreflight);
    let headers = header("access-control-request-headers")?.filter(|headers| !headers.is_empty());
    if headers.is_some_and(|headers| !cors::is_header_list(headers)) {
        return Err(Refusal::MalformedPreflight);
    }
    let private_network = header("access-control-request-private-network")? == Some("true");
    Ok(Preflight { method: requested_method(request)?, headers, private_network })
}

#[cfg(test)]
mod tests;
