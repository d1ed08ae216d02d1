//! CORS as the Gateway API defines it for `HTTPRoute`: the origins, methods and expectations of its conformance test
//! `HTTPRouteCORS`, driven through the real Envoy. Where that test allows several answers, so does this one.

use reqwest::Method;
use reqwest::blocking::Response;

use crate::backend::Backend;
use crate::gate::{Gate, Wanted, header};

/// The routes of the conformance test, in the words of a policy.
const POLICY: &str = r#"
apiVersion: docsgate/v1
kind: Policy
client_ip: {trusted_hops: 0}
cors:
  listed:
    allow_origins: ["https://www.foo.com", "https://*.bar.com"]
    allow_methods: [GET, OPTIONS]
    allow_headers: [x-header-1, x-header-2]
    expose_headers: [x-header-3, x-header-4]
    allow_credentials: true
    max_age: 1h
  any-method: {allow_origins: ["https://www.foo.com"], allow_methods: ["*"]}
  any-origin: {allow_origins: ["*"], allow_methods: [PUT]}
  anything: {allow_origins: ["*"], allow_methods: ["*"], allow_headers: ["*"], allow_credentials: true}
  anything-unauth: {allow_origins: ["*"], allow_methods: ["*"], allow_headers: ["*"]}
corpora: {public: {}}
limits: {flood: {key: client_ip, rate: 60000/min, burst: 10000}}
routes:
  - {name: listed, match: {prefix: /cors-1}, cors: listed, corpus: public, limits: [flood]}
  - {name: any-method, match: {prefix: /cors-2}, cors: any-method, corpus: public, limits: [flood]}
  - {name: any-origin, match: {prefix: /cors-wildcard-origin}, cors: any-origin, corpus: public, limits: [flood]}
  - {name: anything, match: {prefix: /cors-wildcard-methods-headers}, cors: anything, corpus: public, limits: [flood]}
  - {name: anything-unauth, match: {prefix: /cors-wildcard-methods-headers-unauth}, cors: anything-unauth, corpus: public, limits: [flood]}
"#;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const EXPOSE: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";
const CREDENTIALS: &str = "access-control-allow-credentials";

/// One request and what its answer must say.
struct Case {
    what: &'static str,
    path: &'static str,
    method: Method,
    origin: &'static str,
    /// `Access-Control-Request-Method` and `Access-Control-Request-Headers`.
    asks: (&'static str, &'static str),
    /// Any of these.
    status: &'static [u16],
    /// A header and the values of which it must have one; an empty list means that it must be absent.
    expects: &'static [(&'static str, &'static [&'static str])],
}

const PREFLIGHT: Case = Case {
    what: "",
    path: "/cors-1",
    method: Method::OPTIONS,
    origin: "",
    asks: ("GET", "x-header-1, x-header-2"),
    status: &[200, 204],
    expects: &[],
};

const SIMPLE: Case = Case { method: Method::GET, asks: ("", ""), status: &[200], ..PREFLIGHT };

/// What the route with everything listed says to an allowed preflight, besides the origin.
macro_rules! listed {
    ($origin:literal) => {
        &[
            (ALLOW_ORIGIN, &[$origin]),
            (ALLOW_METHODS, &["GET,OPTIONS", "OPTIONS,GET"]),
            (ALLOW_HEADERS, &["x-header-1,x-header-2", "x-header-2,x-header-1"]),
            (EXPOSE, &["x-header-3,x-header-4", "x-header-4,x-header-3"]),
            (MAX_AGE, &["3600"]),
            (CREDENTIALS, &["true"]),
        ]
    };
}

