use std::time::Duration;

use jsonwebtoken::{EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::*;
use crate::identity::{KeySource, TokenSource};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// PKCS#8 of an Ed25519 key made of the byte `seed`.
fn ed25519(seed: u8) -> EncodingKey {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}

fn jwk(key: &EncodingKey, kid: &str) -> Value {
    let jwk = Jwk::from_encoding_key(key, Algorithm::EdDSA).unwrap();
    let mut value = serde_json::to_value(jwk).unwrap();
    value["kid"] = kid.into();
    value
}

fn keys() -> KeySet {
    KeySet::parse(json!({"keys": [jwk(&ed25519(1), "a"), jwk(&ed25519(2), "b")]}).to_string().as_bytes()).unwrap()
}

fn issuer() -> Issuer {
    Issuer {
        name: "learn".into(),
        issuer: "https://learn.example.org".into(),
        audiences: vec!["docs".into(), "docs-2".into()],
        keys: KeySource::File("unused".into()),
        algorithms: vec![TokenAlgorithm::EdDSA, TokenAlgorithm::RS256],
        token_from: vec![header()],
        types: Vec::new(),
        required_claims: Vec::new(),
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(86_400),
        refresh: Duration::from_secs(300),
        max_stale: Duration::from_secs(300),
        ready_without_keys: false,
    }
}

fn header() -> TokenSource {
    TokenSource::Header("authorization".into())
}

fn claims() -> Value {
    json!({"iss": "https://learn.example.org", "sub": "42", "aud": "docs", "exp": NOW.seconds() + 600, "iat": NOW.seconds(), "jti": "j"})
}

/// Signs any header and claims, however wrong.
fn sign(header: &Value, claims: &str, key: &EncodingKey) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(&header.to_string()), encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn check(token: &str) -> Result<VerifiedToken, TokenFault> {
    check_from(token, &issuer(), &header())
}

fn check_from(text: &str, issuer: &Issuer, source: &TokenSource) -> Result<VerifiedToken, TokenFault> {
    verify(PresentedToken { text, source }, &keys(), issuer, NOW)
}

fn with_claims(change: impl FnOnce(&mut Value)) -> Result<VerifiedToken, TokenFault> {
    let mut claims = claims();
    change(&mut claims);
    check(&sign(&json!({"alg": "EdDSA", "kid": "a", "typ": "JWT"}), &claims.to_string(), &ed25519(1)))
}

fn with_header(header_value: &Value) -> Result<VerifiedToken, TokenFault> {
    check(&sign(header_value, &claims().to_string(), &ed25519(1)))
}

#[test]
fn a_good_token_names_its_member() {
    let token = with_claims(|_| {}).unwrap();
    assert_eq!((token.member.subject.as_str(), token.id.as_deref()), ("42", Some("j")));
    assert!(with_claims(|claims| claims["aud"] = json!(["other", "docs-2"])).is_ok());
    assert!(with_claims(|claims| claims["exp"] = json!(NOW.seconds() as f64 + 0.5)).is_ok());
    assert!(with_header(&json!({"alg": "EdDSA", "typ": "at+jwt"})).is_ok(), "without kid every fitting key is tried");
}

#[test]
fn headers_are_refused_by_kind() {
    use TokenFault::*;
    for (header, fault) in [
        (json!({"alg": "none", "kid": "a"}), Algorithm),
        (json!({"alg": "HS256", "kid": "a"}), Algorithm),
        (json!({"alg": "eddsa", "kid": "a"}), Algorithm),
        (json!({"alg": "ES256", "kid": "a"}), Algorithm),
        (json!({"alg": "RS256", "kid": "a"}), Algorithm),
        (json!({"alg": "EdDSA", "kid": "unknown"}), UnknownKey),
        (json!({"alg": "EdDSA", "kid": "b"}), BadSignature),
        (json!({"alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false}), Critical),
        (json!({"alg": "EdDSA", "kid": "a", "crit": []}), Critical),
        (json!({"alg": "EdDSA", "kid": "a", "typ": "docsgate-grant+jwt"}), Type),
        (json!({"alg": "EdDSA", "kid": "a", "typ": "id+jwt"}), Type),
        (json!({"alg": "EdDSA", "kid": 7}), Malformed),
        (json!({"kid": "a"}), Malformed),
        (json!(["EdDSA"]), Malformed),
    ] {
        assert_eq!(with_header(&header), Err(fault), "{header}");
    }
    // Keys that a token brings along are never looked at.
    let own = json!({"alg": "EdDSA", "kid": "unknown", "jwk": jwk(&ed25519(1), "unknown"), "jku": "https://evil.example/jwks"});
    assert_eq!(with_header(&own), Err(UnknownKey));
}

#[test]
fn claims_are_refused_by_kind() {
    use TokenFault::*;
    let now = NOW.seconds();
    let cases: Vec<(&str, Value, TokenFault)> = vec![
        ("iss", json!("https://evil.example"), UnknownIssuer),
        ("iss", json!("https://learn.example.org/"), UnknownIssuer),
        ("aud", json!("docs "), Audience),
        ("aud", json!([]), Audience),
        ("aud", json!(7), Claims),
        ("exp", json!(now - 30), Expired),
        ("exp", json!("1900000000"), Claims),
        ("exp", json!(-1), Claims),
        ("exp", json!(1e300), Claims),
        ("exp", json!(now + 90_000), LivesTooLong),
        ("exp", Value::Null, Claims),
        ("nbf", json!(now + 31), NotYetValid),
        ("iat", json!(now + 31), NotYetValid),
        ("iat", json!(true), Claims),
        ("sub", json!(42), Claims),
        ("sub", json!(""), Claims),
        ("sub", json!("a\u{0}b"), Claims),
        ("sub", json!("a".repeat(257)), Claims),
        ("jti", json!("j".repeat(257)), Claims),
    ];
    for (name, value, fault) in cases {
        assert_eq!(with_claims(|claims| claims[name] = value.clone()), Err(fault), "{name}: {value}");
    }
    for name in ["iss", "sub", "aud", "exp"] {
        assert_eq!(with_claims(|claims| drop(claims.as_object_mut().unwrap().remove(name))), Err(Claims), "{name}");
    }
    assert!(with_claims(|claims| claims["exp"] = json!(now - 29)).is_ok(), "within the leeway");
    assert!(with_claims(|claims| claims["nbf"] = json!(now + 30)).is_ok(), "within the leeway");
}

#[test]
fn a_claim_given_twice_is_never_guessed() {
    let twice = claims().to_string().replacen('{', "{\"sub\":\"admin\",", 1);
    let token = sign(&json!({"alg": "EdDSA", "kid": "a"}), &twice, &ed25519(1));
    assert_eq!(check(&token), Err(TokenFault::Claims));
}

#[test]
fn required_claims_types_and_sources_are_the_issuers_to_say() {
    let token = sign(&json!({"alg": "EdDSA", "kid": "a", "typ": "at+JWT"}), &claims().to_string(), &ed25519(1));
    let check = |issuer: &Issuer, source: &TokenSource| check_from(&token, issuer, source).map(|_| ());
    let strict = Issuer { types: vec!["at+jwt".into()], required_claims: vec!["jti".into()], ..issuer() };
    assert_eq!(check(&strict, &header()), Ok(()));
    assert_eq!(
        check(&Issuer { required_claims: vec!["scope".into()], ..issuer() }, &header()),
        Err(TokenFault::Claims)
    );
    assert_eq!(check(&Issuer { types: vec!["jwt".into()], ..issuer() }, &header()), Err(TokenFault::Type));
    assert_eq!(check(&issuer(), &TokenSource::Cookie("c".into())), Err(TokenFault::WrongSource));
}

#[test]
fn damaged_tokens_are_malformed_or_badly_signed() {
    let token = sign(&json!({"alg": "EdDSA", "kid": "a"}), &claims().to_string(), &ed25519(1));
    let fault = |token: &str| check(token).unwrap_err();
    let (head, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    for broken in [
        "",
        ".",
        "..",
        "a.b",
        &format!("{head}.{payload}"),
        &format!("{token}.x"),
        &format!("{head}.{payload}."),
        &format!(".{payload}.{signature}"),
        &format!("{token}="),
        &format!(" {token}"),
    ] {
        assert_eq!(fault(broken), TokenFault::Malformed, "{broken}");
    }
    assert_eq!(
        fault(&format!("{head}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64]))),
        TokenFault::BadSignature
    );
    assert_eq!(
        fault(&format!("{head}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 10]))),
        TokenFault::BadSignature
    );
    assert_eq!(fault(&"a".repeat(MAX_TOKEN_BYTES + 1)), TokenFault::Oversized);
    let other = BASE64_URL_SAFE_NO_PAD.encode(claims().to_string().replace("42", "43"));
    assert_eq!(fault(&format!("{head}.{other}.{signature}")), TokenFault::BadSignature);
}

#[test]
fn key_sets_are_refused_with_the_reason() {
    let fault = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(fault("<html>").contains("not a JSON Web Key Set"));
    assert!(fault("{}").contains("not a JSON Web Key Set"));
    assert!(fault(r#"{"keys":[]}"#).contains("the set is empty"));
    assert!(fault(&" ".repeat(super::super::jwks::MAX_SET_BYTES + 1)).contains("bytes"));
    let weak =
        json!({"keys": [{"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"}]}).to_string();
    assert!(fault(&weak).contains("1024 bits"), "{}", fault(&weak));
    let symmetric = json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string();
    assert!(fault(&symmetric).contains("`oct`"));
    let encryption = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "use": "enc"}]}).to_string();
    assert!(fault(&encryption).contains("not for signatures"));
    let mut unfit = jwk(&ed25519(1), "a");
    unfit["alg"] = "RS256".into();
    assert!(fault(&json!({"keys": [unfit]}).to_string()).contains("does not fit"));
}

proptest::proptest! {
    #[test]
    fn no_text_verifies_or_panics(text in "[a-zA-Z0-9_.=-]{0,200}") {
        proptest::prop_assert!(check(&text).is_err());
        let _ = claimed_issuer(&text);
    }

    #[test]
    fn no_bytes_panic_the_key_set(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = KeySet::parse(&bytes);
    }
}
