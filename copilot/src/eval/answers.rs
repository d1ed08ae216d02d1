//! Measuring answers: is the page found, is the question answered, and does the answer hold what it must.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{self, Answer, AnswerKind, confidence::Features},
    index::reader::LoadedIndex,
    search::{self, Request},
};

/// Sections of a ranking that are looked at for pages.
const DEPTH: usize = 40;

/// What kind of question one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// A command, code or steps.
    HowTo,
    /// A number, a name, a yes or no.
    Fact,
    /// What something is.
    Definition,
    /// In words that the page hardly uses.
    Paraphrase,
    /// A flag, field, metric.
    Identifier,
    /// With misspelt words.
    Typo,
    /// Nowhere in the documents.
    Unanswerable,
    /// Small talk.
    Chat,
}

impl QuestionKind {
    /// Whether the documents answer it.
    #[must_use]
    pub fn answerable(self) -> bool {
        !matches!(self, Self::Unanswerable | Self::Chat)
    }
}

/// What must be in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Must {
    /// This.
    One(String),
    /// One of these.
    Any(Vec<String>),
}

/// One question.
#[derive(Debug, Clone, Deserialize)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// What kind it is.
    pub kind: QuestionKind,
    /// The question.
    pub question: String,
    /// Source files, of which any answers it.
    #[serde(default)]
    pub pages: Vec<String>,
    /// What must be in the answer.
    #[serde(default)]
    pub must: Vec<Must>,
    /// The corpus that it is asked of, where a set has several.
    #[serde(default)]
    pub corpus: Option<String>,
}

/// What became of one question.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its id.
    pub id: String,
    /// What kind it is.
    pub kind: QuestionKind,
    /// Place of the first right page among the pages that were found, from 1.
    pub page: Option<usize>,
    /// Whether an answer was given.
    pub answered: bool,
    /// Whether it is grounded.
    pub grounded: bool,
    /// Whether it holds everything that it must; false for what cannot be answered.
    pub right: bool,
    /// What the answer would hold if none were withheld: whether abstention or the choice of blocks failed.
    pub would_be_right: bool,
    /// What decided whether to answer.
    pub features: Features,
    /// The probability.
    pub confidence: f32,
    /// Microseconds.
    pub micros: u64,
}

/// Reads a set: one JSON object a line.
///
/// # Errors
/// The file and line that cannot be read.
pub fn load(file: &Path) -> anyhow::Result<Vec<Question>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut questions = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let question: Question =
            serde_json::from_str(line).with_context(|| format!("{} line {number}", file.display()))?;
        if question.kind.answerable() && (question.must.is_empty() || question.pages.is_empty()) {
            bail!("{} line {number}: expected `pages` and `must` of a question that can be answered", file.display());
        }
        questions.push(question);
    }
    if questions.is_empty() {
        bail!("{} holds no question", file.display());
    }
    Ok(questions)
}

/// Asks every question as a reader would.
///
/// # Errors
/// When an index cannot be read.
pub fn run(
    questions: &[Question],
    indexes: &[Arc<LoadedIndex>],
    ranking: &search::Settings,
    settings: &answer::Settings,
) -> anyhow::Result<Vec<Outcome>> {
    let always = answer::Settings { confidence: 0.0, ..settings.clone() };
    let mut outcomes = Vec::new();
    for question in questions {
        let of_corpus = |index: &&Arc<LoadedIndex>| question.corpus.as_ref().is_none_or(|name| *name == index.corpus);
        let opened: Vec<Arc<LoadedIndex>> = indexes.iter().filter(of_corpus).cloned().collect();
        if opened.is_empty() {
            bail!(
                "{} is asked of corpus {}; expected an --index of it",
                question.id,
                question.corpus.as_deref().unwrap_or("?")
            );
        }
        let text = &question.question;
        let started = std::time::Instant::now();
        let outcome = answer::answer(&opened, text, ranking, settings)?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let forced = answer::answer(&opened, text, ranking, &always)?.answer;
        let request = Request { text, limit: DEPTH, offset: 0, per_page: 1, section: None, snippets: false };
        let found = search::search(&opened, &request, ranking)?;
        let right_page = |hit: &search::Hit| question.pages.contains(&hit.chunk.source_path);
        let answered = outcome.answer.kind == AnswerKind::Answer;
        outcomes.push(Outcome {
            id: question.id.clone(),
            kind: question.kind,
            page: found.hits.iter().position(right_page).map(|place| place + 1),
            answered,
            grounded: outcome.answer.grounded,
            right: answered && outcome.answer.grounded && holds(&outcome.answer, question),
            would_be_right: holds(&forced, question),
            features: outcome.features,
            confidence: outcome.answer.confidence,
            micros,
        });
    }
    Ok(outcomes)
}

/// Whether the answer holds all that it must. Letter case, white space and the marks around inline code do not count.
#[must_use]
pub fn holds(answer: &Answer, question: &Question) -> bool {
    let mut text = folded(&answer.text);
    for block in &answer.blocks {
        text.push(' ');
        text.push_str(&folded(&block.text));
    }
    let has = |wanted: &String| text.contains(&folded(wanted));
    question.kind.answerable()
        && question.must.iter().all(|must| match must {
            Must::One(wanted) => has(wanted),
            Must::Any(alternatives) => alternatives.iter().any(has),
        })
}