const CASES: &[Case] = &[
    Case {
        what: "a preflight from an origin that is listed as it is",
        origin: "https://www.foo.com",
        expects: listed!("https://www.foo.com"),
        ..PREFLIGHT
    },
    Case {
        what: "a preflight from an origin that a wildcard covers",
        origin: "https://www.bar.com",
        expects: listed!("https://www.bar.com"),
        ..PREFLIGHT
    },
    Case {
        what: "a wildcard stands for several labels",
        origin: "https://xpto.www.bar.com",
        expects: listed!("https://xpto.www.bar.com"),
        ..PREFLIGHT
    },
    Case {
        what: "a preflight from another origin",
        origin: "https://foobar.com",
        asks: ("GET", ""),
        status: &[200, 204, 403],
        expects: &[(ALLOW_ORIGIN, &[])],
        ..PREFLIGHT
    },
    Case {
        what: "a request from an origin that is listed as it is",
        origin: "https://www.foo.com",
        expects: &[(ALLOW_ORIGIN, &["https://www.foo.com"])],
        ..SIMPLE
    },
    Case {
        what: "a request that carries the headers of a preflight without being one",
        origin: "https://www.bar.com",
        asks: ("GET", "x-header-1, x-header-2"),
        expects: &[(ALLOW_ORIGIN, &["https://www.bar.com"])],
        ..SIMPLE
    },
    Case {
        what: "a request from another origin",
        origin: "https://foobar.com",
        // The Gateway API leaves open whether the request goes on; this gate refuses it.
        status: &[403],
        expects: &[(ALLOW_ORIGIN, &[])],
        ..SIMPLE
    },
    Case {
        what: "every method, without credentials",
        path: "/cors-2",
        origin: "https://www.foo.com",
        asks: ("POST", ""),
        expects: &[(ALLOW_METHODS, &["POST", "*"]), (ALLOW_ORIGIN, &["https://www.foo.com"]), (CREDENTIALS, &[])],
        ..PREFLIGHT
    },
    Case {
        what: "a preflight where every origin is allowed",
        path: "/cors-wildcard-origin",
        origin: "https://foobar.com",
        asks: ("PUT", ""),
        expects: &[(ALLOW_ORIGIN, &["https://foobar.com", "*"]), (ALLOW_METHODS, &["PUT"]), (CREDENTIALS, &[])],
        ..PREFLIGHT
    },
    Case {
        what: "a preflight with a port where every origin is allowed",
        path: "/cors-wildcard-origin",
        origin: "https://foobar.com:12345",
        asks: ("PUT", ""),
        expects: &[(ALLOW_ORIGIN, &["https://foobar.com:12345", "*"]), (ALLOW_METHODS, &["PUT"]), (CREDENTIALS, &[])],
        ..PREFLIGHT
    },
    Case {
        what: "a request with a port where every origin is allowed",
        path: "/cors-wildcard-origin",
        method: Method::PUT,
        origin: "https://foobar.com:12345",
        expects: &[(ALLOW_ORIGIN, &["https://foobar.com:12345", "*"])],
        ..SIMPLE
    },
    Case {
        what: "a request where every origin is allowed",
        path: "/cors-wildcard-origin",
        method: Method::PUT,
        origin: "https://foobar.com",
        expects: &[(ALLOW_ORIGIN, &["https://foobar.com", "*"]), (CREDENTIALS, &[])],
        ..SIMPLE
    },
    Case {
        what: "with credentials nothing is a literal wildcard",
        path: "/cors-wildcard-methods-headers",
        origin: "https://other.foo.com",
        asks: ("PUT", "x-header-1, x-header-2"),
        expects: &[
            (ALLOW_ORIGIN, &["https://other.foo.com"]),
            (ALLOW_METHODS, &["PUT"]),
            (ALLOW_HEADERS, &["x-header-1,x-header-2", "x-header-2,x-header-1"]),
            (CREDENTIALS, &["true"]),
        ],
        ..PREFLIGHT
    },
    Case {
        what: "without credentials they are not mentioned",
        path: "/cors-wildcard-methods-headers-unauth",
        origin: "https://other.foo.com",
        asks: ("PUT", "x-header-1, x-header-2"),
        expects: &[
            (ALLOW_ORIGIN, &["https://other.foo.com", "*"]),
            (ALLOW_METHODS, &["PUT", "*"]),
            (ALLOW_HEADERS, &["x-header-1,x-header-2", "x-header-2,x-header-1", "*"]),
            (CREDENTIALS, &[]),
        ],
        ..PREFLIGHT
    },
    Case {
        what: "a request with credentials gets its origin back",
        path: "/cors-wildcard-methods-headers",
        origin: "https://other.foo.com",
        expects: &[(ALLOW_ORIGIN, &["https://other.foo.com"]), (CREDENTIALS, &["true"])],
        ..SIMPLE
    },
    Case {
        what: "a request with credentials where they are not allowed",
        path: "/cors-wildcard-methods-headers-unauth",
        origin: "https://other.foo.com",
        expects: &[(ALLOW_ORIGIN, &["https://other.foo.com", "*"]), (CREDENTIALS, &[])],
        ..SIMPLE
    },
];

fn send(gate: &Gate, case: &Case) -> Response {
    let mut request = gate.http.request(case.method.clone(), gate.url(case.path)).header("origin", case.origin);
    for (name, value) in
        [("access-control-request-method", case.asks.0), ("access-control-request-headers", case.asks.1)]
    {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    if case.what.contains("with credentials") && case.method == Method::GET {
        request = request.header("authorization", "Bearer test");
    }
    request.send().unwrap()
}

#[test]
fn cors_answers_are_those_of_the_gateway_api() {
    let backend = Backend::start(&[]);
    let wanted =
        Wanted { backend: Some(backend.address.clone()), policy_text: Some(POLICY.to_owned()), ..Wanted::default() };
    let gate = Gate::with(wanted);
    let mut wrong = Vec::new();
    for case in CASES {
        let response = send(&gate, case);
        let status = response.status().as_u16();
        if !case.status.contains(&status) {
            wrong.push(format!("{}: status {status}, expected one of {:?}", case.what, case.status));
        }
        for (name, values) in case.expects {
            let value = header(&response, name).replace(' ', "");
            let fits = if values.is_empty() { value.is_empty() } else { values.contains(&value.as_str()) };
            if !fits {
                wrong.push(format!("{}: {name}: `{value}`, expected one of {values:?}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let reached = backend.received().iter().filter(|received| received.line.starts_with("OPTIONS")).count();
    assert_eq!(reached, 0, "preflights end at the gate");
}
