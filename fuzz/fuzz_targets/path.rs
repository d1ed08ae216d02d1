//! Path normalisation. Oracles: the WHATWG URL parser sees the same path, and an accepted path has one reading.
#![no_main]

use authz_core::request::NormalPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let Ok(path) = NormalPath::parse(raw) else { return };
    if raw == "*" {
        return;
    }
    // A backend that resolves dot segments, backslashes or fragments would see the very same bytes.
    let url = url::Url::parse(&format!("http://host{raw}")).expect("an accepted path stands in a URL");
    assert!(url.query().is_none() && url.fragment().is_none());
    let seen = NormalPath::parse(url.path()).expect("what the URL parser made of it is accepted too");
    assert_eq!(seen, path);
    let text = path.as_str();
    assert!(text.starts_with('/') && !text.contains("//"));
    assert!(!text.split('/').any(|segment| segment == "." || segment == ".."));
    assert!(!text.contains(|c: char| c.is_ascii_control() || "\\;?#%".contains(c)));
});
