//! Compact tokens and key sets: nothing that is not signed by the issuer's key verifies.
#![no_main]

use std::sync::OnceLock;

use authz_core::identity::{TokenAlgorithm, jwks::KeySet, token};
use libfuzzer_sys::fuzz_target;

/// The public keys of RFC 8037, appendix A.2, and of RFC 7515, appendix A.3: their private halves are not used here.
const KEYS: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty":"EC","crv":"P-256","kid":"p256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;

fuzz_target!(|bytes: &[u8]| {
    static SET: OnceLock<KeySet> = OnceLock::new();
    let keys = SET.get_or_init(|| KeySet::parse(KEYS.as_bytes()).expect("a key set"));
    assert_eq!(keys.len(), 2);
    let _ = KeySet::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = token::claimed_issuer(text);
    let algorithms: Vec<_> =
        ["EdDSA", "ES256", "ES384", "RS256", "PS256"].into_iter().filter_map(TokenAlgorithm::from_name).collect();
    // The one token that these keys did sign is the example of RFC 7515, appendix A.3.
    let verified = token::verify_signature(text, keys, &algorithms);
    assert!(verified.is_err() || text.ends_with(EXAMPLE), "verified without the key: {text}");
});

const EXAMPLE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
