//! Rate limits, through the gate.

use crate::gate::{Gate, ORIGIN, header, ok, problem};

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
