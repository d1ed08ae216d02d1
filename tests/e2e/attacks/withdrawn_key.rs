//! A signing key that leaked is withdrawn by the portal while its issuer is out of the policy. When the issuer returns, what
//! was verified with that key before must not be believed again.

use std::fs;

use docsgate_harness::authz::{self, Claims, Issuer};
use docsgate_harness::http;

use crate::gate::{Gate, MEMBER, Wanted, eventually, ok, urls};

const ISSUER: &str = "    issuer: https://learn.example.org\n";

/// Puts a policy in force and waits until it is.
fn put(gate: &mut Gate, text: &str) {
    let admin = format!("{}/policy", gate.stack.authz.admin_url);
    let version = || {
        let status: serde_json::Value = serde_json::from_str(&http::get(&admin).unwrap().1).unwrap();
        status["version"].clone()
    };
    let before = version();
    fs::write(gate.stack.policy.original(), text).unwrap();
    assert!(gate.stack.policy.refresh().unwrap());
    eventually("the policy", || (version() != before).then_some(()));
}

#[test]
fn a_key_withdrawn_while_its_issuer_was_out_of_the_policy_opens_nothing_when_it_returns() {
    let folder = crate::gate::open_folder();
    let [stolen, next] = ["stolen", "next"].map(|name| {
        let own = folder.path().join(name);
        fs::create_dir(&own).unwrap();
        Issuer::start(&own).unwrap()
    });
    let published = folder.path().join("jwks.json");
    let publish = |issuer: &Issuer| {
        let fresh = folder.path().join("fresh");
        fs::write(&fresh, http::get(&issuer.jwks_url).unwrap().1).unwrap();
        fs::rename(fresh, &published).unwrap();
    };
    let token = |issuer: &Issuer| {
        let claims = Claims { issuer: "https://learn.example.org", audience: "docs", subject: MEMBER, lifetime: "1h" };
        authz::mint(&issuer.key, claims).unwrap()
    };
    publish(&stolen);
    let with_issuer = fs::read_to_string(crate::gate::data().join("policy.yaml")).unwrap().replace(
        "jwks_url: https://learn.example.org/.well-known/jwks.json",
        &format!("jwks_file: {}", published.display()),
    );
    let elsewhere = folder.path().join("elsewhere.json");
    fs::copy(&published, &elsewhere).unwrap();
    let without_issuer = with_issuer
        .replace(ISSUER, "    issuer: https://elsewhere.example.org\n")
        .replace(&published.display().to_string(), &elsewhere.display().to_string());
    assert!(with_issuer != without_issuer);

    let mut gate = Gate::with(Wanted { policy_text: Some(with_issuer.clone()), ..Wanted::default() });
    gate.stack.member("grant", MEMBER).unwrap();
    let (old, new) = (token(&stolen), token(&next));
    let ask = |gate: &Gate, token: &str| gate.search("zanzibar").bearer_auth(token).send().unwrap();
    // Verified, and remembered as such.
    for _ in 0..2 {
        assert!(!urls(&ok(ask(&gate, &old))).is_empty(), "the key is good so far");
    }
    put(&mut gate, &without_issuer);
    assert_eq!(ask(&gate, &old).status(), 401, "nobody's token");

    publish(&next);
    put(&mut gate, &with_issuer);
    // From the first request on, and also once the new keys are known.
    let mut refused = 0;
    eventually("the new key", || {
        let answer = ask(&gate, &old);
        assert!([401, 503].contains(&answer.status().as_u16()), "the withdrawn key: {answer:?}");
        refused += 1;
        (ask(&gate, &new).status() == 200).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(ask(&gate, &old).status(), 401, "the withdrawn key, after {refused} refusals");
    }
    assert!(!urls(&ok(ask(&gate, &new))).is_empty());
}
