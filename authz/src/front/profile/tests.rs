use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect_append()
}

trait CollectAppend {
    fn collect_append(self) -> HeaderMap;
}

impl<I: Iterator<Item = (header::HeaderName, HeaderValue)>> CollectAppend for I {
    fn collect_append(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in self {
            map.append(name, value);
        }
        map
    }
}

const FRESH: &str = "the gate's own";

fn original(
    profile: Profile,
    target: &'static str,
    lines: &[(&'static str, &str)],
) -> Result<RawRequest<'static>, RequestFault> {
    // Requests borrow their call; those of a test may stay for as long as it runs.
    let (uri, headers) = Box::leak(Box::new((Uri::from_static(target), headers(lines))));
    profile.original(Call { method: &Method::GET, uri, headers }, FRESH)
}

fn header_of<'a>(original: &RawRequest<'a>, name: &str) -> Option<&'a [u8]> {
    original.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// What each profile believes, and everything with which a client could try to be somebody or somewhere else.
const NGINX: [(&str, &str); 4] = [
    ("x-original-method", "POST"),
    ("x-original-url", "https://docs.example.org:8443/api/docs-chat?q=%2F"),
    ("x-real-ip", "192.0.2.7"),
    ("x-request-id", "1f2e"),
];
const FORWARDED: [(&str, &str); 4] = [
    ("x-forwarded-method", "POST"),
    ("x-forwarded-uri", "/api/docs-chat?q=%2F"),
    ("x-forwarded-host", "docs.example.org:8443"),
    ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
];

