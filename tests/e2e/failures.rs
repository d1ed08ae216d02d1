//! What happens when a part is gone: an error or less, never more.

use docsgate_harness::authz::Authz;

use crate::gate::{Gate, eventually, ok, problem};

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
