use super::*;
use crate::index::{block::Block, language::Language, writer};

pub(crate) fn chunk(url: &str, title: &str, body: &str) -> Chunk {
    let page_url = url.split('#').next().unwrap_or(url).to_owned();
    Chunk {
        url: url.to_owned(),
        page_url,
        page_title: title.to_owned(),
        heading_path: vec![title.to_owned()],
        blocks: vec![Block::paragraph(body)],
        boost: 1.0,
        ..Chunk::default()
    }
}

pub(crate) fn index(corpus: &str, chunks: &[Chunk]) -> Arc<LoadedIndex> {
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), chunks, Language::English).unwrap();
    Arc::new(LoadedIndex::open(dir.path(), corpus, "1").unwrap())
}

fn request(text: &str) -> Request<'_> {
    Request { text, limit: 10, offset: 0, per_page: 0, section: None, snippets: true }
}

fn found(indexes: &[Arc<LoadedIndex>], text: &str) -> SearchResults {
    search(indexes, &request(text), &Settings::default()).unwrap()
}

fn urls(found: &SearchResults) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.chunk.url.as_str()).collect()
}

fn corpus() -> Vec<Chunk> {
    vec![
        chunk("https://d/pods/", "Pods", "A pod is the smallest unit. The --dry-run flag prints it without sending."),
        chunk(
            "https://d/deploy/",
            "Deployments",
            "A deployment keeps replicas of pods running. Set hostNetwork in the pod.",
        ),
        chunk(
            "https://d/quota/",
            "Resource quotas",
            "Quotas bound what a namespace may use. See HYOPS_INPUT_region and foo.bar().",
        ),
        chunk("https://d/scale/", "Scaling", "The Horizontal Pod Autoscaler (HPA) adds replicas under load."),
        chunk(
            "https://d/long/",
            "Everything",
            "Pods, quotas, deployments and replicas, each of them at length, in a page on everything.",
        ),
    ]
}

#[test]
fn words_headings_and_identifiers_are_found() {
    let index = [index("public", &corpus())];
    assert_eq!(urls(&found(&index, "what is a pod?"))[0], "https://d/pods/");
    assert_eq!(urls(&found(&index, "resource quotas"))[0], "https://d/quota/");
    assert_eq!(urls(&found(&index, "--dry-run"))[0], "https://d/pods/");
    assert_eq!(urls(&found(&index, "HYOPS_INPUT_region"))[0], "https://d/quota/");
    assert_eq!(urls(&found(&index, "foo.bar()"))[0], "https://d/quota/");
    assert_eq!(urls(&found(&index, "host network"))[0], "https://d/deploy/");
    assert_eq!(urls(&found(&index, "hostNetwork"))[0], "https://d/deploy/");
}

#[test]
fn misspelt_and_unfinished_words_are_found_and_told() {
    let index = [index("public", &corpus())];
    let misspelt = found(&index, "deploymnet replicas");
    assert_eq!(misspelt.corrections, [Correction { from: "deploymnet".into(), to: "deployment".into() }]);
    assert_eq!(urls(&misspelt)[0], "https://d/deploy/");
    assert_eq!(urls(&found(&index, "autosc"))[0], "https://d/scale/");
    assert!(found(&index, "xylophone").hits.is_empty());
}

#[test]
fn acronyms_are_learned_from_the_documents() {
    let mut chunks = corpus();
    chunks.push(chunk("https://d/hpa/", "Troubleshooting", "When the HPA does not react, look at the metrics."));
    let index = [index("public", &chunks)];
    let mut found =
        urls(&found(&index, "horizontal pod autoscaler")).into_iter().map(str::to_owned).collect::<Vec<_>>();
    found.truncate(3);
    assert!(found.contains(&"https://d/hpa/".to_owned()), "{found:?}");
}

#[test]
fn a_function_word_never_reorders_the_results() {
    let index = [index("public", &corpus())];
    let with = found(&index, "how can i get the replicas of a deployment");
    let without = found(&index, "replicas deployment");
    assert_eq!(urls(&with), urls(&without));
}

