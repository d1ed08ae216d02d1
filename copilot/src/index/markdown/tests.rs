use proptest::prelude::*;

use super::*;

fn parse(source: &str) -> Page {
    super::parse(source, Slug::default())
}

/// A page as lines that are easy to compare: `#id heading`, prose, and `[language] code`.
fn shown(source: &str) -> String {
    let mut out = String::new();
    for section in parse(source).sections {
        if let Some(anchor) = &section.anchor {
            out.push_str(&format!("{} #{anchor} {}\n", "=".repeat(section.level.into()), section.heading));
        }
        for block in section.blocks {
            match block {
                Block::Prose(text) => out.push_str(&format!("{}\n", text.replace('\n', " / "))),
                Block::Code { language, text } => {
                    out.push_str(&format!("[{language}] {}\n", text.replace('\n', " / ")));
                }
            }
        }
    }
    out
}

#[test]
fn a_page_is_taken_apart() {
    insta::assert_snapshot!(shown("---
title: Given
search:
  boost: 2
---
Before any heading.

# Install `docsgate`

First sentence. Second
sentence with [a link](other.md) and **bold**.

- one item
- another

  its second paragraph

| a | b |
|---|---|
| 1 | two words |

```bash title=\"run\"
# not a heading
cargo xtask demo
```

## Install `docsgate`

### Explicit {#own-id}

Text<br>broken. <b>Inline</b> HTML.

<div class=\"x\"><p>Block &lt;HTML&gt;</p><script>alert(1)</script></div>
"), @r"
    Before any heading.
    = #install-docsgate Install docsgate
    First sentence. Second sentence with a link and bold.
    one item
    another
    its second paragraph
    a | b / 1 | two words
    [bash] # not a heading / cargo xtask demo
    == #install-docsgate_1 Install docsgate
    === #own-id Explicit
    Text broken. Inline HTML.
    Block <HTML>
    ");
}

#[test]
fn admonitions_tabs_and_snippets_leave_their_text() {
    insta::assert_snapshot!(shown("# T

!!! note \"Read this\"
    Inside the note.

    ## A heading inside

    ```py
    x = 1
        indented
    ```

    ??? tip
        Nested tip.

After.

=== \"Linux\"

    For Linux.

=== \"macOS\"

    For macOS.

--8<-- \"shared.md\"

Title
=== not a tab
"), @r"
    = #t T
    Read this
    Inside the note.
    == #a-heading-inside A heading inside
    [py] x = 1 /     indented
    Tip
    Nested tip.
    After.
    Linux
    For Linux.
    macOS
    For macOS.
    Title === not a tab
    ");
}

#[test]
fn front_matter_says_what_may_be_found() {
    let front = |yaml: &str| parse(&format!("---\n{yaml}\n---\n# T\n")).front_matter;
    assert!(front("search:\n  exclude: true").excluded);
    assert!(front("search: exclude").excluded);
    assert!(front("draft: true").excluded);
    assert!(!front("search:\n  boost: 2").excluded);
    assert_eq!(front("title: Hello").title.as_deref(), Some("Hello"));
    assert_eq!(front(": not yaml: [").title, None);
    let unclosed = parse("---\ntitle: x\n# T\n");
    assert_eq!(unclosed.heading.as_deref(), Some("T"));
}

#[test]
fn odd_pages_lose_nothing() {
    assert_eq!(shown(""), "");
    assert_eq!(shown("no heading at all"), "no heading at all\n");
    assert!(shown("# T\n\n```\nunclosed fence\n## not a heading\n").contains("[] unclosed fence / ## not a heading"));
    let many: String = (0..10_000).map(|n| format!("## h{n}\n\ntext {n}\n\n")).collect();
    let page = parse(&many);
    assert_eq!(page.sections.len(), MAX_HEADINGS + 1);
    assert!(shown(&many).contains("text 9999"));
    let deep = "> ".repeat(5_000) + "deep";
    assert!(shown(&deep).contains("deep"));
}

proptest! {
    #[test]
    fn no_text_panics_and_anchors_are_unique(source in "[#`~!?=\\-\\[\\](){}<>&|*_ \n\ta-c:\"8]{0,300}") {
        let page = parse(&source);
        let mut anchors: Vec<&str> = page.sections.iter().filter_map(|section| section.anchor.as_deref()).collect();
        let all = anchors.len();
        anchors.sort_unstable();
        anchors.dedup();
        // Only ids that a page gives explicitly may repeat.
        let explicit = source.contains("{");
        prop_assert!(anchors.len() == all || explicit);
    }
}

#[test]
fn generic_blocks_leave_their_title_and_includes_leave_nothing() {
    let page = parse(
        "# P\n\n/// tip | Use *it*\n\nInside.\n\n///\n\n//// tab | Python\n\n/// note\n\nDeep.\n\n///\n\n////\n\n\
         {* ../src/a.py hl[1] *}\n\n{!../src/b.py!}\n\n/// is a path\n\n```rust\n/// note\n```\n",
    );
    let section = page.sections.last().unwrap();
    let blocks: Vec<&str> = section
        .blocks
        .iter()
        .map(|block| match block {
            Block::Prose(text) | Block::Code { text, .. } => text.as_str(),
        })
        .collect();
    assert_eq!(blocks, ["Use it", "Inside.", "Python", "Note", "Deep.", "/// is a path", "/// note"]);
}

#[test]
fn a_box_to_tick_is_not_text() {
    let page = parse("# P\n\n- [ ] try it\n- [x] done\n- [a](b) link\n");
    let blocks: Vec<&str> = page
        .sections
        .last()
        .unwrap()
        .blocks
        .iter()
        .map(|block| match block {
            Block::Prose(text) | Block::Code { text, .. } => text.as_str(),
        })
        .collect();
    assert_eq!(blocks.join("|"), "try it|done|a link");
}
