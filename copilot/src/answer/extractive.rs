//! An answer made of the documents' own sentences.

use std::collections::HashSet;

use super::{Answer, Citation, sentences::sentences};
use crate::{
    index::language::Language,
    search::{Found, Hit, rank::Matchers, snippet},
};

/// Passages that are read for an answer.
pub const PASSAGES: usize = 5;
/// Most sentences of an answer.
const SENTENCES: usize = 4;
/// Passages this far below the best one are not quoted.
const NEAR_THE_BEST: f32 = 0.55;
/// Shortest sentence that says something, in bytes.
const SHORTEST: usize = 25;

struct Candidate {
    hit: usize,
    order: usize,
    text: String,
    words: HashSet<String>,
    value: f32,
}

/// Builds the answer from the best passages of `found`, or abstains.
#[must_use]
pub fn answer(found: &Found, matchers: &Matchers, language: Language) -> Answer {
    if !found.evidence.suffices() {
        return Answer::abstain(found);
    }
    let best = found.hits.first().map_or(0.0, |hit| hit.score);
    let hits: Vec<&Hit> = found.hits.iter().take(PASSAGES).filter(|hit| hit.score >= best * NEAR_THE_BEST).collect();
    let candidates = candidates(&hits, best, matchers, language);
    let chosen = choose(&candidates, matchers);
    if chosen.is_empty() {
        return Answer::abstain(found);
    }
    let mut text = String::new();
    let mut citations: Vec<Citation> = Vec::new();
    let mut numbers: Vec<Option<usize>> = vec![None; hits.len()];
    for candidate in chosen {
        let number = *numbers[candidate.hit].get_or_insert_with(|| {
            citations.push(Citation::of(citations.len() + 1, hits[candidate.hit], String::new()));
            citations.len()
        });
        let quote = &mut citations[number - 1].quote;
        for part in [quote, &mut text] {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(candidate.text.trim_end_matches([';', ',']));
        }
        if !text.ends_with(['.', '!', '?', ':', '。', '！', '？']) {
            text.push('.');
        }
        text.push_str(&format!(" [{number}]"));
    }
    Answer { text, citations, grounded: true, nearest: Vec::new() }
}

fn candidates(hits: &[&Hit], best: f32, matchers: &Matchers, language: Language) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (at, hit) in hits.iter().enumerate() {
        let heading = hit.chunk.heading_path.join(" ");
        let named: HashSet<String> =
            snippet::marks(&heading, matchers, language).into_iter().map(|(_, _, stem)| stem).collect();
        for (order, text) in sentences(&hit.chunk.body).into_iter().enumerate() {
            if text.len() < SHORTEST || text.ends_with(':') || text.ends_with('?') || text.contains('|') {
                continue;
            }
            let mut words = HashSet::new();
            let mut value = 0.0;
            for (_, information, stem) in snippet::marks(&text, matchers, language) {
                if words.insert(stem) {
                    value += information;
                }
            }
            // What the heading says need not be repeated by the sentence.
            for stem in &named {
                if !words.contains(stem) {
                    value += 0.4 * matchers.stems.get(stem).copied().unwrap_or(0.0);
                }
            }
            // The first sentences of a section say what it is about.
            value *= 1.0 + 0.25 / (1 + order) as f32;
            value *= hit.score / best;
            if text.len() > 320 {
                value *= 0.8;
            }
            candidates.push(Candidate { hit: at, order, text, words, value });
        }
    }
    candidates
}

/// Takes the best sentences one by one, each for what it adds, and puts them in reading order.
fn choose<'a>(candidates: &'a [Candidate], matchers: &Matchers) -> Vec<&'a Candidate> {
    let mut chosen: Vec<&Candidate> = Vec::new();
    let mut covered: HashSet<&str> = HashSet::new();
    let first = candidates.iter().map(|candidate| candidate.value).fold(0.0, f32::max);
    while chosen.len() < SENTENCES {
        let gain = |candidate: &Candidate| {
            let repeated: f32 = candidate
                .words
                .iter()
                .filter(|word| covered.contains(word.as_str()))
                .map(|word| matchers.stems.get(word).copied().unwrap_or(0.0))
                .sum();
            candidate.value - 0.5 * repeated
        };
        let best = candidates
            .iter()
            .filter(|candidate| {
                !chosen.iter().any(|taken| std::ptr::eq(*taken, *candidate) || same(&taken.text, &candidate.text))
            })
            .max_by(|a, b| gain(a).total_cmp(&gain(b)).then(b.hit.cmp(&a.hit)).then(b.order.cmp(&a.order)));
        let Some(best) = best else { break };
        if gain(best) <= 0.0 || (!chosen.is_empty() && gain(best) < 0.45 * first) {
            break;
        }
        covered.extend(best.words.iter().map(String::as_str));
        chosen.push(best);
    }
    chosen.sort_by_key(|candidate| (candidate.hit, candidate.order));
    chosen
}

/// Whether two sentences say the same in nearly the same words, as repeated boilerplate does.
fn same(a: &str, b: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<HashSet<_>>();
    let (a, b) = (words(a), words(b));
    let shared = a.intersection(&b).count();
    shared * 10 >= a.len().min(b.len()).max(1) * 8
}

#[cfg(test)]
mod tests {
    use crate::{
        answer::{Answer, NOT_IN_THE_DOCS},
        index::language::Language,
        search::{Request, Synonyms, Tuning, search, tests as fixture},
    };

    fn ask(question: &str) -> Answer {
        let chunks = [
            fixture::chunk(
                "https://d/backup/#restore",
                "Backups",
                "Backups are taken nightly. To restore a database, run the restore job with the backup's date. \
                 Restores take minutes.",
            ),
            fixture::chunk("https://d/net/", "Networks", "Networks are isolated by default. Open a port with a rule."),
            fixture::chunk("https://d/users/", "Users", "Users sign in with a password and a second factor."),
        ];
        let index = [fixture::index("public", &chunks)];
        let request = Request { text: question, limit: 5, offset: 0, per_page: 0, section: None };
        let found = search(&index, &request, &Synonyms::default(), &Tuning::default()).unwrap();
        super::answer(&found, &found.matchers, Language::English)
    }

    #[test]
    fn every_sentence_is_quoted_and_cited() {
        let answer = ask("How do I restore a database from a backup?");
        assert!(answer.grounded);
        assert!(
            answer.text.contains("To restore a database, run the restore job with the backup's date. [1]"),
            "{}",
            answer.text
        );
        assert_eq!(answer.citations[0].url, "https://d/backup/#restore");
        assert!(answer.citations.iter().all(|citation| !citation.quote.is_empty()));
    }

    #[test]
    fn a_question_that_the_documents_do_not_answer_gets_none() {
        for question in
            ["How do I bake sourdough bread?", "", "what is it", "database migration to Oracle licences in Brazil"]
        {
            let answer = ask(question);
            assert!(!answer.grounded, "{question}: {answer:?}");
            assert!(answer.text.starts_with(NOT_IN_THE_DOCS) && answer.citations.is_empty());
        }
    }
}
