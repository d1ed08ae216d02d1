//! `Check` messages as Envoy sends them and as nobody should: each gets a decision, in bounded time and memory.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::{
    config::core::v3::{Address, HeaderMap, HeaderValue, Metadata, SocketAddress, address},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest, Peer, Request},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
};
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};

use crate::backend::Backend;
use crate::gate::{Gate, ORIGIN, Wanted};

async fn channel(gate: &Gate) -> Channel {
    let uri = format!("unix:{}", gate.stack.authz.socket.display());
    Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
}

/// Plain `http` attributes.
fn http(method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    HttpRequest {
        id: "check-1".into(),
        method: method.into(),
        host: "docs.example.org".into(),
        path: path.into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..HttpRequest::default()
    }
}

fn check(http: HttpRequest) -> CheckRequest {
    let peer = SocketAddress { address: "192.0.2.9".into(), ..SocketAddress::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: Some(Address { address: Some(address::Address::SocketAddress(peer)) }),
                ..Peer::default()
            }),
            request: Some(Request { http: Some(http), ..Request::default() }),
            context_extensions: HashMap::from([("virtual_host".to_owned(), "docs".to_owned())]),
            metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
}

/// 200 for an allowed request, else the status of the refusal; and its body.
fn outcome(response: &CheckResponse) -> (i32, String) {
    match response.http_response.as_ref().expect("every answer says what to do") {
        HttpResponse::OkResponse(_) => (200, String::new()),
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(response.status.as_ref().unwrap().code, 0, "a refusal must not look like an allow");
            (denied.status.as_ref().unwrap().code, denied.body.clone())
        }
        HttpResponse::ErrorResponse(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_shape_of_a_check_gets_a_decision() {
    let gate = tokio::task::spawn_blocking(Gate::start).await.unwrap();
    let mut client = AuthorizationClient::new(channel(&gate).await);
    let raw = |lines: &[(&str, &[u8])]| HeaderMap {
        headers: lines
            .iter()
            .map(|(name, value)| HeaderValue {
                key: (*name).to_owned(),
                value: String::new(),
                raw_value: value.to_vec(),
            })
            .collect(),
    };
    let with_raw = |lines: &[(&str, &[u8])]| HttpRequest {
        header_map: Some(raw(lines)),
        headers: HashMap::new(),
        ..http("GET", "/api/docs-search?q=tides", &[])
    };
    let many: Vec<(String, String)> = (0..10_000).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let repeated: Vec<(&str, &[u8])> = vec![("x-repeated", b"v"); 10_000];
    let large = "v".repeat(100 * 1024);
    let cases: Vec<(&str, CheckRequest, i32)> = vec![
        ("an ordinary request", check(http("GET", "/api/docs-search?q=a", &[])), 200),
        ("HEAD where GET is taken", check(http("HEAD", "/api/docs-search?q=a", &[])), 200),
        ("raw headers", check(with_raw(&[("origin", ORIGIN.as_bytes())])), 200),
        ("raw headers that are not UTF-8", check(with_raw(&[("x-a", b"\xff\xfe")])), 200),
        ("an origin that is not UTF-8", check(with_raw(&[("origin", b"https://\xff")])), 400),
        ("two origins", check(with_raw(&[("origin", ORIGIN.as_bytes()), ("origin", b"https://b.example")])), 400),
        ("a joined origin", check(http("GET", "/api/docs-search?q=a", &[("origin", "https://a, https://b")])), 400),
        ("two credentials", check(with_raw(&[("authorization", b"Bearer a"), ("authorization", b"Bearer b")])), 400),
        ("no attributes", CheckRequest::default(), 400),
        ("no request", CheckRequest { attributes: Some(AttributeContext::default()) }, 400),
        (
            "no http",
            CheckRequest {
                attributes: Some(AttributeContext { request: Some(Request::default()), ..AttributeContext::default() }),
            },
            400,
        ),
        ("no method", check(http("", "/api/docs-search", &[])), 400),
        ("no path", check(http("GET", "", &[])), 400),
        ("no host", check(HttpRequest { host: String::new(), ..http("GET", "/api/docs-search", &[]) }), 400),
        ("CONNECT", check(http("CONNECT", "", &[])), 400),
        ("an absolute target", check(http("GET", "http://docs.example.org/api/docs-search", &[])), 400),
        ("OPTIONS *", check(http("OPTIONS", "*", &[])), 404),
        ("a fragment", check(http("GET", "/api/docs-search#x", &[])), 400),
        ("10,000 headers", check(http("GET", "/api/docs-search?q=a", &many)), 431),
        ("10,000 lines of one header", check(with_raw(&repeated)), 431),
        ("100 KiB in one header", check(http("GET", "/api/docs-search?q=a", &[("x-large", &large)])), 431),
        ("a path of 100 KiB", check(http("GET", &format!("/{large}"), &[])), 414),
        (
            "a source without an address",
            CheckRequest {
                attributes: Some(AttributeContext {
                    request: Some(Request {
                        http: Some(http("GET", "/api/docs-search?q=a", &[])),
                        ..Request::default()
                    }),
                    ..AttributeContext::default()
                }),
            },
            200,
        ),
    ];
    for (what, message, expected) in cases {
        let response = client.check(message).await.unwrap_or_else(|status| panic!("{what}: {status}"));
        let (status, body) = outcome(response.get_ref());
        assert_eq!(status, expected, "{what}: {body}");
        if status >= 400 {
            assert!(body.contains("urn:docsgate:problem:"), "{what}: {body}");
        }
    }
    drop_blocking(gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn health_and_reflection_are_served_beside_the_checks() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    const SERVICE: &str = "envoy.service.auth.v3.Authorization";
    let gate = tokio::task::spawn_blocking(Gate::start).await.unwrap();
    let channel = channel(&gate).await;
    let mut health = HealthClient::new(channel.clone());
    // Readiness is mirrored a moment after `/readyz` says yes.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = health.check(HealthCheckRequest { service: SERVICE.to_owned() }).await.unwrap();
        if answer.get_ref().status() == ServingStatus::Serving {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut reflection = ServerReflectionClient::new(channel);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asked = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(SERVICE.to_owned())),
    ]);
    let mut answers = reflection.server_reflection_info(asked).await.unwrap().into_inner();
    let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = next().await else { panic!("no list of services") };
    let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&SERVICE) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let MessageResponse::FileDescriptorResponse(file) = next().await else { panic!("no descriptor of {SERVICE}") };
    assert!(!file.file_descriptor_proto.is_empty());
    drop_blocking(gate).await;
}

