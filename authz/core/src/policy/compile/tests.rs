use super::*;
use crate::policy::diagnostic::render;

fn files(texts: &[&str]) -> Vec<PolicyText> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| PolicyText { name: format!("p{index}.yaml"), text: (*text).to_owned() })
        .collect()
}

fn refused(texts: &[&str]) -> String {
    render(&compile(&files(texts), &Overrides::default()).map(|compiled| compiled.warnings).unwrap_err())
}

const DEV: &str = include_str!("../../../../../policies/dev/policy.yaml");

#[test]
fn the_dev_policy_compiles_without_a_warning() {
    let compiled = compile(&files(&[DEV]), &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found)));
    assert_eq!(render(&compiled.warnings), "");
    let snapshot = compiled.snapshot;
    assert_eq!(snapshot.version.len(), 12);
    let chat = snapshot.router.routes().iter().find(|route| &*route.name == "chat").unwrap();
    assert_eq!((chat.flood_limits.len(), chat.caller_limits.len(), chat.cost), (2, 1, 5));
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    insta::assert_snapshot!(refused(&["apiVersion: docsgate/v1
kind: Policy
cors:
  docs:
    allow_origin: [https://a.example]
    allow_origins: [https://a.example/path, 7]
    max_age: 600
limits:
  caller: {key: client, rate: 60/fortnight, burst: 0}
routes:
  - {name: chat, match: {path: /a}, corpus: auto, cors: doc, limits: [caler]}
"]), @r"
    p0.yaml:5:5: error: unknown field `allow_origin` in `docs`
    5 |     allow_origin: [https://a.example]
      |     ^
      = help: did you mean `allow_origins`?

    p0.yaml:6:45: error: an item of `allow_origins` is a whole number; expected text
    6 |     allow_origins: [https://a.example/path, 7]
      |                                             ^
      = help: put it into quotation marks

    p0.yaml:7:14: error: `max_age` is a whole number; expected text
    7 |     max_age: 600
      |              ^
      = help: put it into quotation marks

    p0.yaml:9:17: error: `key` is `client`; expected one of `client_ip`, `ip_prefix`, `member`, `api_key`, `caller`, `route`, `corpus`
    9 |   caller: {key: client, rate: 60/fortnight, burst: 0}
      |                 ^
      = help: did you mean `client_ip`?
    ");
}

#[test]
fn meanings_are_checked_once_the_form_is_right() {
    insta::assert_snapshot!(refused(&["apiVersion: docsgate/v1
kind: Policy
cors:
  docs: {allow_origins: ['https://a.example/path', 'https://*', ftp://b], allow_methods: [get it]}
issuers:
  learn: {issuer: https://l, audiences: [], algorithms: [EdDSA], jwks_url: https://l/k, jwks_file: /k}
corpora: {member: {entitlement: academy}}
limits:
  caller: {key: caller, rate: 60/fortnight}
  small: {key: client_ip, rate: 0/min, burst: 2}
routes:
  - {name: chat, match: {path: /a/../b}, corpus: auto, cors: doc, limits: [caler, small], cost: 5}
  - {name: chat, match: {path: /a, prefix: /b}, corpus: members}
  - {name: Bad Name, match: {template: '/a/{x'}, allow: anyone, corpus: auto}
client_ip: {trusted_hops: 1, trusted_proxies: [10.0.0.0/8, nonsense]}
"]));
}

#[test]
fn texts_that_are_not_yaml_name_the_place() {
    for (text, expected) in [
        ("", "p0.yaml:1:1: error: the policy is empty"),
        ("a: [1, 2", "p0.yaml:"),
        ("a: 1\na: 2\n", "p0.yaml:2:1: error: `a` appears twice; the first time in line 1, column 1"),
        ("a: &x 1\nb: *x\n", "error: anchors and aliases are not supported"),
        ("a: !!str 1\n", "error: tags are not supported"),
        ("a: 1\n---\nb: 2\n", "a second document in one file"),
        ("a: \0", "the file is binary"),
        ("a:\n\tb: 1\n", "p0.yaml:2:"),
    ] {
        let found = refused(&[text]);
        assert!(found.contains(expected), "{text:?}:\n{found}");
    }
    let deep = format!("a: {}{}", "[".repeat(60), "]".repeat(60));
    assert!(refused(&[&deep]).contains("nested deeper"));
    assert!(refused(&[&"a".repeat(yaml::MAX_FILE_BYTES + 1)]).contains("at most"));
}

#[test]
fn files_unite_and_never_override() {
    let (first, second) = DEV.split_once("\nlimits:").unwrap();
    let second = format!("apiVersion: docsgate/v1\nkind: Policy\nlimits:{second}");
    assert!(compile(&files(&[first, &second]), &Overrides::default()).is_ok());
    let found = refused(&[DEV, "limits:\n  flood: {key: client_ip, rate: 1/s}\n"]);
    assert!(found.contains("p1.yaml:2:3: error: `flood` is already defined in p0.yaml:"), "{found}");
    let found = refused(&[DEV, "mode: shadow\nclient_ip: {trusted_hops: 2}\n"]);
    assert!(found.contains("`trusted_hops` is already defined in p0.yaml:"), "{found}");
}

#[test]
fn the_environment_adds_only_where_the_policy_permits() {
    let overrides =
        Overrides { allow_origins: Some("https://extra.example; https://*.x.example".into()), trusted_proxies: None };
    let allows = |text: &str| {
        let snapshot = compile(&files(&[text]), &overrides).unwrap().snapshot;
        let origin = crate::cors::Origin::parse("https://extra.example").unwrap();
        snapshot.cors.iter().any(|profile| profile.origins.allows(&origin))
    };
    assert!(!allows(DEV));
    assert!(allows(&DEV.replace("kind: Policy", "kind: Policy\nallow_env_overrides: true")));
}

#[test]
fn a_version_stands_for_all_that_decides_and_for_nothing_else() {
    let of = |files: &[PolicyText], overrides: &Overrides| compile(files, overrides).unwrap().snapshot.version;
    let named = |name: &str, text: &str| PolicyText { name: name.to_owned(), text: text.to_owned() };
    let extra = Overrides { allow_origins: Some("https://extra.example".into()), trusted_proxies: None };
    let nothing = Overrides::default();

    let plain = of(&[named("/etc/policy/policy.yaml", DEV)], &nothing);
    assert_eq!(plain, of(&[named("policies/dev/policy.yaml", DEV)], &nothing), "the folder decides nothing");
    assert_ne!(plain, of(&[named("/etc/policy/other.yaml", DEV)], &nothing), "the name is part of a policy");
    assert_eq!(plain, of(&[named("policy.yaml", DEV)], &extra), "what the policy does not permit is not added");

    let open = [named("policy.yaml", &DEV.replace("kind: Policy", "kind: Policy\nallow_env_overrides: true"))];
    assert_ne!(of(&open, &nothing), of(&open, &extra), "what the environment adds decides");
}

#[test]
fn a_policy_that_would_refuse_everything_must_say_so() {
    let found = refused(&["apiVersion: docsgate/v1\nkind: Policy\n"]);
    assert!(found.contains("allow_nothing"), "{found}");
    assert!(
        compile(&files(&["apiVersion: docsgate/v1\nkind: Policy\nallow_nothing: true\n"]), &Overrides::default())
            .is_ok()
    );
}

#[test]
fn star_with_credentials_on_a_cookie_route_is_refused() {
    let open = DEV.replace("- https://docs.hybridops.tech\n", "- \"*\"\n");
    assert!(refused(&[&open]).contains("any site could read members' answers"));
}

/// Any site can put a sandboxed frame on its page, whose origin is `null`.
#[test]
fn null_with_credentials_on_a_cookie_route_is_refused() {
    let open =
        DEV.replace("    allow_credentials: true\n", "    allow_credentials: true\n    allow_null_origin: true\n");
    let found = refused(&[&open]);
    assert!(found.contains("allows `null` with credentials"), "{found}");
    let without_cookies = open.replace(", {cookie: __Secure-docs}", "");
    assert!(compile(&files(&[&without_cookies]), &Overrides::default()).is_ok());
    let without_credentials = open.replace("allow_credentials: true", "allow_credentials: false");
    assert!(compile(&files(&[&without_credentials]), &Overrides::default()).is_ok());
}

#[test]
fn a_route_that_counts_nobody_before_the_token_is_a_warning() {
    let only_callers = DEV.replace("limits: [flood, flood-net, caller]", "limits: [caller]");
    let found = render(&compile(&files(&[&only_callers]), &Overrides::default()).unwrap().warnings);
    assert!(found.contains("route `search` counts nobody before it looks at a token"), "{found}");
}

#[test]
fn origins_without_credentials_are_checked_like_the_others() {
    let wrong = DEV.replace("    anonymous_origins:\n", "    anonymous_origins:\n      - https://a/b\n");
    assert!(refused(&[&wrong]).contains("the origin `https://a/b` is refused"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z:\\[\\]{},\\-#&*!|>'\" \n\t0-9]{0,200}") {
        let _ = compile(&files(&[&text]), &Overrides::default());
    }
}

#[test]
fn limits_that_cannot_be_meant_are_refused_with_place_and_remedy() {
    insta::assert_snapshot!(refused(&["apiVersion: docsgate/v1
kind: Policy
limiter: {backend: memory, max_keys: 5, preflight_rate: 0/min, redis: {timeout: 2m, replicas: 0, lease: 0, lease_time: 1s}}
limits:
  never: {key: client_ip, rate: 0/min}
  fortnight: {key: caller, rate: 60/fortnight}
  huge: {key: caller, rate: 99999999999/s}
  slow: {key: caller, rate: 1/day, burst: 4000000000}
  empty: {key: [client_ip, route], rate: 1/s, burst: 0}
  preflight: {key: client_ip, rate: 1/s}
  plans: {key: member, rate: 60/min, tiers: {team: {rate: 5/min, burst: 2}}}
routes:
  - {name: chat, match: {path: /a}, allow: anyone, cost: 5, limits: [plans, plans]}
"]));
    let found = refused(&[&DEV.replace("  caller:", "  flood: {key: client_ip, rate: 1/s}\n  caller:")]);
    assert!(found.contains("`flood` appears twice; the first time in line"), "{found}");
    for (text, expected) in [
        ("limits: {a: {key: client, rate: 1/s}}", "did you mean `client_ip`?"),
        ("limits: {a: {key: caller, rate: 1/s, burst: -1}}", "burst"),
        ("limits: {a: {key: caller, rate: 60}}", "put it into quotation marks"),
        ("limiter: {backend: memcached}", "expected one of `memory`, `redis`"),
        ("limiter: {max_keys: 99999999999}", "max_keys"),
        ("limiter: {redis: {lease_time: 1s}}", "has no effect without `lease`"),
    ] {
        let found = refused(&[&format!("apiVersion: docsgate/v1\nkind: Policy\nallow_nothing: true\n{text}\n")]);
        assert!(found.contains("p0.yaml:4:") && found.contains(expected), "{text}:\n{found}");
    }
}
