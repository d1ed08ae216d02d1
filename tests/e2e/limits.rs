//! Rate limits, through the gate.

use std::fs;

use serde_json::Value;

use crate::gate::{Gate, ORIGIN, Wanted, eventually, header, ok, problem};

/// Limits on the network, tiers by plan, costs, and one that only counts. The addresses that Envoy sees are those that
/// a proxy of the test names.
const POLICY: &str = "apiVersion: docsgate/v1
kind: Policy
client_ip: {trusted_hops: 1}
issuers:
  learn:
    issuer: https://learn.example.org
    audiences: [docs]
    jwks_url: https://learn.example.org/.well-known/jwks.json
    algorithms: [EdDSA, ES256, RS256]
corpora:
  public: {}
  member: {entitlement: academy}
limits:
  address: {key: client_ip, rate: 10/hour, burst: 6}
  network: {key: ip_prefix, rate: 12/hour, burst: 9}
  caller: {key: caller, rate: 2/hour, tiers: {team: {rate: 8/hour}}}
  watched: {key: client_ip, rate: 1/hour, shadow: true}
routes:
  - {name: chat, match: {path: /api/docs-chat, methods: [POST]}, corpus: auto, limits: [address], cost: 5}
  - {name: address, match: {path: /api/docs-search, headers: {x-limit: address}}, corpus: public, limits: [address, network, watched]}
  - {name: caller, match: {path: /api/docs-search, headers: {x-limit: caller}}, corpus: auto, limits: [caller]}
";

fn gate() -> Gate {
    Gate::with(Wanted { policy_text: Some(POLICY.to_owned()), ..Wanted::default() })
}

/// Statuses of `count` searches, which name the limit and the address.
fn searches(gate: &Gate, limit: &str, address: &str, count: usize) -> Vec<u16> {
    let one = || gate.search("tides").header("x-limit", limit).header("x-forwarded-for", address);
    (0..count).map(|_| one().send().unwrap().status().as_u16()).collect()
}

fn limits(gate: &Gate) -> Value {
    gate.http.get(format!("{}/limits", gate.stack.authz.admin_url)).send().unwrap().json().unwrap()
}

