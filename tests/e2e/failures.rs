//! What happens when a part is gone: an error or less, never more.

use docsgate_harness::authz::Authz;
use docsgate_harness::postgres::{self, Postgres};

use crate::gate::{Gate, MEMBER, Wanted, eventually, ok, problem};

#[test]
fn without_authz_nothing_passes() {
    let gate = Gate::start();
    let member = gate.member_token();
    ok(gate.search("tides").send().unwrap());
    gate.stack.authz.process.kill();
    for request in
        [gate.search("tides"), gate.search("zanzibar").bearer_auth(&member), gate.http.get(gate.url("/healthz"))]
    {
        problem(request.send().unwrap(), 503, "gateway_unavailable");
    }
}

#[test]
fn authz_comes_back_on_the_same_socket() {
    let mut gate = Gate::start();
    gate.stack.authz.process.kill();
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
    let answer = eventually("an answer", || gate.search("tides").send().ok().filter(|answer| answer.status() == 200));
    ok(answer);
}

#[test]
fn without_copilot_the_answer_is_an_error_that_a_browser_can_read() {
    let gate = Gate::start();
    gate.stack.copilot.as_ref().unwrap().process.kill();
    let response = gate.search("tides").header("origin", crate::gate::ORIGIN).send().unwrap();
    assert_eq!(crate::gate::header(&response, "access-control-allow-origin"), crate::gate::ORIGIN);
    problem(response, 503, "gateway_unavailable");
}

#[test]
fn postgres_down_at_start_public_works_and_members_follow_when_it_is_back() {
    let mut gate = Gate::with(Wanted { own_postgres: true, ..Wanted::default() });
    let token = gate.member_token();
    gate.stack.authz.process.kill();
    gate.stack.postgres.process.kill();

    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
    eventually("Envoy's connection to the new authz", || {
        gate.search("tides").send().ok().filter(|answer| answer.status() == 200)
    });
    let answer = ok(gate.search("zanzibar").bearer_auth(&token).send().unwrap());
    assert!(!answer.to_string().contains("pilots"), "{answer:#}");
    let closed = gate.search("zanzibar").header("x-only", "members").bearer_auth(&token).send().unwrap();
    problem(closed, 503, "undecidable");

    let folder = gate.folder.path().join("postgres");
    let back = Postgres::start(&postgres::Options { folder, durable: true, settings: Vec::new() }).unwrap();
    assert_eq!(back.port(), gate.stack.postgres.port(), "authz looks for it where it was");
    eventually("the member corpus", || {
        let answer = gate.search("zanzibar").bearer_auth(&token).send().ok()?;
        ok(answer).to_string().contains("pilots").then_some(())
    });
    drop(gate); // authz holds connections
}

#[test]
fn postgres_lost_later_is_not_felt_by_members_who_are_known() {
    let gate = Gate::with(Wanted { own_postgres: true, ..Wanted::default() });
    let token = gate.member_token();
    let ask = || ok(gate.search("zanzibar").bearer_auth(&token).send().unwrap()).to_string();
    eventually("the member corpus", || ask().contains("pilots").then_some(()));
    gate.stack.postgres.process.kill();
    for _ in 0..20 {
        assert!(ask().contains("pilots"));
    }
    let stranger = gate.token("stranger@example.org");
    let answer = ok(gate.search("zanzibar").bearer_auth(stranger).send().unwrap());
    assert!(!answer.to_string().contains("pilots"), "{answer:#}");
    assert_ne!(MEMBER, "stranger@example.org");
}