#[test]
fn snippets_mark_words_and_escape_the_rest() {
    let chunks = [chunk("https://d/x/", "X", "Use <script>alert('pods')</script> & \"pods\" never.")];
    let hits = found(&[index("public", &chunks)], "pod").hits;
    assert_eq!(
        hits[0].snippet,
        "Use &lt;script&gt;alert(&#39;<mark>pods</mark>&#39;)&lt;/script&gt; &amp; &quot;<mark>pods</mark>&quot; never."
    );
}

#[test]
fn two_corpora_rank_as_one() {
    let all = corpus();
    let together = [index("one", &all)];
    let apart = [index("public", &all[..2]), index("member", &all[2..])];
    for text in ["pod", "replicas of pods", "quotas", "what bounds a namespace", "horizontal pod autoscaler"] {
        let (together, apart) = (found(&together, text), found(&apart, text));
        let scores = |found: &SearchResults| -> Vec<(String, String)> {
            let mut rows: Vec<(String, String)> =
                found.hits.iter().map(|hit| (hit.chunk.url.clone(), format!("{:.3}", hit.score))).collect();
            rows.sort();
            rows
        };
        assert_eq!(scores(&together), scores(&apart), "{text}");
        assert_eq!(together.total, apart.total);
    }
}

#[test]
fn paging_and_grouping_are_stable() {
    let chunks: Vec<Chunk> =
        (0..30).map(|n| chunk(&format!("https://d/p{}/#s{n}", n % 3), "Same", "the same words everywhere")).collect();
    let index = [index("public", &chunks)];
    let page = |offset, per_page| {
        let request = Request { text: "same words", limit: 10, offset, per_page, section: None, snippets: true };
        search(&index, &request, &Settings::default()).unwrap()
    };
    let all: Vec<String> = (0..3).flat_map(|n| page(n * 10, 0).hits).map(|hit| hit.chunk.url.clone()).collect();
    let mut distinct = all.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((all.len(), distinct.len()), (30, 30));
    assert_eq!((page(0, 2).hits.len(), page(0, 2).total), (6, 6));
}

/// Many words in one section each, and `everywhere`.
fn wide() -> Vec<Chunk> {
    let body =
        |n: u32| format!("everywhere common{} rare{} ", char::from(b'a' + u8::try_from(n % 3).unwrap()), letters(n));
    (0..300).map(|n| chunk(&format!("https://d/p{n}/"), &format!("Page {}", letters(n)), &body(n))).collect()
}

fn letters(n: u32) -> String {
    (0..3).map(|at| char::from(b'a' + u8::try_from(n / 10_u32.pow(at) % 10).unwrap())).collect()
}

fn within(index: &[Arc<LoadedIndex>], text: &str, most: Work) -> (Ranking, Budget) {
    let mut budget = Budget::of(most);
    let query = Query::parse(text, Language::English);
    let settings = Settings::default();
    let scope = Scope { indexes: index, query: &query, intent: Intent::Fact, settings: &settings };
    let ranking = rank::rank(&scope, &mut budget).unwrap();
    (ranking, budget)
}

#[test]
fn the_work_of_a_query_is_bounded_and_the_rarest_words_come_first() {
    let index = [index("public", &wide())];
    let text = "everywhere commona commonb commonc rareaba";
    let (whole, unbounded) = within(&index, text, budget::MOST);
    assert!(!unbounded.is_truncated() && unbounded.done().postings > 1000, "{unbounded:?}");
    for postings in [0, 50, 200, 900] {
        let most = Work { postings, terms: 1000 };
        let (ranking, spent) = within(&index, text, most);
        let again = within(&index, text, most);
        assert_eq!((&ranking.scored, spent.done()), (&again.0.scored, again.1.done()), "the same every time");
        assert!(spent.done().postings <= postings && spent.done().terms <= 1000, "{spent:?}");
        assert!(spent.is_truncated());
        if postings > 0 {
            assert_eq!(ranking.scored[0].doc, whole.scored[0].doc, "{postings}");
        }
    }
    let (ranking, spent) = within(&index, "everywhere", Work { postings: 80, terms: 1000 });
    assert!(spent.is_truncated() && !ranking.scored.is_empty(), "one word that is everywhere is still found");
    let (_, spent) = within(&index, text, Work { postings: 10_000, terms: 9 });
    assert!(spent.is_truncated() && spent.done().terms == 9, "{spent:?}");
}

