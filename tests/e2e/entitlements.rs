//! Entitlements come and go, and so does the database that holds them.

use std::time::{Duration, Instant};

use docsgate_harness::authz::Authz;
use docsgate_harness::postgres::{self, Postgres};

use crate::backend::Backend;
use crate::gate::{Gate, MEMBER, Wanted, eventually, problem};

/// A gate in front of a backend that tells which corpus a request was allowed.
struct Observed {
    gate: Gate,
    backend: Backend,
}

impl Observed {
    fn start(own_postgres: bool) -> Self {
        let backend = Backend::start(&[]);
        let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), own_postgres, ..Wanted::default() });
        Self { gate, backend }
    }

    /// The corpus for the bearer of `token`; `None` when the request was refused.
    fn corpus(&self, token: &str) -> Option<String> {
        let answer = self.gate.http.get(self.gate.url("/echo")).bearer_auth(token).send().unwrap();
        (answer.status() == 200).then(|| self.backend.latest_corpus())
    }
}

/// Changes that the database told authz of.
const TOLD: &str = "docsgate_authz_member_invalidations_total";

#[test]
fn a_grant_and_its_revocation_are_told_and_felt() {
    let observed = Observed::start(false);
    let token = observed.gate.token(MEMBER);
    assert_eq!(observed.corpus(&token).as_deref(), Some("public"));
    for (action, expected) in [("grant", "member"), ("revoke", "public"), ("grant", "member")] {
        let told = observed.gate.metric(TOLD);
        observed.gate.stack.member(action, MEMBER).unwrap();
        eventually(action, || (observed.corpus(&token).as_deref() == Some(expected)).then_some(()));
        // It was not found by looking again: what is known of a member is believed for a minute. How soon it is felt is
        // measured by `bench/gate`.
        eventually("the change to be told", || (observed.gate.metric(TOLD) > told).then_some(()));
    }
}

#[test]
fn postgres_down_at_start_public_works_and_members_follow_when_it_is_back() {
    let mut observed = Observed::start(true);
    let token = observed.gate.member_token();
    observed.gate.stack.authz.process.kill();
    observed.gate.stack.postgres.process.kill();

    observed.gate.stack.authz = Authz::start(&observed.gate.stack.authz_options).unwrap();
    eventually("Envoy's connection to the new authz", || {
        observed.gate.http.get(observed.gate.url("/echo")).send().ok().filter(|answer| answer.status() == 200)
    });
    assert_eq!(observed.corpus(&token).as_deref(), Some("public"));
    let closed = observed.gate.search("buoys").header("x-only", "members").bearer_auth(&token).send().unwrap();
    problem(closed, 503, "undecidable");

    let folder = observed.gate.folder.path().join("postgres");
    let back = Postgres::start(&postgres::Options { folder, durable: true, settings: Vec::new() }).unwrap();
    assert_eq!(back.port(), observed.gate.stack.postgres.port(), "authz looks for it where it was");
    eventually("the member corpus", || (observed.corpus(&token).as_deref() == Some("member")).then_some(()));
    drop(observed); // authz holds connections
}

#[test]
fn postgres_lost_later_is_not_felt_by_members_who_are_known() {
    let observed = Observed::start(true);
    let token = observed.gate.member_token();
    eventually("the member corpus", || (observed.corpus(&token).as_deref() == Some("member")).then_some(()));
    observed.gate.stack.postgres.process.kill();
    for _ in 0..20 {
        assert_eq!(observed.corpus(&token).as_deref(), Some("member"));
    }
    // Nothing is known of this one, and nothing can be asked.
    let stranger = observed.gate.token("stranger@example.org");
    assert_eq!(observed.corpus(&stranger).as_deref(), Some("public"));
}

#[test]
fn whoever_keeps_reading_is_looked_up_ahead_of_time_and_never_waits() {
    let short = |text: &str| text.replace("entitlements: {ttl: 60s", "entitlements: {ttl: 5s");
    let gate = Gate::with(Wanted { policy: Some(short), ..Wanted::default() });
    let token = gate.member_token();
    let lookups = |result: &str| gate.metric(&format!("docsgate_authz_member_lookups_total{{result=\"{result}\"}}"));
    eventually("changes to be told", || (gate.metric("docsgate_authz_database_listening") == 1).then_some(()));
    let read = || problem_free(&gate.search("zanzibar").bearer_auth(&token).send().unwrap());
    read();
    let first = lookups("miss");
    assert!(first >= 1);
    // Longer than any entry of five seconds lives: it was read again, and nobody waited for that. Only whoever reads without a
    // pause is looked up ahead of time, so a pause of this machine's begins the count anew.
    let (mut began, mut last, mut before) = (Instant::now(), Instant::now(), first);
    eventually("the life of an entry to pass without a pause", || {
        read();
        if last.elapsed() > Duration::from_millis(400) {
            (began, before) = (Instant::now(), lookups("miss"));
        }
        last = Instant::now();
        (began.elapsed() > Duration::from_secs(7)).then_some(())
    });
    assert_eq!(lookups("miss"), before, "a request waited for the database");
    assert!(lookups("hit") > 50);
}

fn problem_free(answer: &reqwest::blocking::Response) {
    assert_eq!(answer.status(), 200, "{answer:?}");
}