fn folded(text: &str) -> String {
    text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A share of questions, with its 95 % confidence interval (Wilson).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The share.
    pub share: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// Of the outcomes for which `holds`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of questions are small")]
    pub fn of(outcomes: &[&Outcome], holds: impl Fn(&Outcome) -> bool) -> Self {
        let (count, of) = (outcomes.iter().filter(|outcome| holds(outcome)).count(), outcomes.len());
        if of == 0 {
            return Self::default();
        }
        const Z: f64 = 1.96;
        let (n, share) = (of as f64, count as f64 / of as f64);
        let middle = share + Z * Z / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Self { count, of, share, low: ((middle - half) / scale).max(0.0), high: ((middle + half) / scale).min(1.0) }
    }
}

/// The measures of one kind of question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Row {
    /// A right page is first.
    pub found_1: Share,
    /// A right page is among the first five.
    pub found_5: Share,
    /// An answer was given.
    pub answered: Share,
    /// It holds what it must.
    pub right: Share,
    /// It would, if no answer were withheld.
    pub would_be_right: Share,
    /// An answer was given and does not.
    pub wrong: Share,
}

/// The measures by kind.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> BTreeMap<QuestionKind, Row> {
    let mut by_kind: BTreeMap<QuestionKind, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        by_kind.entry(outcome.kind).or_default().push(outcome);
    }
    let row = |outcomes: &Vec<&Outcome>| Row {
        found_1: Share::of(outcomes, |outcome| outcome.page == Some(1)),
        found_5: Share::of(outcomes, |outcome| outcome.page.is_some_and(|place| place <= 5)),
        answered: Share::of(outcomes, |outcome| outcome.answered),
        right: Share::of(outcomes, |outcome| outcome.right),
        would_be_right: Share::of(outcomes, |outcome| outcome.would_be_right),
        wrong: Share::of(outcomes, |outcome| outcome.answered && !outcome.right),
    };
    by_kind.iter().map(|(kind, outcomes)| (*kind, row(outcomes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::Settings,
        search::tests::{chunk, index},
    };

    fn question(line: &str) -> Question {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn answers_are_held_against_what_they_must_hold() {
        let mut backup = chunk("https://d/b/", "Backups", "To restore a database, run `restore  --all` with the date.");
        backup.source_path = "b.md".to_owned();
        let other = chunk("https://d/n/", "Networks", "Open a port with a rule.");
        let indexes = [index("public", &[backup, other])];
        let questions = [
            question(
                r#"{"id":"1","kind":"how_to","question":"How do I restore a database?","pages":["b.md"],"must":["RESTORE --all",["x","date"]]}"#,
            ),
            question(
                r#"{"id":"2","kind":"fact","question":"How do I restore a database?","pages":["c.md"],"must":["nothing"]}"#,
            ),
            question(r#"{"id":"3","kind":"unanswerable","question":"How do I bake bread?","pages":[],"must":[]}"#),
            question(r#"{"id":"4","kind":"chat","question":"hi"}"#),
        ];
        let outcomes = run(&questions, &indexes, &search::Settings::default(), &Settings::default()).unwrap();
        let seen: Vec<_> = outcomes.iter().map(|o| (o.page, o.answered, o.right)).collect();
        assert_eq!(seen, [(Some(1), true, true), (None, true, false), (None, false, false), (None, false, false)]);
        let table = table(&outcomes);
        assert_eq!((table[&QuestionKind::Fact].wrong.count, table[&QuestionKind::HowTo].right.share), (1, 1.0));
        let member = question(r#"{"id":"5","kind":"chat","question":"hi","corpus":"member"}"#);
        let refused = run(&[member], &indexes, &search::Settings::default(), &Settings::default()).unwrap_err();
        assert!(refused.to_string().contains("corpus member"), "{refused}");
    }

    #[test]
    fn an_interval_is_wilsons() {
        let outcome = |right| Outcome {
            id: String::new(),
            kind: QuestionKind::Fact,
            page: None,
            answered: right,
            grounded: right,
            right,
            would_be_right: right,
            features: Features::default(),
            confidence: 0.0,
            micros: 0,
        };
        let outcomes: Vec<Outcome> = (0..10).map(|n| outcome(n < 8)).collect();
        let share = Share::of(&outcomes.iter().collect::<Vec<_>>(), |outcome| outcome.right);
        assert!((share.low - 0.4902).abs() < 0.001 && (share.high - 0.9433).abs() < 0.001, "{share:?}");
    }

    #[test]
    fn a_set_that_is_none_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("set.jsonl");
        for (text, wrong) in [
            ("", "holds no question"),
            ("{\"id\":\"1\"}", "line 1"),
            ("{\"id\":\"1\",\"kind\":\"fact\",\"question\":\"q\"}", "expected `pages` and `must`"),
        ] {
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", load(&file).unwrap_err());
            assert!(error.contains(wrong), "{error}");
        }
    }
}