#[test]
fn each_profile_believes_its_own_headers_and_no_others() {
    for (profile, own, others) in [
        (Profile::Nginx, NGINX.as_slice(), FORWARDED.as_slice()),
        (Profile::Traefik, FORWARDED.as_slice(), NGINX.as_slice()),
        (Profile::Caddy, FORWARDED.as_slice(), NGINX.as_slice()),
    ] {
        let forged: Vec<(&'static str, &str)> = others
            .iter()
            .filter(|(name, _)| !["x-forwarded-for", "x-request-id"].contains(name))
            .map(|(name, _)| (*name, "https://evil.example/healthz"))
            .collect();
        let asked = original(profile, "/check", &[own, &forged].concat()).unwrap();
        assert_eq!((asked.method, asked.host, asked.path), ("POST", "docs.example.org:8443", "/api/docs-chat?q=%2F"));
        assert_eq!(asked.peer, Some("192.0.2.7".parse().unwrap()), "{profile:?}");
        assert!(own.iter().all(|(name, _)| *name == "x-forwarded-for" || header_of(&asked, name).is_none()));
        let fault = original(profile, "/check", others).unwrap_err();
        assert!(matches!(fault, RequestFault::Undescribed(_)), "{profile:?}: {fault}");
        for missing in own.iter().filter(|(name, _)| *name != "x-forwarded-for") {
            let rest: Vec<_> = own.iter().copied().filter(|line| line != missing).collect();
            assert_eq!(original(profile, "/check", &rest).unwrap_err(), RequestFault::Undescribed(missing.0));
            let twice = [own, &[*missing]].concat();
            assert_eq!(original(profile, "/check", &twice).unwrap_err(), RequestFault::Undescribed(missing.0));
        }
    }
}

#[test]
fn the_proxys_own_entry_is_the_peer_and_no_part_of_the_chain() {
    for (sent, chain) in [
        ("198.51.100.1, 192.0.2.7", "198.51.100.1"),
        ("192.0.2.7", ""),
        ("192.0.2.7, 192.0.2.7", "192.0.2.7"),
        ("a, b,[2001:db8::1]:9, 192.0.2.7", "a, b,[2001:db8::1]:9"),
    ] {
        let lines = [&FORWARDED[..3], &[("x-forwarded-for", sent)]].concat();
        let asked = original(Profile::Traefik, "/check", &lines).unwrap();
        assert_eq!(asked.peer, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(header_of(&asked, "x-forwarded-for"), Some(chain.as_bytes()), "{sent}");
    }
    // nginx wrote none of these: the chain stays.
    let asked = original(Profile::Nginx, "/check", &[&NGINX[..], &[("x-forwarded-for", "198.51.100.1")]].concat());
    assert_eq!(header_of(&asked.unwrap(), "x-forwarded-for"), Some(b"198.51.100.1".as_slice()));
}

#[test]
fn ids_are_the_gates_own_where_the_proxy_makes_none() {
    let id = ("x-request-id", "1f2e");
    for profile in [Profile::Traefik, Profile::Caddy] {
        let asked = original(profile, "/check", &[FORWARDED.as_slice(), &[id]].concat()).unwrap();
        assert_eq!((asked.id, header_of(&asked, "x-request-id")), (FRESH, None));
        assert_eq!(profile.response(reply(403), asked.id).headers["x-request-id"], asked.id);
    }
    assert_eq!(original(Profile::Nginx, "/check", &NGINX).unwrap().id, "1f2e");
    let lines = [("host", "docs.example.org"), ("x-docsgate-peer", "192.0.2.7"), id];
    let asked = original(Profile::Envoy, "/a?b", &lines).unwrap();
    assert_eq!((asked.id, asked.host, asked.path), ("1f2e", "docs.example.org", "/a?b"));
    assert_eq!((asked.peer, header_of(&asked, "x-docsgate-peer")), (Some("192.0.2.7".parse().unwrap()), None));
    let fault = original(Profile::Envoy, "/a?b", &[lines[0], id]).unwrap_err();
    assert_eq!(fault, RequestFault::Undescribed("x-docsgate-peer"));
}

fn reply(status: u16) -> Answer {
    Answer::Reply(Reply {
        status,
        headers: vec![("vary", "origin".into())],
        body: "{\"title\":\"é 😀\"}".into(),
        grpc_code: 7,
        metadata: vec![("policy_version", "abc".into())],
    })
}

#[test]
fn no_reply_is_a_yes_to_any_proxy() {
    for status in [200, 204, 400, 401, 403, 404, 405, 414, 429, 431, 503] {
        for (profile, yes) in [
            (Profile::Nginx, 200..300),
            (Profile::Traefik, 200..300),
            (Profile::Caddy, 200..300),
            (Profile::Envoy, 200..201),
        ] {
            if profile == Profile::Envoy && status == 200 {
                continue; // The gate has no such reply.
            }
            let response = profile.response(reply(status), "id");
            assert!(!yes.contains(&response.status.as_u16()), "{profile:?} {status}");
            if profile == Profile::Nginx {
                assert!([401, 403].contains(&response.status.as_u16()), "nginx makes 500 of others");
                assert_eq!(response.headers[STATUS_HEADER], status.to_string());
                assert_eq!(response.headers[PROBLEM_HEADER], r#"{"title":"\u00e9 \ud83d\ude00"}"#);
                assert_eq!(response.headers["x-docsgate-meta-policy-version"], "abc");
            }
            assert_eq!(response.headers["vary"], "origin");
        }
    }
}

#[test]
fn a_yes_carries_the_grant_and_tells_envoy_what_to_remove() {
    let forward = || {
        Answer::Forward(Forward {
            set: vec![("x-docsgate-grant", "g".into())],
            remove: vec!["cookie", "x-docsgate-member"],
            response: vec![],
            metadata: vec![],
        })
    };
    let response = Profile::Envoy.response(forward(), "id");
    assert_eq!(
        (response.status, &response.headers["x-docsgate-grant"]),
        (StatusCode::OK, &HeaderValue::from_static("g"))
    );
    assert_eq!(response.headers[ENVOY_REMOVES], "cookie,x-docsgate-member");
    assert!(!response.headers.contains_key("x-request-id"));
    assert_eq!(Profile::Caddy.response(forward(), "id").headers["x-request-id"], "id");
}

proptest! {
    #[test]
    fn whatever_a_proxy_sends_is_described_or_refused(
        lines in prop::collection::vec((0_usize..9, "[ -~]{0,40}"), 0..12),
        nth in 0_usize..4,
    ) {
        const NAMES: [&str; 9] = [
            "x-original-method", "x-original-url", "x-real-ip", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host",
            "x-forwarded-for", "host", "x-request-id",
        ];
        let profile = [Profile::Nginx, Profile::Traefik, Profile::Caddy, Profile::Envoy][nth];
        let lines: Vec<(&'static str, &str)> = lines.iter().map(|(name, value)| (NAMES[*name], value.as_str())).collect();
        if let Ok(asked) = original(profile, "/check", &lines) {
            prop_assert!(asked.id.is_ascii() && asked.host.is_ascii());
        }
    }
}
