//! Grants and grant key files: nothing forged verifies.
#![no_main]

use docsgate_grant::{Binding, Keys, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Keys::parse(text);
    let keys = Keys::parse("fuzz:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY").expect("a key file");
    let binding = Binding { host: "h", method: "GET", path: "/", request_id: "" };
    assert!(verify(&keys, text, binding, 0).is_err(), "verified without the key: {text}");
});