#[test]
fn addresses_and_networks_have_budgets_of_their_own() {
    let gate = gate();
    let (allowed, refused) = (200, 429);
    assert_eq!(
        searches(&gate, "address", "203.0.113.1", 7),
        [allowed, allowed, allowed, allowed, allowed, allowed, refused]
    );
    // Another address of the same network finds what the network has left: a refusal by the address took nothing.
    assert_eq!(searches(&gate, "address", "203.0.113.2", 4), [allowed, allowed, allowed, refused]);
    assert_eq!(searches(&gate, "address", "198.51.100.1", 1), [allowed]);
    // IPv6: everything within a /64 is one client.
    assert_eq!(searches(&gate, "address", "2001:db8:1:1::1", 3), [allowed; 3]);
    assert_eq!(searches(&gate, "address", "2001:db8:1:1:ffff::2", 4), [allowed, allowed, allowed, refused]);
    // A chat costs five of the six.
    let chat = || gate.ask("When is high tide?").header("x-forwarded-for", "192.0.2.1").send().unwrap();
    let first = chat();
    assert_eq!(header(&first, "ratelimit"), "\"address\";r=1;t=1800");
    ok(first);
    problem(chat(), 429, "rate_limited");

    let report = limits(&gate);
    let of = |name: &str, what: &str| {
        let all = report["limits"].as_array().unwrap();
        all.iter().find(|limit| limit["name"] == name).unwrap()[what].as_u64().unwrap()
    };
    // Addresses: six, three and one more of it, six IPv6, one chat; what the network refused had fitted the address.
    assert_eq!((of("address", "allowed"), of("address", "refused")), (18, 3), "{report:#}");
    assert_eq!((of("network", "refused"), of("watched", "refused")), (1, 0), "{report:#}");
    assert!(of("watched", "shadow_refused") > 10 && of("address", "keys") == 5, "{report:#}");
    let metrics = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    for line in [
        "docsgate_authz_limit_charges_total{limit=\"address\",outcome=\"refused\"} 3",
        "docsgate_authz_limit_keys{limit=\"address\"} 5",
        "docsgate_authz_limit_evictions_total{limit=\"address\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_plan_decides_how_much_a_member_may_ask() {
    let gate = gate();
    let ask = |token: &str| {
        let response = gate.search("tides").header("x-limit", "caller").bearer_auth(token).send().unwrap();
        (response.status().as_u16(), header(&response, "ratelimit-policy").to_owned())
    };
    gate.stack.member("grant", "ada@example.org").unwrap();
    let url = gate.stack.database_url();
    docsgate_harness::authz::command(&[
        "member",
        "grant",
        "--database-url",
        &url,
        "--issuer",
        "https://learn.example.org",
        "--feature",
        "academy",
        "--plan",
        "team",
        "grace@example.org",
    ])
    .unwrap();
    let [ada, grace] = ["ada@example.org", "grace@example.org"].map(|subject| gate.token(subject));
    let quota = |count: u32| format!("\"caller\";q={count};w=3600");
    assert_eq!([0; 3].map(|_| ask(&ada)), [(200, quota(2)), (200, quota(2)), (429, quota(2))]);
    let team: Vec<u16> = (0..9).map(|_| ask(&grace).0).collect();
    assert_eq!(team, [200, 200, 200, 200, 200, 200, 200, 200, 429]);
    assert_eq!(ask(&grace).1, quota(8));
}

#[test]
fn a_reload_forgets_no_limit_and_refills_none() {
    let mut gate = gate();
    let address = "203.0.113.1";
    assert_eq!(searches(&gate, "address", address, 5), [200; 5]);
    // The network's limit stays as it is; the address's becomes slower and larger.
    let version = policy_version(&gate);
    let changed = POLICY.replace("rate: 10/hour, burst: 6", "rate: 5/hour, burst: 7");
    fs::write(gate.stack.policy.original(), changed).unwrap();
    assert!(gate.stack.policy.refresh().unwrap());
    eventually("the new policy", || (policy_version(&gate) != version).then_some(()));
    // Five of seven are spent, and four of the network's nine are left.
    assert_eq!(searches(&gate, "address", address, 3), [200, 200, 429]);
    assert_eq!(searches(&gate, "address", "203.0.113.9", 3), [200, 200, 429]);
}

#[test]
fn the_hottest_keys_are_shown_and_name_nobody() {
    let gate = gate();
    searches(&gate, "address", "203.0.113.77", 40);
    let hottest = limits(&gate)["hottest"].clone();
    assert!(hottest[0]["refused"].as_u64().unwrap() > 0, "{hottest:#}");
    let text = hottest.to_string();
    assert!(text.contains("203.0.113.0/24 #") && !text.contains("203.0.113.77"), "{text}");
}

fn policy_version(gate: &Gate) -> Value {
    let status: Value = gate.http.get(format!("{}/policy", gate.stack.authz.admin_url)).send().unwrap().json().unwrap();
    status["version"].clone()
}

#[test]
fn a_caller_past_its_budget_waits_and_is_told_how_long() {
    let gate = Gate::start();
    let ask = || gate.search("tides").header("x-limit", "few").header("origin", ORIGIN);
    for _ in 0..3 {
        let response = ask().send().unwrap();
        assert!(
            header(&response, "ratelimit").contains("few") || header(&response, "ratelimit").contains("flood"),
            "{response:?}"
        );
        ok(response);
    }
    let response = ask().send().unwrap();
    let wait: u64 = header(&response, "retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(header(&response, "ratelimit").contains("few"), "{response:?}");
    assert!(header(&response, "ratelimit-policy").contains("few"), "{response:?}");
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
    problem(response, 429, "rate_limited");
    // Another caller from the same address has a budget of its own.
    ok(ask().bearer_auth(gate.member_token()).send().unwrap());
    // A route without that limit is not touched.
    ok(gate.search("tides").send().unwrap());
}
