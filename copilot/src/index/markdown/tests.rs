use proptest::prelude::*;

use super::*;
use crate::index::{block::BlockKind, page::MAX_HEADINGS};

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
            let text = block.text.replace('\n', " / ");
            let mut marks = Vec::new();
            if !block.note.is_empty() {
                marks.push(format!("!{}", block.note));
            }
            if !block.tab.is_empty() {
                marks.push(format!("={}", block.tab));
            }
            if block.depth > 0 {
                marks.push(format!(">{}", block.depth));
            }
            if let Some(number) = block.number {
                marks.push(format!("{number}."));
            }
            marks.push(match block.kind {
                BlockKind::Text => "text".to_owned(),
                BlockKind::Item => "item".to_owned(),
                BlockKind::Table => "table".to_owned(),
                BlockKind::Code => format!("[{} {}]", block.language, block.title).replace(" ]", "]"),
            });
            out.push_str(&format!("{} {text}\n", marks.join(" ")));
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
    text Before any heading.
    = #install-docsgate Install docsgate
    text First sentence. Second sentence with a link and bold.
    >1 item one item
    >1 item another
    >1 text its second paragraph
    table a | b / 1 | two words
    [bash run] # not a heading / cargo xtask demo
    == #install-docsgate_1 Install docsgate
    === #own-id Explicit
    text Text broken. Inline HTML.
    text Block <HTML>
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
    !Read this text Inside the note.
    == #a-heading-inside A heading inside
    !Read this [py] x = 1 /     indented
    !Tip text Nested tip.
    text After.
    =Linux text For Linux.
    =macOS text For macOS.
    text Title === not a tab
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
    assert_eq!(shown("no heading at all"), "text no heading at all\n");
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
fn generic_blocks_are_notes_and_tabs() {
    insta::assert_snapshot!(shown(
        "# P\n\n/// tip | Use *it*\n\nInside.\n\n///\n\n//// tab | Python\n\n/// note\n\nDeep.\n\n///\n\n////\n\n\
         {* ../src/a.py hl[1] *}\n\n{!../src/b.py!}\n\n/// is a path\n\n```rust\n/// note\n```\n\n:::warning[Mind this]\n\nHot.\n\n:::\n\n\
         > [!NOTE]\n> Quoted.\n"
    ), @r"
    = #p P
    !Use it text Inside.
    !Note =Python text Deep.
    text /// is a path
    [rust] /// note
    !Mind this text Hot.
    !Note text Quoted.
    ");
}

#[test]
fn a_box_to_tick_is_not_text() {
    insta::assert_snapshot!(shown("# P\n\n- [ ] try it\n- [x] done\n- [a](b) link\n"), @r"
    = #p P
    >1 item try it
    >1 item done
    >1 item a link
    ");
}

#[test]
fn steps_keep_their_numbers_and_their_code() {
    insta::assert_snapshot!(shown("# T

1. Write the key:

   ```sh title=\"write\"
   echo key > file
   ```

   Then wait.

2. Roll it out with `kubectl`:

   - one
   - two

3. Done.
"), @r"
    = #t T
    >1 1. item Write the key:
    >1 [sh write] echo key > file
    >1 text Then wait.
    >1 2. item Roll it out with `kubectl`:
    >2 item one
    >2 item two
    >1 3. item Done.
    ");
}

#[test]
fn shortcodes_are_resolved_or_dropped() {
    insta::assert_snapshot!(shown("---
title: T
min: v1.6
---
{{< feature-state for_k8s_version=\"v1.30\" state=\"stable\" >}}

## {{% heading \"whatsnext\" %}}

A {{< glossary_tooltip text=\"node\" term_id=\"node\" >}} needs {{< param \"min\" >}}, v{{< skew currentVersion >}}; see
[here]({{< ref \"x.md\" >}}) or {{</* note */>}}.

{{< note >}}
Inside
a note.
{{< /note >}}

* item

  {{< caution >}}In the item.{{< /caution >}}

{{< tabs name=\"t\" >}}
{{% tab name=\"Bash\" %}}
```bash
echo {{< param \"min\" >}} {{ .Values.kept }}
```
{{% /tab %}}
{{< tab name=\"Zsh\" codelang=\"zsh\" >}}
print
{{< /tab >}}
{{< /tabs >}}

{{< mermaid >}}graph TD{{< /mermaid >}}

{{< include \"missing.md\" >}}{{% code_sample file=\"missing.yaml\" %}}

{{<unknown a=\"b\">}}kept{{</unknown>}} {{< broken
"), @r"
    text FEATURE STATE: v1.30 [stable]
    == #whats-next What's next
    text A node needs v1.6, v…; see here or .
    !Note text Inside a note.
    >1 item item
    !Caution >1 text In the item.
    =Bash [bash] echo v1.6 {{ .Values.kept }}
    =Zsh [zsh] print
    text kept {{< broken
    ");
}

#[test]
fn components_and_macros_are_no_text() {
    insta::assert_snapshot!(shown("import Tabs from '@theme/Tabs';

# T

<Tabs>
  <TabItem value=\"npm\" label=\"npm\">

    ```sh
    npm i x
    ```

  </TabItem>
  <TabItem
    value=\"yarn\"
    label=\"Yarn\">
    Run yarn.
  </TabItem>
</Tabs>

<Warning>Hot.</Warning>

{/* hidden
still hidden */}

{% if x %}Text {{ macro() }} and `{{ code }}` and :material-check: done.{ .cls }{% endif %}
"), @r"
    = #t T
    =npm [sh] npm i x
    =Yarn text Run yarn.
    !Warning text Hot.
    text Text and `{{ code }}` and done.
    ");
}

#[test]
fn html_in_a_page_is_read_as_blocks() {
    insta::assert_snapshot!(shown("# T

<details><summary>More</summary><p>Hidden <code>x --y</code>.</p>
<ol><li>One</li><li>Two</li></ol></details>

<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>

<!-- a comment -->

```console
$ <font color=\"#4E9A06\">pip</font> install &lt;x&gt;
```
"), @r"
    = #t T
    !More text Hidden `x --y`.
    !More >1 1. item One
    !More >1 2. item Two
    table a | b / 1 | 2
    [console] $ pip install <x>
    ");
}

#[test]
fn files_are_brought_in_from_the_folders_that_were_named_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("docs/glossary")).unwrap();
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::write(root.join("src/a.py"), "one\ntwo\nthree\n").unwrap();
    std::fs::write(root.join("secret.md"), "secret").unwrap();
    std::fs::write(root.join("docs/part.md"), "---\ntitle: P\n---\nFrom a {{< param \"x\" >}} file.\n").unwrap();
    std::fs::write(root.join("docs/glossary/pod.md"), "---\ntitle: Pod\n---\nA pod.\n<!--more-->\nMore.\n").unwrap();
    let page = "---\nx: good\n---\n{* ../src/a.py ln[2:3] hl[1] *}\n\n```python\n{!> ../src/a.py!}\n```\n\n--8<-- \"a.py:1:1\"\n\n\
                {{< include \"part.md\" >}}\n\n{{< glossary_definition term_id=\"pod\" length=\"short\" >}}\n\n--8<-- \"../secret.md\"\n";
    let text = |roots: &[std::path::PathBuf]| {
        let includes = Includes::new(roots, Some(&root.join("docs")));
        let page = parse_with(page, Slug::default(), &includes);
        let blocks = page.sections.into_iter().flat_map(|section| section.blocks);
        blocks.map(|block| block.text.replace('\n', "/")).collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(
        text(&[root.join("docs"), root.join("src")]),
        "two/three | one/two/three | one | From a good file. | A pod."
    );
    assert_eq!(text(&[root.join("docs")]), "From a good file. | A pod.");
    assert_eq!(text(&[]), "");
}

#[test]
fn a_glossary_term_that_defines_itself_ends() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("glossary")).unwrap();
    let term = "A loop. {{< glossary_definition term_id=\"loop\" length=\"all\" >}}\n";
    std::fs::write(root.join("glossary/loop.md"), term).unwrap();
    let includes = Includes::new(std::slice::from_ref(&root), Some(&root));
    let page = parse_with(term, Slug::default(), &includes);
    let text = page.sections[0].blocks[0].text.clone();
    assert!(text.starts_with("A loop. A loop.") && text.len() < 200, "{text}");
}
