//! Project Wycheproof's JSON Web Signature and Key vectors, through the very function that verifies members' tokens.
//!
//! The payloads are not claims, so it is the signature that is judged here, with everything that is refused before it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;

use authz_core::identity::TokenAlgorithm;
use authz_core::identity::{jwks::KeySet, token::verify_signature};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use docsgate_harness::system_tool::shared_data;
use serde_json::{Value, json};

const ALL: [TokenAlgorithm; 5] =
    [TokenAlgorithm::EdDSA, TokenAlgorithm::ES256, TokenAlgorithm::ES384, TokenAlgorithm::RS256, TokenAlgorithm::PS256];

/// Why a vector that the file calls valid is refused here all the same; `None` if it must verify.
fn refused_on_purpose(key: &Value, jws: &str) -> Option<&'static str> {
    let taken = |alg: &str| ["EdDSA", "ES256", "ES384", "RS256", "PS256"].contains(&alg);
    let Ok(head) = BASE64_URL_SAFE_NO_PAD.decode(jws.split('.').next()?) else {
        // RFC 7515, section 2: no characters but those of base64url. One token has one spelling.
        return Some("a header that is not strictly base64url");
    };
    let header: Value = serde_json::from_slice(&head).ok()?;
    let (of_key, of_token) = (key["alg"].as_str()?, header["alg"].as_str()?);
    (!taken(of_key) || !taken(of_token)).then_some("an algorithm that this gate does not take")
}

/// The keys of a group as the set that an issuer would publish: its public part where the file has one.
fn set(group: &Value) -> Value {
    let key = if group["public"].is_null() { &group["private"] } else { &group["public"] };
    if key["keys"].is_array() { key.clone() } else { json!({"keys": [key]}) }
}

/// How many vectors came out how; `None` without the data.
fn run(file: &str) -> Option<BTreeMap<String, u32>> {
    let folder = shared_data("wycheproof")?;
    let document: Value = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    for group in document["testGroups"].as_array().unwrap() {
        let keys = KeySet::parse(set(group).to_string().as_bytes());
        let first = &set(group)["keys"][0];
        for test in group["tests"].as_array().unwrap() {
            let (number, jws) = (test["tcId"].as_u64().unwrap(), test["jws"].as_str().unwrap_or_default());
            let valid = match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("an unknown result `{other}`"),
            };
            // A set without one usable key never comes into force: nothing can verify with it.
            let verified = keys.as_ref().is_ok_and(|keys| verify_signature(jws, keys, &ALL).is_ok());
            let outcome = match (valid, verified) {
                (true, true) => "valid, verified".to_owned(),
                (false, false) => "invalid, refused".to_owned(),
                (true, false) => match refused_on_purpose(first, jws) {
                    Some(why) => format!("valid, refused: {why}"),
                    None => {
                        wrong.push(format!("{number} ({}) is valid and was refused", test["comment"]));
                        continue;
                    }
                },
                (false, true) => {
                    wrong.push(format!("{number} ({}, {}) is invalid and verified", test["comment"], test["flags"]));
                    continue;
                }
            };
            *counts.entry(outcome).or_insert(0) += 1;
        }
    }
    let said: u64 = document["numberOfTests"].as_u64().unwrap();
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
    assert_eq!(counts.values().map(|count| u64::from(*count)).sum::<u64>(), said, "vectors were passed over");
    Some(counts)
}

fn check(file: &str, expected: &[(&str, u32)]) {
    let Some(counts) = run(file) else { return };
    let expected = expected.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect();
    assert_eq!(counts, expected, "{file}");
}

#[test]
fn signatures() {
    let expected = [
        ("invalid, refused", 355),
        ("valid, refused: a header that is not strictly base64url", 1),
        ("valid, refused: an algorithm that this gate does not take", 29),
        ("valid, verified", 16),
    ];
    check("json_web_signature_test.json", &expected);
}

#[test]
fn keys() {
    let expected = [
        ("invalid, refused", 21),
        ("valid, refused: an algorithm that this gate does not take", 4),
        ("valid, verified", 1),
    ];
    check("json_web_key_test.json", &expected);
}
