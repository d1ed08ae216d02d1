//! A search that costs as little as any other for the limits, and as much as can be for copilot: many words that no
//! document holds, each of them compared with the whole dictionary; many words that every document holds. What counts is
//! the work, not the time that a machine takes for it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use docsgate_harness::system_tool::shared_data;

use crate::gate::{Gate, Wanted, data, ok};

/// As `docs/public/copilot-api.md` promises.
const MOST_POSTINGS: f64 = 2_000_000.0;
const MOST_TERMS: f64 = 400_000.0;

#[test]
fn one_search_makes_a_bounded_amount_of_work() {
    let Some(docs) = shared_data("kubernetes-docs") else { return };
    let docs = docs.join("docs");
    let gate = Gate::with(Wanted { docs: Some([docs.clone(), data().join("docs/member")]), ..Wanted::default() });
    let ordinary = work(&gate, "how do I restore a cluster from an etcd snapshot");
    assert!(!ordinary.truncated && ordinary.postings < MOST_POSTINGS / 10.0, "{ordinary:?}");

    let unknown: Vec<String> = (0..64).map(|n| format!("kubernutas{}", letters(n))).collect();
    let unknown = work(&gate, &unknown.join(" "));
    assert!(unknown.truncated, "not every word is corrected, and that is said: {unknown:?}");
    assert!(unknown.terms <= MOST_TERMS && unknown.postings <= MOST_POSTINGS, "{unknown:?}");

    let frequent = work(&gate, &most_frequent(&docs, 64).join(" "));
    assert!(frequent.postings > ordinary.postings, "{frequent:?}");
    assert!(frequent.terms <= MOST_TERMS && frequent.postings <= MOST_POSTINGS, "{frequent:?}");
    println!("ordinary {ordinary:?}, unknown {unknown:?}, frequent {frequent:?}");

    let question = most_frequent(&docs, 150).join(" ");
    let answer = ok(gate.ask(&question).send().unwrap());
    assert_eq!(answer["truncated"], true, "more words than are searched for: {answer:#}");
}

/// What one search made copilot do, and whether the response says that something was left out.
#[derive(Debug)]
struct Work {
    postings: f64,
    terms: f64,
    truncated: bool,
}

fn work(gate: &Gate, question: &str) -> Work {
    let before =
        ["docsgate_copilot_search_postings_sum", "docsgate_copilot_search_terms_sum"].map(|name| metric(gate, name));
    let found = ok(gate.search(question).send().unwrap());
    let [postings, terms] =
        ["docsgate_copilot_search_postings_sum", "docsgate_copilot_search_terms_sum"].map(|name| metric(gate, name));
    Work { postings: postings - before[0], terms: terms - before[1], truncated: found["truncated"] == true }
}

fn metric(gate: &Gate, name: &str) -> f64 {
    let copilot = gate.stack.copilot.as_ref().unwrap();
    let text = gate.http.get(format!("{}/metrics", copilot.admin_url)).send().unwrap().text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

/// Two letters for each number, so that the words differ and none is an identifier.
fn letters(n: u8) -> String {
    [n / 8, n % 8].map(|digit| char::from(b'p' + digit)).iter().collect()
}

/// The words of five letters or more that most pages hold.
fn most_frequent(folder: &Path, count: usize) -> Vec<String> {
    let mut pages: HashMap<String, u32> = HashMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let text = std::fs::read_to_string(path).unwrap().to_lowercase();
                let words: HashSet<&str> = text.split(|c: char| !c.is_ascii_alphabetic()).collect();
                for word in words.into_iter().filter(|word| word.len() >= 5) {
                    *pages.entry(word.to_owned()).or_default() += 1;
                }
            }
        }
    }
    let mut words: Vec<(u32, String)> = pages.into_iter().map(|(word, count)| (count, word)).collect();
    words.sort_by(|a, b| b.cmp(a));
    words.into_iter().take(count).map(|(_, word)| word).collect()
}
