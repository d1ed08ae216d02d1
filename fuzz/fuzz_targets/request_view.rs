//! The view of a whole request, from lines: method, host, path, then `name: value` in any bytes.
#![no_main]

use authz_core::request::{MAX_HEADER_LINES, RawRequest, RequestView};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (method, host, path) = (text(), text(), text());
    let headers: Vec<(&str, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(line.get(..colon)?).ok()?, line.get(colon + 1..)?))
        })
        .collect();
    let count = headers.len();
    let raw = RawRequest { id: host, method, host, path, headers, peer: None };
    let Ok(view) = RequestView::parse(&raw) else { return };
    assert!(count <= MAX_HEADER_LINES);
    assert!(view.id.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!view.host.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(view.raw_target, path);
    for name in ["origin", "authorization", "x-api-key", "cookie", "access-control-request-headers"] {
        if let Ok(Some(value)) = view.single(name) {
            assert!(value.bytes().all(|byte| (b' '..0x7f).contains(&byte) || byte == b'\t'), "{name}: {value:?}");
        }
    }
    let _ = (view.is_preflight(), view.is_grpc(), view.headers.cookie("__Secure-docs"));
});