/// A gate ends its processes synchronously and its HTTP client has a runtime of its own: neither may happen here.
async fn drop_blocking(gate: Gate) {
    tokio::task::spawn_blocking(move || drop(gate)).await.unwrap();
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let gate = Gate::start();
    let refused = gate.http.head(gate.url("/elsewhere")).send().unwrap();
    assert_eq!(refused.status(), 404);
    assert!(refused.headers().contains_key("x-request-id"));
    assert!(refused.bytes().unwrap().is_empty());
    let answer = gate.http.head(gate.url("/api/docs-search?q=tides")).send().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("ratelimit"));
    assert!(answer.bytes().unwrap().is_empty());
}

#[test]
fn what_is_not_a_request_for_this_site_goes_nowhere() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let edge = gate.stack.envoy.listen;
    for request in [
        "CONNECT backend.internal:443 HTTP/1.1\r\nhost: backend.internal:443\r\nconnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: docs.example.org\r\nconnection: close\r\n\r\n",
        "GET echo HTTP/1.1\r\nhost: docs.example.org\r\nconnection: close\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\nconnection: close\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: docs.example.org\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame",
    ] {
        let (status, text) = crate::wire::send(edge, request.as_bytes());
        assert!([0, 400, 403, 404, 405, 503].contains(&status), "{request:?}: {text}");
    }
    assert!(backend.received().is_empty(), "{:?}", backend.received());
    // An absolute target for this very site is an ordinary request, and reaches the route of its path.
    let (status, text) = crate::wire::send(
        edge,
        b"GET http://docs.example.org/echo/x HTTP/1.1\r\nhost: docs.example.org\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(status, 200, "{text}");
    assert_eq!(backend.received().pop().unwrap().line, "GET /echo/x HTTP/1.1");
}

/// Envoy itself closes after every 400, whoever answered it; after the other refusals it does not.
#[test]
fn a_refusal_leaves_the_connection_open() {
    use std::io::{Read as _, Write as _};
    let gate = Gate::start();
    let mut stream = std::net::TcpStream::connect(gate.stack.envoy.listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for path in ["/elsewhere", "/api/docs-chat", "/api/docs-search?q=tides", "/elsewhere", "/healthz"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: docs.example.org\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the connection was closed after {path}: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ").and_then(|length| length.parse::<usize>().ok()));
            if length.is_some_and(|length| body.len() >= length) || body.ends_with("0\r\n\r\n") {
                break;
            }
        }
        assert!(text.starts_with("HTTP/1.1 "), "{text}");
    }
}
