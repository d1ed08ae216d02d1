//! What reaches the backend, and what a client cannot make it believe.

use crate::backend::Backend;
use crate::gate::{Gate, MEMBER, Wanted, client, header, ok};
use crate::wire;

/// Every internal header, and Envoy's own that change behaviour.
const FORGED: [&str; 8] = [
    "x-docsgate-corpus: member",
    "x-docsgate-member: admin",
    "x-docsgate-grant: forged",
    "X-Docsgate-Anything: forged",
    "x-envoy-original-path: /api/docs-search",
    "x-envoy-upstream-rq-timeout-ms: 1",
    "x-envoy-retry-on: 5xx",
    "x-envoy-external-address: 203.0.113.9",
];

#[test]
fn a_clients_internal_headers_do_not_survive() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let (status, text) = wire::get(gate.stack.envoy.listen, "/echo", &FORGED);
    assert_eq!(status, 200, "{text}");
    let received = backend.received().pop().unwrap();
    assert_eq!(received.all("x-docsgate-corpus"), ["public"], "{received:?}");
    assert_eq!(received.all("x-docsgate-grant").len(), 1, "{received:?}");
    assert_ne!(received.all("x-docsgate-grant"), ["forged"], "{received:?}");
    assert!(!received.headers.iter().any(|(name, _)| name.starts_with("x-envoy-")), "{received:?}");
    assert!(received.all("x-docsgate-anything").is_empty(), "{received:?}");
    assert!(!received.all("x-docsgate-member").contains(&"admin"), "{received:?}");
}

#[test]
fn a_header_with_an_underscore_is_refused() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let (status, text) = wire::get(gate.stack.envoy.listen, "/echo", &["x_docsgate_corpus: member"]);
    assert_eq!(status, 400, "{text}");
    assert!(backend.received().is_empty());
}

#[test]
fn credentials_stop_at_the_gate_and_members_are_pseudonyms() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let token = gate.member_token();
    let response =
        gate.http.get(gate.url("/echo")).bearer_auth(&token).header("cookie", "session=secret").send().unwrap();
    assert_eq!(response.status(), 200);
    let received = backend.received().pop().unwrap();
    assert!(received.all("authorization").is_empty() && received.all("cookie").is_empty(), "{received:?}");
    assert_eq!(received.all("x-docsgate-corpus"), ["member"], "{received:?}");
    let pseudonym = received.all("x-docsgate-member");
    assert_eq!(pseudonym.len(), 1, "{received:?}");
    assert!(!pseudonym[0].is_empty() && !pseudonym[0].contains(MEMBER), "{received:?}");
    for (name, value) in &received.headers {
        assert!(!value.contains(&token), "the token reached the backend in {name}");
    }
}

#[test]
fn the_request_id_is_ours_and_leads_to_the_decision() {
    let gate = Gate::start();
    let response = gate.search("tides").header("x-request-id", "chosen-by-the-client").send().unwrap();
    let id = header(&response, "x-request-id").to_owned();
    assert!(!id.is_empty() && id != "chosen-by-the-client", "{id}");
    ok(response);
    let line = gate.access_log_of(&id);
    assert_eq!(line["route"], "search", "{line:#}");
    assert_eq!(line["status"], 200, "{line:#}");
    assert!(line["policy_version"].as_str().is_some_and(|version| !version.is_empty()), "{line:#}");
    assert_eq!(line["path"], "/api/docs-search", "a question is personal data: {line:#}");

    let refused = gate.search("tides").bearer_auth("not.a.token").send().unwrap();
    let line = gate.access_log_of(header(&refused, "x-request-id"));
    assert_eq!((&line["route"], &line["reason"]), (&"search".into(), &"invalid_token".into()), "{line:#}");
}

#[test]
fn copilot_answers_nobody_without_a_grant() {
    let gate = Gate::start();
    let copilot = gate.stack.copilot.as_ref().unwrap().url();
    let search = format!("{copilot}/api/docs-search?q=tides");
    let bare = client().get(&search).send().unwrap();
    assert!([401, 403].contains(&bare.status().as_u16()), "{bare:?}");
    let forged = client()
        .get(&search)
        .header("x-docsgate-corpus", "member")
        .header("x-docsgate-member", "admin")
        .header("x-docsgate-grant", "eyJhbGciOiJub25lIn0.eyJjb3Jwb3JhIjpbIm1lbWJlciJdfQ.")
        .send()
        .unwrap();
    assert!([401, 403].contains(&forged.status().as_u16()), "{forged:?}");
    let text = forged.text().unwrap();
    assert!(!text.contains("lighthouse"), "{text}");
}
