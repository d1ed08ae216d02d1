//! A flood of addresses that use up a daily limit filled the limiter's table, and what made room in it counted for all
//! limits: callers whom only a limit by the second counts were refused for the rest of the day.

use crate::gate::{Gate, Wanted};

/// The smallest table, one limit for the day and one against floods, each on a route of its own.
const POLICY: &str = "apiVersion: docsgate/v1
kind: Policy
client_ip: {trusted_hops: 1}
corpora: {public: {}}
limiter: {max_keys: 1024}
limits:
  daily: {key: client_ip, rate: 5/day}
  flood: {key: client_ip, rate: 1200/min, burst: 200}
routes:
  - {name: chat, match: {path: /api/docs-chat, methods: [POST]}, corpus: public, limits: [daily], cost: 5}
  - {name: search, match: {path: /api/docs-search}, corpus: public, limits: [flood]}
";

/// An address of its own for each number, in networks of its own.
fn address(network: &str, number: usize) -> String {
    format!("2001:db8:{network}:{number:x}::1")
}

/// What the metric says of one limit.
fn evictions(gate: &Gate, limit: &str) -> u64 {
    let metrics = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    let line = format!("docsgate_authz_limit_evictions_total{{limit=\"{limit}\"}} ");
    let value = metrics.lines().find_map(|text| text.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("{line} is not in\n{metrics}")).parse().unwrap()
}

#[test]
fn a_flood_of_daily_keys_refuses_nobody_whom_a_limit_by_the_second_counts() {
    let gate = Gate::with(Wanted { policy_text: Some(POLICY.to_owned()), ..Wanted::default() });
    // Without a body copilot has nothing to answer: what counts is that the gate charged the whole day of the address.
    let spend = |number| {
        let request = gate.http.post(gate.url("/api/docs-chat")).header("x-forwarded-for", address("bad", number));
        request.send().unwrap().status().as_u16()
    };
    let flood: Vec<u16> = (0..4_000).map(spend).collect();
    // All sets are full of keys that are used up for a day, and every one gave such a key up.
    assert!(evictions(&gate, "daily") >= 60, "{}", evictions(&gate, "daily"));
    assert!(flood[3_000..].iter().filter(|status| **status == 429).count() > 900, "the day's own floor stands");

    let search = |number| {
        let request = gate.search("tides").header("x-forwarded-for", address("900d", number));
        request.send().unwrap().status().as_u16()
    };
    let served: Vec<u16> = (0..300).map(search).collect();
    assert!(served.iter().all(|status| *status == 200), "{served:?}");
}
