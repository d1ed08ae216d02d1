mod decision_log;

use super::*;
use crate::policy::{Overrides, compile, diagnostic::render};

const POLICY: &str = include_str!("../../../../policies/dev/policy.yaml");

fn policy() -> Snapshot {
    let file = PolicyText { name: "policy.yaml".into(), text: POLICY.into() };
    compile(&[file], &Overrides::default()).unwrap_or_else(|found| panic!("{}", render(&found))).snapshot
}

fn cases(text: &str) -> Result<CasesDocument, String> {
    let text = format!("apiVersion: docsgate/v1\nkind: PolicyCases\n{text}");
    parse(&PolicyText { name: "x.cases.yaml".into(), text }).map_err(|found| render(&found))
}

fn failures(text: &str) -> Vec<String> {
    let document = cases(text).unwrap_or_else(|found| panic!("{found}"));
    let policy = policy();
    let mut coverage = Coverage::of(&policy);
    run(&policy, &document, &mut coverage).into_iter().flat_map(|result| result.failures).collect()
}

#[test]
fn cases_hold_through_time_limits_and_entitlements() {
    let found = failures(
        "members: {ada: {plan: member, entitlements: [{feature: academy, ends: '2026-01-05T12:00:10Z'}]}}
cases:
  - name: an entitlement ends at its very moment
    request: {path: /api/docs-search?q=x}
    token: {subject: ada}
    steps:
      - expect: {outcome: allowed, corpora: [member, public], plan: member}
      - {after: 9s, expect: {corpora: [member, public]}}
      - {after: 1s, expect: {corpora: [public]}}
      - {store: down, expect: {corpora: [public], notes: [store_down]}}
  - name: a burst, then one a second
    request: {path: /api/docs-search, origin: 'http://localhost:8000'}
    steps:
      - {repeat: 20, expect: {status: 200}}
      - {expect: {status: 429, reason: rate_limited, cause: limit caller, headers: {retry-after: '1', access-control-allow-origin: 'http://localhost:8000'}}}
      - {after: 1s, expect: {status: 200}}
      - {expect: {status: 429}}
  - name: a preflight
    request: {method: OPTIONS, path: /api/docs-chat, origin: 'https://docs.hybridops.tech', preflight: POST}
    expect: {outcome: preflight, status: 204, headers: {access-control-allow-methods: 'GET, POST'}}
",
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_case_that_does_not_hold_says_what_was_found_and_how_it_came_about() {
    let found = failures(
        "cases: [{name: x, request: {path: /api/docs-search, origin: 'https://evil.example'}, expect: {status: 200, corpora: [member]}}]",
    );
    insta::assert_snapshot!(found.join("\n"), @r"
    status: expected 200, found 403
        corpora: expected [member], found []
          route        GET /api/docs-search belongs to route `search`
          cors         origin https://evil.example against profile `docs`: Refused
          decision     refused with 403: origin_not_allowed (This origin is not allowed)
    ");
}

#[test]
fn what_no_case_touches_is_named() {
    let policy = policy();
    let document = cases("cases: [{name: x, request: {path: /healthz}, expect: {status: 200}}]").unwrap();
    let mut coverage = Coverage::of(&policy);
    run(&policy, &document, &mut coverage);
    let untouched = coverage.untouched();
    assert!(!untouched.contains(&"route health".to_owned()), "{untouched:?}");
    for name in ["route chat", "limit caller", "corpus member", "origin docs: https://*.preview.hybridops.tech"] {
        assert!(untouched.contains(&name.to_owned()), "{name}: {untouched:?}");
    }
}

#[test]
fn mistakes_in_cases_are_found_with_their_place() {
    let found = cases("cases: [{name: x, request: {path: /, methd: GET}, expect: {outcome: alowed}}]").unwrap_err();
    assert!(found.contains("x.cases.yaml:3:38: error: unknown field `methd`"), "{found}");
    assert!(found.contains("did you mean `allowed`?"), "{found}");
    let wrong = failures("cases: [{name: x, request: {path: /healthz}, token: {subject: a, fault: nope}, expect: {}}]");
    assert!(wrong[0].contains("there is no fault `nope`"), "{wrong:?}");
}