#[test]
fn a_few_words_are_corrected_and_the_rest_is_told() {
    let index = [index("public", &wide())];
    let found = found(&index, "rareabax rarebbax rarecccx everywherx rareddax.");
    let corrected: Vec<&str> = found.corrections.iter().map(|correction| correction.from.as_str()).collect();
    assert_eq!(corrected, ["rareabax", "rarebbax", "everywherx"], "the longest first, then in order");
    assert!(found.truncated);
    assert!(!search(&index, &request("rareabax everywherx"), &Settings::default()).unwrap().truncated);
}

proptest::proptest! {
    #[test]
    fn no_text_fails(text in "\\PC{0,60}") {
        thread_local! {
            static INDEX: [Arc<LoadedIndex>; 1] = [index("public", &corpus())];
        }
        INDEX.with(|index| {
            let found = found(index, &text);
            assert!(found.hits.iter().all(|hit| hit.score.is_finite()));
        });
    }
}

#[test]
fn everyday_words_find_what_documentation_calls_otherwise() {
    let sections = [
        chunk("https://d/a/", "Termination", "The kubelet will terminate the pod after a grace period."),
        chunk("https://d/b/", "Creation", "The kubelet begins with the sandbox of a pod."),
        chunk("https://d/c/", "Sizes", "How large a pod may be."),
    ];
    let index = [index("public", &sections)];
    let first = |text: &str| urls(&found(&index, text)).first().map(|url| (*url).to_owned());
    assert_eq!(first("shut down a pod gracefully").as_deref(), Some("https://d/a/"));
    // The word itself comes before what stands for it.
    assert_eq!(first("kubelet begins what").as_deref(), Some("https://d/b/"));
    let found = found(&index, "shut down a pod gracefully");
    assert!(found.evidence.covered < 1.0, "words in place of others are no evidence: {:?}", found.evidence);
    assert!(!found.hits[0].snippet.contains("<mark>terminate"), "{}", found.hits[0].snippet);
}

#[test]
fn sections_near_in_meaning_are_found_by_questions_alone() {
    let mut sections: Vec<Chunk> = (0..120_u32)
        .map(|n| {
            let company = ["oven dough yeast crust", "engine wheel brake petrol"][(n % 2) as usize];
            let name = [["bread", "loaf"], ["car", "automobile"]][(n % 2) as usize][(n / 2 % 2) as usize];
            chunk(
                &format!("https://d/{n}/"),
                &letters(n),
                &format!("A {name} {company} {} {}", letters(n * 7), letters(n * 5)),
            )
        })
        .collect();
    sections.push(chunk("https://d/only/", "Only", "The automobile oddity."));
    let index = [index("public", &sections)];
    let question = "why does my dough and yeast and crust matter";
    let with = found(&index, question);
    let tuning = Tuning { meaning: 0.0, ..Tuning::default() };
    let without = search(&index, &request(question), &Settings { tuning, ..Settings::default() }).unwrap();
    assert!(with.total >= without.total);
    assert_eq!(with.evidence.covered, without.evidence.covered);
    for text in ["automobile oddity", "--dry-run of the automobile oddity engine"] {
        let settings = Settings { tuning: Tuning { meaning: 0.0, ..Tuning::default() }, ..Settings::default() };
        let plain = search(&index, &request(text), &settings).unwrap();
        let scores = |found: &SearchResults| found.hits.iter().map(|hit| hit.score.to_bits()).collect::<Vec<_>>();
        assert_eq!(scores(&found(&index, text)), scores(&plain), "{text}");
    }
}
