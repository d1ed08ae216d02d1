use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

fn binding() -> Binding<'static> {
    Binding { host: "docs.example.org", method: "GET", path: "/api/docs-search?q=a%20b", request_id: "rid-1" }
}

fn keys(text: &str) -> Keys {
    Keys::parse(text).unwrap()
}

fn minted(keys: &Keys) -> String {
    let corpora = vec!["public".into(), "member".into()];
    mint(keys, binding(), Grant { corpora, subject: Some("m-1".into()) }, NOW).unwrap()
}

#[test]
fn a_grant_verifies_for_the_request_it_was_made_for() {
    let keys = keys(&format!("a:{SECRET}\n"));
    let claims = verify(&keys, &minted(&keys), binding(), NOW + 1).unwrap();
    assert_eq!(claims.corpora, ["public", "member"]);
    assert_eq!((claims.rid.as_str(), claims.sub.as_deref()), ("rid-1", Some("m-1")));
}

#[test]
fn another_request_is_refused_by_name() {
    let keys = keys(&format!("a:{SECRET}\n"));
    let grant = minted(&keys);
    let refused = |binding| verify(&keys, &grant, binding, NOW).unwrap_err();
    assert_eq!(refused(Binding { host: "evil.example", ..binding() }), Fault::OtherRequest("host"));
    assert_eq!(refused(Binding { method: "POST", ..binding() }), Fault::OtherRequest("method"));
    assert_eq!(refused(Binding { path: "/api/docs-search?q=b", ..binding() }), Fault::OtherRequest("path"));
    for request_id in ["rid-2", ""] {
        assert_eq!(refused(Binding { request_id, ..binding() }), Fault::OtherRequest("request id"));
    }
}

#[test]
fn time_is_bounded_on_both_sides() {
    let keys = keys(&format!("a:{SECRET}\n"));
    let grant = minted(&keys);
    let last = NOW + LIFETIME_SECONDS + LEEWAY_SECONDS;
    assert!(verify(&keys, &grant, binding(), last).is_ok());
    assert_eq!(verify(&keys, &grant, binding(), last + 1).unwrap_err(), Fault::Expired);
    assert!(verify(&keys, &grant, binding(), NOW - LEEWAY_SECONDS).is_ok());
    assert_eq!(verify(&keys, &grant, binding(), NOW - LEEWAY_SECONDS - 1).unwrap_err(), Fault::Expired);
}

#[test]
fn rotation_keeps_the_previous_key_and_forgets_older_ones() {
    let old = keys(&format!("old:{SECRET}"));
    let during = keys(&format!("# rotating\nnew:{OTHER}\nold:{SECRET}\n"));
    let after = keys(&format!("new:{OTHER}"));
    let grant = minted(&old);
    assert!(verify(&during, &grant, binding(), NOW).is_ok());
    assert_eq!(verify(&after, &grant, binding(), NOW).unwrap_err(), Fault::UnknownKey);
    let same_kid = keys(&format!("old:{OTHER}"));
    assert_eq!(verify(&same_kid, &grant, binding(), NOW).unwrap_err(), Fault::BadSignature);
}

#[test]
fn a_token_of_another_type_or_algorithm_never_passes() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let keys = keys(&format!("a:{SECRET}"));
    let claims = verify(&keys, &minted(&keys), binding(), NOW).unwrap();
    let sign = |typ: &str, alg: Algorithm| {
        let mut header = Header::new(alg);
        (header.typ, header.kid) = (Some(typ.to_owned()), Some("a".to_owned()));
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&[0; 32])).unwrap()
    };
    assert!(verify(&keys, &sign("docsgate-grant+jwt", Algorithm::HS256), binding(), NOW).is_ok());
    assert_eq!(verify(&keys, &sign("JWT", Algorithm::HS256), binding(), NOW).unwrap_err(), Fault::Malformed);
    assert_eq!(
        verify(&keys, &sign("docsgate-grant+jwt", Algorithm::HS512), binding(), NOW).unwrap_err(),
        Fault::Malformed
    );
}

#[test]
fn key_files_are_refused_with_the_line() {
    let fault = |text: &str| Keys::parse(text).unwrap_err().to_string();
    assert!(fault("").starts_with("no key found"));
    assert!(fault("# only a comment\n").starts_with("no key found"));
    assert!(fault("\nno colon here").starts_with("line 2: no colon"));
    assert!(fault("a:!!!").contains("not base64"));
    assert!(fault("a:c2hvcnQ=").contains("shorter than 32 bytes"));
    assert!(fault(&format!("a:{SECRET}\na:{OTHER}")).contains("appears twice"));
    assert!(fault(&format!("a:{SECRET}\nb:{OTHER}\nc:{OTHER}")).contains("more than two"));
    assert!(!format!("{:?}", keys(&format!("a:{SECRET}"))).contains("AAAA"));
}

proptest! {
    #[test]
    fn no_text_verifies_by_chance(text in "\\PC{0,200}") {
        let keys = keys(&format!("a:{SECRET}"));
        prop_assert!(verify(&keys, &text, binding(), NOW).is_err());
    }

    #[test]
    fn a_changed_byte_is_noticed(position in 0usize..300, replacement in proptest::char::range('A', 'Z')) {
        let keys = keys(&format!("a:{SECRET}"));
        let grant = minted(&keys);
        let mut changed: Vec<char> = grant.chars().collect();
        let position = position % changed.len();
        prop_assume!(changed[position] != replacement);
        // The last character of unpadded base64 carries bits that decode to nothing.
        prop_assume!(position + 1 != changed.len());
        changed[position] = replacement;
        let changed: String = changed.into_iter().collect();
        prop_assert!(verify(&keys, &changed, binding(), NOW).is_err());
    }
}
