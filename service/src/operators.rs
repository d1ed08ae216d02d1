//! Two listeners beside the one that serves: the operators' one, which tells and changes everything and stays on loopback
//! unless told otherwise, and that for metrics and probes alone, which a whole cluster may reach.
//!
//! Loopback keeps other machines out, not the operator's own browser: a page may send requests to 127.0.0.1, and a name of
//! its owner's may lead there (DNS rebinding). Browsers say whose page it is (`Origin`) and which name was asked (`Host`);
//! [`listener`] refuses what is not the operator's own.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Operators' requests: a script in a loop must not take the time that answers need.
const CALLS: Quota = Quota::per_second(NonZeroU32::new(100).unwrap()).allow_burst(NonZeroU32::new(200).unwrap());

/// A status, and the last part of the problem's URN.
pub type ProblemType = (StatusCode, &'static str);

const NOT_FOUND: ProblemType = (StatusCode::NOT_FOUND, "not_found");
const FOREIGN_REQUEST: ProblemType = (StatusCode::FORBIDDEN, "foreign_request");
const RATE_LIMITED: ProblemType = (StatusCode::TOO_MANY_REQUESTS, "rate_limited");

/// What these listeners refuse with.
pub const PROBLEM_TYPES: [ProblemType; 3] = [NOT_FOUND, FOREIGN_REQUEST, RATE_LIMITED];

/// The operators' listener: `probes`, and `operators` for requests that come neither from a page nor by a foreign name.
/// `bound` is the address that the listener has.
pub fn listener(probes: Router, operators: Router, bound: SocketAddr) -> Router {
    metrics_listener(probes.merge(guarded(operators, bound, CALLS)))
}

fn guarded(operators: Router, bound: SocketAddr, calls: Quota) -> Router {
    // The last layer is asked first: what is foreign takes nothing of the operators' calls.
    operators
        .route_layer(middleware::from_fn_with_state(Arc::new(RateLimiter::direct(calls)), refuse_flood))
        .route_layer(middleware::from_fn_with_state(bound, refuse_foreign))
}

/// The listener for metrics and probes: `probes`, and 404 for everything else.
pub fn metrics_listener(probes: Router) -> Router {
    probes.fallback(not_found)
}

async fn not_found() -> Response {
    problem(NOT_FOUND, "Not found", "This listener has no such path.")
}

async fn refuse_foreign(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    match foreign(request.headers(), bound) {
        None => next.run(request).await,
        Some(detail) => problem(FOREIGN_REQUEST, "Not from an operator", detail),
    }
}

async fn refuse_flood(State(calls): State<Arc<DefaultDirectRateLimiter>>, request: Request, next: Next) -> Response {
    if calls.check().is_ok() {
        return next.run(request).await;
    }
    let detail = "This listener takes 100 requests a second. Metrics and probes are not counted.";
    let mut response = problem(RATE_LIMITED, "Too many requests", detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Why a request is not the operator's own, if it is not.
fn foreign(headers: &HeaderMap, bound: SocketAddr) -> Option<&'static str> {
    if headers.contains_key(header::ORIGIN) {
        return Some("Requests of web pages are refused here: send it without an Origin header.");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    let own = host.is_some_and(|host| is_own(host.host(), bound.ip()));
    (!own).then_some("Ask by the listener's own address: Host must be localhost, a loopback address or the bound one.")
}

/// A name can be pointed anywhere by whoever owns it; an address cannot.
fn is_own(host: &str, bound: IpAddr) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| {
        let address = address.to_canonical();
        address.is_loopback() || address == bound.to_canonical() || bound.is_unspecified()
    })
}

fn problem((status, kind): ProblemType, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": format!("urn:docsgate:problem:{kind}"), "title": title, "status": status.as_u16(), "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn status(router: Router, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    }

    fn routers() -> (Router, Router) {
        (Router::new().route("/metrics", get(|| async { "m" })), Router::new().route("/secrets", get(|| async { "s" })))
    }

    #[tokio::test]
    async fn only_an_address_of_the_listener_or_localhost_leads_to_what_operators_see() {
        let (loopback, pod, any) = ("127.0.0.1:9902", "10.1.2.3:9902", "0.0.0.0:9902");
        let cases = [
            (loopback, "127.0.0.1:9902", 200),
            (loopback, "127.0.0.1:40001", 200),
            (loopback, "localhost:9902", 200),
            (loopback, "LOCALHOST", 200),
            (loopback, "[::1]:9902", 200),
            (loopback, "[::ffff:127.0.0.1]:9902", 200),
            (loopback, "10.1.2.3:9902", 403),
            (loopback, "evil.example:9902", 403),
            (loopback, "localhost.evil.example:9902", 403),
            (loopback, "127.0.0.1.nip.io:9902", 403),
            (loopback, "127.0.0.1@evil.example", 403),
            (loopback, "0x7f000001", 403),
            (loopback, "", 403),
            (pod, "10.1.2.3:9902", 200),
            (pod, "10.1.2.4:9902", 403),
            (pod, "docs-gate.docs.svc", 403),
            (any, "10.1.2.3:9902", 200),
            (any, "docs-gate.docs.svc", 403),
        ];
        for (bound, host, wanted) in cases {
            let (probes, operators) = routers();
            let router = listener(probes, operators, bound.parse().unwrap());
            assert_eq!(status(router.clone(), "/secrets", &[("host", host)]).await, wanted, "{host} at {bound}");
            assert_eq!(status(router, "/metrics", &[("host", host)]).await, 200, "Prometheus may ask by any name");
        }
    }

    #[tokio::test]
    async fn a_page_a_second_host_and_none_are_refused() {
        let own = ("host", "127.0.0.1:9902");
        for origin in ["https://evil.example", "null", "http://127.0.0.1:9902"] {
            let (probes, operators) = routers();
            let router = listener(probes, operators, "127.0.0.1:9902".parse().unwrap());
            assert_eq!(status(router.clone(), "/secrets", &[own, ("origin", origin)]).await, 403, "{origin}");
            assert_eq!(status(router.clone(), "/secrets", &[own, ("host", "evil.example")]).await, 403);
            assert_eq!(status(router, "/secrets", &[]).await, 403);
        }
    }

    #[tokio::test]
    async fn a_flood_of_calls_is_refused_and_foreign_requests_take_none_of_them() {
        let calls = Quota::per_hour(NonZeroU32::MIN).allow_burst(NonZeroU32::new(3).unwrap());
        let (_, operators) = routers();
        let router = guarded(operators, "127.0.0.1:9902".parse().unwrap(), calls);
        for _ in 0..10 {
            assert_eq!(status(router.clone(), "/secrets", &[("host", "evil.example")]).await, 403);
        }
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(status(router.clone(), "/secrets", &[("host", "127.0.0.1:9902")]).await);
        }
        assert_eq!(answers, [200, 200, 200, 429]);
    }

    #[tokio::test]
    async fn the_metrics_listener_has_nothing_else() {
        let (probes, _) = routers();
        let router = metrics_listener(probes);
        assert_eq!(status(router.clone(), "/metrics", &[]).await, 200);
        let response = router.oneshot(Request::get("/secrets").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
