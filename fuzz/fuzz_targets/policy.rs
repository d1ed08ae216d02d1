//! Policies, cases and manifests in any text: a policy or positions inside the text, never a panic.
#![no_main]

use authz_core::{
    cases,
    policy::{
        Overrides, compile,
        diagnostic::{PolicyText, render},
        manifest,
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = PolicyText { name: "policy.yaml".into(), text: text.into() };
    // YAML ends lines at a lone carriage return as well.
    let lines = text.split(['\n', '\r']).count();
    match compile(std::slice::from_ref(&file), &Overrides::default()) {
        Ok(_) => {}
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused without a reason");
            for diagnostic in &diagnostics {
                let line = diagnostic.position.line;
                assert!((1..=lines + 1).contains(&line), "{diagnostic:?}");
            }
            assert!(!render(&diagnostics).is_empty());
        }
    }
    let _ = cases::parse(&file);
    let _ = manifest::policies("stream.yaml", text);
});
