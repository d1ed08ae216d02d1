//! Pages of built sites and pointers of stores: anything may stand there.
#![no_main]

use copilot::{corpus::pointer::Pointer, index::html};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = html::parse(&String::from_utf8_lossy(bytes));
    if let Ok(pointer) = Pointer::read(bytes, "public", None) {
        assert_eq!(pointer.corpus, "public");
    }
});
