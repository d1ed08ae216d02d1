//! Pages in any text, and queries: every section keeps its anchor unique, and nothing panics or hangs.
#![no_main]

use copilot::index::{anchor::Slug, markdown, tokenizer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    const SLUGS: [Slug; 5] = [Slug::Ascii, Slug::Unicode, Slug::PyMdown, Slug::PyMdownLower, Slug::Unknown];
    let page = markdown::parse(text, SLUGS[text.len() % SLUGS.len()]);
    let anchors: Vec<&str> = page.sections.iter().filter_map(|section| section.anchor.as_deref()).collect();
    let distinct: std::collections::HashSet<&str> = anchors.iter().copied().collect();
    // An attribute list (`{#id}`, `{: #id }`, `{ #id }`) names its own id, twice if the author says so twice.
    assert!(distinct.len() == anchors.len() || text.contains('{'), "{anchors:?}");
    for word in tokenizer::tokenize(text).words {
        assert!(text.get(word.range.clone()).is_some(), "{word:?}");
    }
    let _ = tokenizer::fold(text);
});
