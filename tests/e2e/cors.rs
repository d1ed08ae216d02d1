//! What a browser on another origin may do.

use reqwest::Method;
use reqwest::blocking::{RequestBuilder, Response};

use crate::backend::Backend;
use crate::gate::{Gate, ORIGIN, Wanted, header, ok, problem};

fn preflight(gate: &Gate, origin: &str, method: &str) -> RequestBuilder {
    gate.http
        .request(Method::OPTIONS, gate.url("/api/docs-chat"))
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type")
}

fn no_cors(response: &Response) {
    let names: Vec<_> = response.headers().keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_preflight_is_answered_at_the_gate() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let response = preflight(&gate, ORIGIN, "POST").send().unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
    assert_eq!(header(&response, "access-control-allow-credentials"), "true");
    assert_eq!(header(&response, "access-control-max-age"), "600");
    assert!(header(&response, "access-control-allow-methods").contains("POST"));
    assert!(header(&response, "access-control-allow-headers").to_lowercase().contains("authorization"));
    assert!(header(&response, "vary").to_lowercase().contains("origin"));
    assert!(response.bytes().unwrap().is_empty());
    assert!(backend.received().is_empty(), "the preflight reached the backend: {:?}", backend.received());
}

#[test]
fn an_origin_that_is_not_allowed_is_refused_without_cors_headers() {
    let gate = Gate::start();
    for origin in ["https://evil.example", "https://docs.example.org.evil.example", "http://docs.example.org", "null"] {
        let response = gate.search("tides").header("origin", origin).send().unwrap();
        no_cors(&response);
        problem(response, 403, "origin_not_allowed");
        let response = preflight(&gate, origin, "POST").send().unwrap();
        no_cors(&response);
        assert_eq!(response.status(), 403, "{origin}");
    }
}

#[test]
fn answers_and_refusals_can_be_read_by_an_allowed_origin() {
    let gate = Gate::start();
    let nobody = gate.token("nobody");
    gate.look_up(&nobody);
    for origin in [ORIGIN, "https://pr-7.preview.example.org"] {
        let with_origin = |request: RequestBuilder| request.header("origin", origin).send().unwrap();
        let check = |response: &Response| {
            assert_eq!(header(response, "access-control-allow-origin"), origin);
            assert!(header(response, "access-control-expose-headers").contains("x-request-id"));
        };
        let answer = with_origin(gate.search("tides"));
        check(&answer);
        ok(answer);
        let refused = with_origin(gate.search("tides").bearer_auth("not.a.token"));
        check(&refused);
        problem(refused, 401, "invalid_token");
        let refused = with_origin(gate.search("tides").header("x-only", "members").bearer_auth(&nobody));
        check(&refused);
        problem(refused, 403, "insufficient_entitlement");
        let refused = with_origin(gate.http.delete(gate.url("/api/docs-search")));
        check(&refused);
        problem(refused, 405, "method_not_allowed");
        let unknown = with_origin(gate.http.get(gate.url("/elsewhere")));
        no_cors(&unknown);
        problem(unknown, 404, "no_route");
    }
}

#[test]
fn the_upstreams_own_cors_headers_never_leak() {
    let backend = Backend::start(&[
        "access-control-allow-origin: *",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: x-secret",
        "Access-Control-Allow-Methods: DELETE",
    ]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let response = gate.http.get(gate.url("/echo")).header("origin", ORIGIN).send().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
    assert_eq!(header(&response, "access-control-allow-methods"), "");
    assert!(!header(&response, "access-control-expose-headers").contains("x-secret"));
    let response = gate.http.get(gate.url("/echo")).send().unwrap();
    assert_eq!(response.status(), 200);
    no_cors(&response);
}
