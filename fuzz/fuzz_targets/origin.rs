//! Origins as browsers send them. Oracle: the WHATWG URL parser's own serialisation of an origin.
#![no_main]

use authz_core::cors::{Origin, OriginPattern, OriginSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(pattern) = OriginPattern::parse(text) {
        // Whatever stands in a policy allows nothing but what it names.
        let set = OriginSet::new([pattern.clone()], false);
        let stranger = Origin::parse("https://stranger.invalid").expect("an origin");
        let names_it = text.to_ascii_lowercase().contains("invalid");
        assert!(pattern == OriginPattern::Any || names_it || !set.allows(&stranger), "{text}");
    }
    let Ok(origin) = Origin::parse(text) else { return };
    let serialized = origin.to_string();
    if origin != Origin::Opaque {
        let url = url::Url::parse(text).expect("an origin is a URL");
        assert_eq!(url.origin().ascii_serialization(), serialized);
    }
    assert_eq!(Origin::parse(&serialized), Ok(origin.clone()), "serialised once, it is the same origin");
    // The response echoes it: nothing in it may end a header line.
    assert!(serialized.bytes().all(|byte| byte.is_ascii_graphic()));
    let other = OriginSet::new([OriginPattern::parse("https://*.example.org").expect("a pattern")], false);
    assert!(!other.allows(&origin) || serialized.ends_with(".example.org"), "{serialized}");
});
