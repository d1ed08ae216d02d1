//! Tokens that are not what they should be.

use docsgate_harness::authz::{self, Claims};

use crate::gate::{Gate, MEMBER, header, problem};

#[test]
fn a_token_that_does_not_verify_is_refused_and_never_downgraded() {
    let gate = Gate::start();
    let good = gate.member_token();
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect();
    let key = &gate.stack.issuer.key;
    let (issuer, audience) = ("https://learn.example.org", "docs");
    let mint =
        |issuer, audience| authz::mint(key, Claims { issuer, audience, subject: MEMBER, lifetime: "1h" }).unwrap();
    let foreign_key = gate.folder.path().join("foreign");
    std::fs::create_dir(&foreign_key).unwrap();
    let foreign = authz::Issuer::start(&foreign_key).unwrap();
    let bad = [
        ("not a token", "not.a.token".to_owned()),
        ("a changed signature", format!("{head_and_claims}.{flipped}")),
        ("no signature", format!("{head_and_claims}.")),
        ("another issuer", mint("https://evil.example", audience)),
        ("another audience", mint(issuer, "shop")),
        (
            "another key",
            authz::mint(&foreign.key, Claims { issuer, audience, subject: MEMBER, lifetime: "1h" }).unwrap(),
        ),
    ];
    for (what, token) in bad {
        let response = gate.search("zanzibar").bearer_auth(&token).send().unwrap();
        let challenge = header(&response, "www-authenticate").to_owned();
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
        problem(response, 401, "invalid_token");
    }
}

#[test]
fn a_repeated_authorization_header_is_refused() {
    let gate = Gate::start();
    let good = gate.member_token();
    let bearer = format!("Bearer {good}");
    // Envoy joins repeated lines of this header with a comma, which no token contains.
    for second in [bearer.as_str(), "Bearer not.a.token", "Basic eDp5"] {
        let request = gate.search("zanzibar").bearer_auth(&good).header("authorization", second);
        problem(request.send().unwrap(), 401, "invalid_token");
    }
}
