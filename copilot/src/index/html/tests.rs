use super::*;

fn shown(html: &str) -> String {
    let page = parse(html).unwrap();
    let sections = page.sections.iter().map(|section| {
        let blocks: Vec<String> = section
            .blocks
            .iter()
            .map(|block| {
                let mut text = block.text.replace('\n', " / ");
                if block.is_code() {
                    text = format!("[{} {}] {text}", block.language, block.title).replace(" ]", "]");
                }
                for (mark, value) in [("!", &block.note), ("=", &block.tab)] {
                    if !value.is_empty() {
                        text = format!("{mark}{value} {text}");
                    }
                }
                if let Some(number) = block.number {
                    text = format!("{number}. {text}");
                }
                format!("{}{text}", ">".repeat(block.depth.into()))
            })
            .collect();
        format!(
            "{} {} #{}: {}",
            section.level,
            section.heading,
            section.anchor.as_deref().unwrap_or("-"),
            blocks.join(" ; ")
        )
    });
    sections.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_page_of_material_gives_its_sections_and_nothing_around_them() {
    let html = r##"<!doctype html><html><head><title>Backups - Site</title><style>x{}</style></head><body>
        <header><a>Skip</a></header><nav><ul><li>Elsewhere</li></ul></nav><main><article>
        <h1 id="backups">Backups<a class="headerlink" href="#backups">¶</a></h1><p>Kept &amp; <em>safe</em>.</p>
        <h2 id="restore_1">Restore <code>now</code><a class="headerlink">¶</a></h2>
        <ul><li>one</li><li>two</li></ul>
        <div class="highlight"><pre><span></span><code class="language-sh">restore --all
done
</code></pre></div><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><p>2</p></td></tr></table>
        <p data-search-exclude>not this</p></article></main><footer>Imprint</footer><script>no()</script></body></html>"##;
    insta::assert_snapshot!(shown(html), @r"
    0  #-:
    1 Backups #backups: Kept & safe.
    2 Restore now #restore_1: >one ; >two ; [sh] restore --all / done ; a | b / 1 | 2
    ");
}

#[test]
fn ids_around_a_heading_or_in_it_are_found() {
    let html =
        "<body><section id='install'><h2>Install</h2><p>x</p></section><h2><a name='use'></a>Use</h2><p>y</p></body>";
    insta::assert_snapshot!(shown(html), @r"
    0  #-:
    2 Install #install: x
    2 Use #use: y
    ");
}

#[test]
fn a_page_can_ask_to_be_left_out_and_may_lack_everything() {
    assert!(parse("<meta name=robots content='noindex, follow'><p>x</p>").unwrap().front_matter.excluded);
    assert_eq!(parse("<title> A  page </title><p>x").unwrap().front_matter.title.as_deref(), Some("A page"));
    assert_eq!(parse("").unwrap().sections.len(), 1);
    let deep = format!("{}x", "<div>".repeat(50_000));
    assert!(parse(&deep).is_none());
    let long = "<ul>".to_owned() + &"<li>x<p>y<br><img>".repeat(20_000);
    assert!(parse(&long).is_some());
}

#[test]
fn steps_admonitions_and_tabs_of_a_built_site_are_blocks() {
    let html = r#"<article><h1 id="t">T</h1><p>Do this with <code>x --y</code>:</p><ol start="2"><li><p>First</p>
        <div class="language-sh highlight"><span class="filename">run.sh</span><pre><code>one</code></pre></div></li><li>Second</li></ol>
        <div class="admonition warning"><p class="admonition-title">Mind</p><p>Hot.</p></div>
        <details class="tip"><summary>More</summary><p>Hidden.</p></details>
        <div class="tabbed-set"><input type="radio"><div class="tabbed-labels"><label>Bash</label><label>Zsh</label></div>
        <div class="tabbed-content"><div class="tabbed-block"><p>In bash.</p></div><div class="tabbed-block"><p>In zsh.</p></div></div></div>
        <p>After.</p></article>"#;
    insta::assert_snapshot!(shown(html), @r"
    0  #-:
    1 T #t: Do this with `x --y`: ; >2. First ; >[sh run.sh] one ; >3. Second ; !Mind Hot. ; !More Hidden. ; =Bash In bash. ; =Zsh In zsh. ; After.
    ");
}
