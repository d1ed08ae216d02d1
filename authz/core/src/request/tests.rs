use proptest::prelude::*;

use super::*;

fn view<'a>(method: &'a str, path: &'a str, headers: &[(&'a str, &'a str)]) -> Result<RequestView, RequestFault> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    RequestView::parse(&RawRequest { id: "r", method, host: "docs.example.org:8443", path, headers, peer: None })
}

#[test]
fn an_ordinary_request_is_taken_apart() {
    let view = view("GET", "/api/docs-search?q=a%20b", &[("Origin", " https://a.example ")]).unwrap();
    assert_eq!((view.host.as_str(), view.path.as_str()), ("docs.example.org", "/api/docs-search"));
    assert_eq!(view.query.as_deref(), Some("q=a%20b"));
    assert_eq!(view.single("origin").unwrap(), Some("https://a.example"));
}

#[test]
fn ambiguous_paths_are_refused_by_kind() {
    use PathFault::*;
    for (path, fault) in [
        ("", NotAbsolute),
        ("api", NotAbsolute),
        ("http://docs.example.org/", NotAbsolute),
        ("/a//b", EmptySegment),
        ("//", EmptySegment),
        ("/a/./b", DotSegment),
        ("/a/..", DotSegment),
        ("/a/%2e%2E/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a%2fb", EncodedDelimiter),
        ("/a%5cb", EncodedDelimiter),
        ("/a%00", EncodedDelimiter),
        ("/a%252fb", EncodedDelimiter),
        ("/a%23", EncodedDelimiter),
        ("/a;x=1/b", Parameters),
        ("/..;/a", Parameters),
        ("/a%3bx", Parameters),
        ("/a\\b", Character),
        ("/a#b", Character),
        ("/a b", Character),
        ("/a\u{e9}", Character),
        ("/a%zz", Encoding),
        ("/a%4", Encoding),
        ("/a%ff", Encoding),
    ] {
        assert_eq!(NormalPath::parse(path), Err(fault), "{path}");
    }
}

#[test]
fn harmless_spellings_become_one() {
    for (path, normal) in [
        ("/", "/"),
        ("/docs/", "/docs/"),
        ("/api/docs%2Dsearch", "/api/docs-search"),
        ("/%61pi", "/api"),
        ("/caf%C3%A9", "/café"),
        ("/a..b/...", "/a..b/..."),
        ("*", "*"),
    ] {
        assert_eq!(NormalPath::parse(path).unwrap().as_str(), normal, "{path}");
    }
}

#[test]
fn hosts_lose_port_and_case_and_nothing_else_passes() {
    for (authority, host) in [
        ("Docs.Example.org", Some("docs.example.org")),
        ("docs.example.org:443", Some("docs.example.org")),
        ("[::1]:8080", Some("[::1]")),
        ("[2001:DB8::1]", Some("[2001:db8::1]")),
        ("127.0.0.1:8080", Some("127.0.0.1")),
        ("", None),
        (":80", None),
        ("a:b", None),
        ("a:99999", None),
        ("user@host", None),
        ("a/b", None),
        ("[::1", None),
        ("[nonsense]", None),
        ("a b", None),
    ] {
        assert_eq!(parse_host(authority).as_deref(), host, "{authority}");
    }
}

#[test]
fn bounds_come_first() {
    let many: Vec<(&str, &[u8])> = vec![("a", b"b"); 10_000];
    let raw = RawRequest { method: "GET", host: "h", path: "/", headers: many, ..RawRequest::default() };
    assert_eq!(RequestView::parse(&raw).unwrap_err(), RequestFault::HeadersTooLarge);
    let large = vec![b'x'; 100 * 1024];
    let raw = RawRequest { method: "GET", host: "h", path: "/", headers: vec![("a", &large)], ..RawRequest::default() };
    assert_eq!(RequestView::parse(&raw).unwrap_err(), RequestFault::HeadersTooLarge);
    let long = format!("/{}", "a".repeat(MAX_TARGET_BYTES));
    assert_eq!(view("GET", &long, &[]).unwrap_err(), RequestFault::TargetTooLong);
    assert_eq!(view("GE T", "/", &[]).unwrap_err(), RequestFault::Method);
}

#[test]
fn a_repeated_or_binary_header_is_never_guessed() {
    let view = view("GET", "/", &[("origin", "https://a"), ("Origin", "https://b"), ("x-api-key", "a\u{0}b")]).unwrap();
    let fault = |name| match view.single(name).unwrap_err() {
        RequestFault::Header { fault, .. } => fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault("origin"), HeaderFault::Repeated);
    assert_eq!(fault("x-api-key"), HeaderFault::Bytes);
}

#[test]
fn cookies_are_found_across_lines_and_never_twice() {
    let cookie = |lines: &[&str], name: &str| {
        let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("cookie", line.as_bytes())).collect();
        Headers::new(&headers).cookie(name).map(|value| value.map(str::to_owned))
    };
    assert_eq!(cookie(&["a=1; b=2"], "b"), Ok(Some("2".to_owned())));
    assert_eq!(cookie(&["a=1", "b=\"2\""], "b"), Ok(Some("2".to_owned())));
    assert_eq!(cookie(&["ab=1"], "b"), Ok(None));
    assert_eq!(cookie(&["b=1; b=2"], "b"), Err(HeaderFault::Repeated));
    assert_eq!(cookie(&["b=1", "b=2"], "b"), Err(HeaderFault::Repeated));
    assert_eq!(cookie(&["b=\u{e9}"], "b"), Err(HeaderFault::Bytes));
}

#[test]
fn a_preflight_needs_all_three_signs() {
    let is = |method, headers: &[(&'static str, &'static str)]| view(method, "/", headers).unwrap().is_preflight();
    assert!(is("OPTIONS", &[("origin", "x"), ("access-control-request-method", "GET")]));
    assert!(!is("OPTIONS", &[("origin", "x")]));
    assert!(!is("OPTIONS", &[("access-control-request-method", "GET")]));
    assert!(!is("GET", &[("origin", "x"), ("access-control-request-method", "GET")]));
}

proptest! {
    /// A normal path, encoded again as a path, is the same path: normalising twice changes nothing.
    #[test]
    fn normalising_twice_changes_nothing(raw in "/[ -~]{0,40}|/([a-z.%0-9/;]{0,20})") {
        if let Ok(once) = NormalPath::parse(&raw) {
            let again: String = once.as_str().bytes().map(|b| {
                if b.is_ascii_alphanumeric() || b"/-._~*".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }
            }).collect();
            prop_assert_eq!(NormalPath::parse(&again), Ok(once));
        }
    }

    /// Whatever is accepted resolves to itself under RFC 3986's remove_dot_segments, and stays at the same depth.
    #[test]
    fn an_accepted_path_is_what_a_url_parser_sees(raw in "/[a-zA-Z.%0-9/;\\\\-]{0,30}") {
        if NormalPath::parse(&raw).is_ok() {
            let url = url::Url::parse(&format!("http://h{raw}")).unwrap();
            prop_assert_eq!(url.path(), raw.as_str());
        }
    }

    #[test]
    fn any_bytes_give_a_decision(method in "\\PC{0,40}", host in "\\PC{0,40}", path in "\\PC{0,60}", name in "\\PC{0,10}", value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let raw = RawRequest { id: &host, method: &method, host: &host, path: &path, headers: vec![(&name, &value), ("cookie", &value)], peer: None };
        if let Ok(view) = RequestView::parse(&raw) {
            let _ = (view.is_preflight(), view.is_grpc(), view.single("cookie"), view.headers.cookie("a"));
        }
    }
}
