//! One spelling of a path: what is decided on is what the backend gets.

use crate::backend::Backend;
use crate::gate::{Gate, Wanted};
use crate::wire;

#[test]
fn tricks_with_the_path_reach_no_other_route() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let edge = gate.stack.envoy.listen;
    let refused = [
        "/echo/%2e%2e%2fadmin",
        "/echo%2f..%2fadmin",
        "/echo/..%2f..%2fadmin",
        "/echo/%5c..%5cadmin",
        "/echo/..;/admin",
        "/echo/%00",
        "/echo/../admin",
        "/echo/./../../admin",
        "/admin/../echo/../admin",
        "//admin",
        "/echoes",
        "/ECHO",
        "*",
        "http://evil.example/admin",
        "/echo/%252e%252e/admin",
    ];
    for target in refused {
        let (status, text) = wire::get(edge, target, &[]);
        assert!([400, 403, 404].contains(&status), "{target}: {text}");
    }
    assert!(backend.received().is_empty(), "{:?}", backend.received());
    for (target, forwarded) in [
        ("/echo/a", "/echo/a"),
        ("//echo//b", "/echo/b"),
        ("/x/../echo/c", "/echo/c"),
        ("/echo/d?q=%2f", "/echo/d?q=%2f"),
    ] {
        let (status, text) = wire::get(edge, target, &[]);
        assert_eq!(status, 200, "{target}: {text}");
        let line = backend.received().pop().unwrap().line;
        assert_eq!(line, format!("GET {forwarded} HTTP/1.1"), "{target}");
    }
}

#[test]
fn oversized_and_malformed_requests_end_at_the_edge() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let edge = gate.stack.envoy.listen;
    let large = format!("x-large: {}", "a".repeat(40 * 1024));
    assert_eq!(wire::get(edge, "/echo", &[&large]).0, 431);
    let many: Vec<String> = (0..300).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(wire::get(edge, "/echo", &many).0, 431);
    assert_eq!(wire::send(edge, b"GET /echo HTTP/1.1\r\nconnection: close\r\n\r\n").0, 400, "no host");
    assert_eq!(wire::send(edge, b"\x00\x01\x02\r\n\r\n").0, 400);
    let (status, text) = wire::get(edge, "/echo%2f", &[]);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("application/problem+json") && text.contains("urn:docsgate:problem:"), "{text}");
    assert!(backend.received().is_empty(), "{:?}", backend.received());
}
