use proptest::prelude::*;

use super::*;

fn set(patterns: &[&str]) -> OriginSet {
    OriginSet::new(patterns.iter().map(|text| OriginPattern::parse(text).unwrap()), false)
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

#[test]
fn origins_have_one_serialised_form() {
    for (text, serialised) in [
        ("https://docs.example.org", "https://docs.example.org"),
        ("https://docs.example.org:443", "https://docs.example.org"),
        ("http://docs.example.org:80", "http://docs.example.org"),
        ("https://docs.example.org:8443", "https://docs.example.org:8443"),
        ("HTTPS://Docs.Example.ORG", "https://docs.example.org"),
        ("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("null", "null"),
    ] {
        assert_eq!(origin(text).to_string(), serialised);
    }
}

#[test]
fn what_is_not_one_origin_is_refused() {
    for text in [
        "",
        "docs.example.org",
        "https://",
        "https:///",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://u:p@a",
        "https://a b",
        "https://a, https://b",
        "https://a https://b",
        "https://a:",
        "https://a:99999",
        "https://a:x",
        "https://bücher.example",
        "file:///a",
        "ftp://a",
        "javascript://a",
        "NULL",
        "null, null",
        "https:\\\\a",
        "https:/a",
        "https:a://b",
        "https:docs.example.org://",
        "https:a",
        "https://a%2eb",
        "chrome-extension://abc",
        "https://[::1",
        "//a",
    ] {
        assert_eq!(Origin::parse(text), Err(OriginFault), "{text}");
    }
}

#[test]
fn exact_origins_compare_as_tuples() {
    let set =
        set(&["https://docs.example.org", "http://localhost:8000", "https://[::1]:8443", "https://bücher.example"]);
    for allowed in [
        "https://docs.example.org",
        "https://docs.example.org:443",
        "http://localhost:8000",
        "https://[0:0::1]:8443",
        "https://xn--bcher-kva.example",
    ] {
        assert!(set.allows(&origin(allowed)), "{allowed}");
    }
    for refused in [
        "http://docs.example.org",
        "https://docs.example.org:8443",
        "https://docs.example.org.evil.example",
        "https://evildocs.example.org",
        "https://a.docs.example.org",
        "https://docs.example.org.",
        "http://localhost",
        "null",
        "https://example.org",
    ] {
        assert!(!set.allows(&origin(refused)), "{refused}");
    }
}

#[test]
fn a_wildcard_stands_for_one_or_more_labels() {
    let set = set(&["https://*.example.org", "https://*.preview.example.net:8443"]);
    for allowed in ["https://a.example.org", "https://a.b.example.org", "https://x.preview.example.net:8443"] {
        assert!(set.allows(&origin(allowed)), "{allowed}");
    }
    for refused in [
        "https://example.org",
        "http://a.example.org",
        "https://aexample.org",
        "https://a.example.org:8443",
        "https://a.example.org.evil.example",
        "https://preview.example.net:8443",
        "https://x.preview.example.net",
        "https://.example.org",
    ] {
        assert!(!Origin::parse(refused).is_ok_and(|origin| set.allows(&origin)), "{refused}");
    }
}

#[test]
fn patterns_are_refused_with_what_was_expected() {
    for (text, part) in [
        ("example.org", "no scheme"),
        ("https://*", "leading labels"),
        ("https://a.*.example.org", "leading labels"),
        ("https://*example.org", "leading labels"),
        ("https://a/", "no path"),
        ("https://*.[::1]", "subdomains"),
        ("https://*.127.0.0.1", "subdomains"),
        ("ftp://a", "scheme"),
        ("https://", "no path"),
    ] {
        let error = OriginPattern::parse(text).unwrap_err();
        assert!(error.contains(part) && error.contains("expected"), "{text}: {error}");
    }
}

fn profile(origins: &[&str], credentials: bool, any: bool) -> CorsProfile {
    let names = |listed: &[&str]| {
        if any { Names::Any } else { Names::Listed(listed.iter().map(ToString::to_string).collect()) }
    };
    CorsProfile {
        name: "docs".into(),
        origins: set(origins),
        anonymous: OriginSet::default(),
        methods: names(&["GET", "POST"]),
        headers: names(&["authorization", "content-type"]),
        expose: vec!["x-request-id".into()],
        credentials,
        max_age: Some(Duration::from_secs(600)),
        private_network: true,
    }
}

fn render(lines: &[HeaderLine]) -> String {
    lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[test]
fn answers_to_an_allowed_origin() {
    let credentialed = profile(&["https://a.example"], true, false);
    insta::assert_snapshot!(render(&credentialed.response_headers(&origin("https://a.example"))), @r"
    access-control-allow-origin: https://a.example
    access-control-allow-credentials: true
    access-control-expose-headers: x-request-id
    vary: Origin
    ");
    insta::assert_snapshot!(render(&credentialed.preflight_headers(&origin("https://a.example"), &Preflight { method: "POST", headers: Some("x-other"), private_network: true })), @r"
    access-control-allow-origin: https://a.example
    access-control-allow-credentials: true
    access-control-allow-methods: GET, POST
    access-control-allow-headers: authorization, content-type
    access-control-max-age: 600
    access-control-expose-headers: x-request-id
    access-control-allow-private-network: true
    vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
    ");
}

#[test]
fn a_star_is_echoed_when_credentials_are_on() {
    let open = profile(&["*"], false, true);
    let headers = render(&open.preflight_headers(
        &origin("https://b.example"),
        &Preflight { method: "PUT", headers: Some("x-a, x-b"), private_network: false },
    ));
    assert!(headers.contains("allow-origin: *\n") && headers.contains("allow-methods: *\n"), "{headers}");
    let credentialed = profile(&["*"], true, true);
    let headers = render(&credentialed.preflight_headers(
        &origin("https://b.example"),
        &Preflight { method: "PUT", headers: Some("x-a, x-b"), private_network: false },
    ));
    assert!(headers.contains("allow-origin: https://b.example\n"), "{headers}");
    assert!(headers.contains("allow-methods: PUT\n") && headers.contains("allow-headers: x-a, x-b\n"), "{headers}");
    assert!(!headers.contains('*') && !headers.contains("private-network"), "{headers}");
}

#[test]
fn the_opaque_origin_is_allowed_only_when_said() {
    assert!(!set(&["https://a.example"]).allows(&Origin::Opaque));
    assert!(OriginSet::new([], true).allows(&Origin::Opaque));
    assert!(set(&["*"]).allows(&Origin::Opaque));
}

#[test]
fn only_header_names_are_echoed() {
    assert!(is_header_list("x-a, Content-Type"));
    for bad in ["", ",", "a b", "a:b", "a\r\nb", "é"] {
        assert!(!is_header_list(bad), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn serialising_is_idempotent(text in "(https?|HTTP|ftp)://[a-zA-Z0-9.\\[\\]:*%@/-]{0,30}") {
        if let Ok(once) = Origin::parse(&text) {
            prop_assert_eq!(Origin::parse(&once.to_string()), Ok(once));
        }
    }

    /// The oracle compares label by label.
    #[test]
    fn wildcards_agree_with_a_label_by_label_oracle(host in "[ab]{1,2}(\\.[ab]{1,2}){0,4}", suffix in "[ab]{1,2}(\\.[ab]{1,2}){0,2}") {
        let allowed = set(&[&format!("https://*.{suffix}")]).allows(&origin(&format!("https://{host}")));
        let (host, suffix): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), suffix.split('.').collect());
        prop_assert_eq!(allowed, host.len() > suffix.len() && host.ends_with(&suffix));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = (Origin::parse(&text), OriginPattern::parse(&text), is_header_list(&text));
    }
}

/// Another site that the operator trusts less: it reads what anybody may, and its cookies never count.
#[test]
fn an_anonymous_origin_gets_no_credentials() {
    let mut profile = profile(&["https://docs.example.org"], true, true);
    profile.anonymous = set(&["https://*.preview.example.org"]);
    let origin = |text: &str| Origin::parse(text).unwrap();
    let (docs, preview) = (origin("https://docs.example.org"), origin("https://pr-7.preview.example.org"));
    assert_eq!(profile.check(&docs), CorsVerdict::Allowed);
    assert_eq!(profile.check(&preview), CorsVerdict::AllowedAnonymously);
    let has = |lines: &[HeaderLine], name: &str| lines.iter().any(|(line, _)| *line == name);
    for (origin, credentials) in [(&docs, true), (&preview, false)] {
        for lines in [
            profile.response_headers(origin),
            profile.preflight_headers(origin, &Preflight { method: "GET", headers: None, private_network: false }),
        ] {
            assert!(has(&lines, "access-control-allow-origin"));
            assert_eq!(has(&lines, "access-control-allow-credentials"), credentials, "{origin}");
        }
    }
}
