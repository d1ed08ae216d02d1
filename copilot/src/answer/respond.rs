//! From a question to the answer that the reader gets.

use std::{collections::HashMap, sync::Arc};

use super::{
    Answer, AnswerKind, Choice,
    chat::{self, SmallTalk},
    compose,
    confidence::{Features, MODEL, THRESHOLD},
    parts::Source,
    signals,
    worth::AnalysedQuestion,
};
use crate::{
    index::{
        language::Language,
        reader::{LoadedIndex, OpenFault},
        traits::Traits,
    },
    search::{self, Correction, Evidence, Hit, Intent, Query, Request, SearchResults, Work},
};

/// Hits whose neighbours are looked at.
const WITH_NEIGHBOURS: usize = 2;
/// Sections of the best page that are looked at for commands when the question asks how.
const OF_THE_PAGE: usize = 10;
/// Words of headings under which commands stand.
const USAGE: [&str; 20] = [
    "usage",
    "use",
    "using",
    "run",
    "running",
    "example",
    "examples",
    "quick",
    "quickstart",
    "start",
    "command",
    "commands",
    "execute",
    "apply",
    "steps",
    "how",
    "procedure",
    "install",
    "deploy",
    "invoke",
];
/// Sections of a page that are looked at on both sides of a hit.
const NEIGHBOURS: [i64; 3] = [1, 2, -1];

/// How questions are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How pieces are chosen.
    pub choice: Choice,
    /// Least probability with which a question is answered.
    pub confidence: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { choice: Choice::default(), confidence: THRESHOLD }
    }
}

/// An answer, and what was known when it was made.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// Sections that it may quote, the best first; none where it is no answer.
    pub sources: Vec<Hit>,
    /// What decided whether it is one.
    pub features: Features,
    /// What the search did.
    pub work: Work,
    /// Not all of the question was searched for.
    pub truncated: bool,
}

/// Answers from `indexes`, or says that they do not answer.
///
/// # Errors
/// When an index cannot be read.
pub fn answer(
    indexes: &[Arc<LoadedIndex>],
    question: &str,
    ranking: &search::Settings,
    settings: &Settings,
) -> Result<Outcome, OpenFault> {
    let language = indexes.first().map(|index| index.lexicon.language).unwrap_or_default();
    let fixed = chat::fixed(language);
    let outcome =
        |answer, features, work, truncated| Outcome { answer, sources: Vec::new(), features, work, truncated };
    let plain = |answer| outcome(answer, Features::default(), Work::default(), false);
    if let Some((talk, own)) = chat::small_talk(question) {
        return Ok(plain(Answer::fixed(AnswerKind::Chat, chat::reply(talk, own.unwrap_or(language)), &[])));
    }
    let choice = &settings.choice;
    let request =
        Request { text: question, limit: choice.sections, offset: 0, per_page: 0, section: None, snippets: false };
    let found = search::search(indexes, &request, ranking)?;
    let (work, truncated) = (found.work, found.truncated);
    let unscored = |answer| outcome(answer, Features::default(), work, truncated);
    if is_nonsense(&found) {
        let text = chat::reply(SmallTalk::Nonsense, language);
        return Ok(unscored(Answer::fixed(AnswerKind::Chat, text, &[])));
    }
    if found.intent == Intent::Keywords {
        let (kind, text) =
            if found.hits.is_empty() { (AnswerKind::None, fixed.none) } else { (AnswerKind::Hits, fixed.hits) };
        let mut answer = Answer::fixed(kind, text, &found.hits);
        answer.corrections = found.corrections;
        return Ok(unscored(answer));
    }
    let sources = sources(indexes, &found, choice)?;
    let intent = if asks_how(question, language) { Intent::HowTo } else { found.intent };
    let analysed = AnalysedQuestion { text: question, intent, matchers: &found.matchers, language };
    let composed = compose::compose(&sources, analysed, choice);
    let signals = signals::signals(indexes, question, &found, (&composed, &sources));
    let features = Features::of(&found.evidence, composed.best, &signals);
    let confidence = MODEL.probability(&features);
    // A question of nothing but grammar asks for nothing that documents could hold.
    let withheld = found.evidence.words == 0 || confidence < settings.confidence;
    let answer = if composed.blocks.is_empty() || withheld {
        Answer { confidence, ..Answer::fixed(AnswerKind::None, fixed.none, &found.hits) }
    } else {
        Answer {
            text: correction_note(&found.corrections, language) + &composed.markdown,
            kind: AnswerKind::Answer,
            blocks: composed.blocks,
            citations: composed.citations,
            grounded: true,
            confidence,
            nearest: Vec::new(),
            corrections: found.corrections,
        }
    };
    let sources = if answer.kind == AnswerKind::Answer { by_worth(sources) } else { Vec::new() };
    Ok(Outcome { sources, ..outcome(answer, features, work, truncated) })
}

/// The sections, the best first.
fn by_worth(mut sources: Vec<Source>) -> Vec<Hit> {
    sources.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    sources.into_iter().map(|source| source.hit).collect()
}

/// Says which words were searched in another form.
#[must_use]
pub fn correction_note(corrections: &[Correction], language: Language) -> String {
    if corrections.is_empty() {
        return String::new();
    }
    let words: Vec<String> = corrections.iter().map(|word| format!("“{}”", super::render::escape(&word.to))).collect();
    format!("*{} {}*\n\n", chat::fixed(language).corrected, words.join(", "))
}

/// Whether a part of the question asks how, though its beginning does not: "I have one machine, allow pods on it".
fn asks_how(question: &str, language: Language) -> bool {
    let parts = question.split([',', ';', ':', '.', '?', '!']).filter(|part| !part.trim().is_empty());
    parts.map(|part| Intent::of(part, &Query::parse(part, language))).any(|intent| intent == Intent::HowTo)
}

/// Several words of which the documents know none, and nothing that makes them a question.
fn is_nonsense(found: &SearchResults) -> bool {
    let Evidence { words, unknown, function_words, .. } = found.evidence;
    words >= 2 && unknown == words && function_words == 0
}

/// The sections that may be quoted: those that were found and their neighbours on the page, each with its worth.
fn sources(indexes: &[Arc<LoadedIndex>], found: &SearchResults, choice: &Choice) -> Result<Vec<Source>, OpenFault> {
    let best = found.hits.first().map_or(1.0, |hit| hit.score).max(f32::MIN_POSITIVE);
    let mut pages: HashMap<(usize, u32), f32> = HashMap::new();
    let total: f32 = found.hits.iter().map(|hit| hit.score).sum::<f32>().max(f32::MIN_POSITIVE);
    for hit in &found.hits {
        *pages.entry(page_of(indexes, hit)).or_default() += hit.score / total;
    }
    let mut sources: Vec<Source> = found
        .hits
        .iter()
        .map(|hit| {
            let share = pages.get(&page_of(indexes, hit)).copied().unwrap_or(0.0);
            Source { weight: hit.score / best * (1.0 + choice.page * share), hit: hit.clone() }
        })
        .collect();
    let mut inherit: Vec<(usize, u32, f32)> = Vec::new();
    for source in sources.iter().take(WITH_NEIGHBOURS) {
        for step in NEIGHBOURS {
            if let Ok(doc) = u32::try_from(i64::from(source.hit.doc) + step) {
                #[expect(clippy::cast_precision_loss, reason = "one or two")]
                let share = choice.neighbour / step.unsigned_abs() as f32;
                if same_page(indexes, &source.hit, doc) {
                    inherit.push((source.hit.index, doc, source.weight * share));
                }
            }
        }
    }
    if found.intent == Intent::HowTo
        && let Some(best) = sources.iter().max_by(|a, b| a.weight.total_cmp(&b.weight))
    {
        inherit.extend(commands_of_the_page(indexes, &best.hit, best.weight * choice.usage)?);
    }
    for (index, doc, weight) in inherit {
        let known = sources.iter_mut().find(|known| known.hit.index == index && known.hit.doc == doc);
        match known {
            Some(known) => known.weight = known.weight.max(weight),
            None => {
                let Some(loaded) = indexes.get(index) else { continue };
                let (chunk, corpus) = (Arc::new(loaded.chunk(doc)?), loaded.corpus.clone());
                let hit = Hit { chunk, corpus, score: 0.0, snippet: String::new(), index, doc };
                sources.push(Source { hit, weight });
            }
        }
    }
    Ok(sources)
}

/// Sections of the hit's page with commands, code or steps under a heading that says so: what a page is about stands at
/// its beginning, how it is done further down.
fn commands_of_the_page(
    indexes: &[Arc<LoadedIndex>],
    hit: &Hit,
    weight: f32,
) -> Result<Vec<(usize, u32, f32)>, OpenFault> {
    let Some(loaded) = indexes.get(hit.index) else { return Ok(Vec::new()) };
    let shows = Traits::CODE | Traits::COMMANDS | Traits::STEPS;
    let first = hit.doc - hit.chunk.ordinal.min(hit.doc);
    let mut found = Vec::new();
    for doc in (first..).take_while(|doc| same_page(indexes, hit, *doc)) {
        if found.len() == OF_THE_PAGE {
            break;
        }
        if loaded.traits.get(doc as usize).is_some_and(|traits| traits.any(shows)) {
            let chunk = loaded.chunk(doc)?;
            let heading = chunk.heading().to_lowercase();
            let says = heading.split(|c: char| !c.is_alphanumeric()).any(|word| USAGE.contains(&word));
            found.push((hit.index, doc, if says { weight } else { weight * 0.5 }));
        }
    }
    Ok(found)
}

fn same_page(indexes: &[Arc<LoadedIndex>], hit: &Hit, doc: u32) -> bool {
    let page = |doc: u32| indexes.get(hit.index).and_then(|index| index.pages.get(doc as usize));
    page(doc).is_some() && page(doc) == page(hit.doc)
}

fn page_of(indexes: &[Arc<LoadedIndex>], hit: &Hit) -> (usize, u32) {
    let page = indexes.get(hit.index).and_then(|index| index.pages.get(hit.doc as usize));
    (hit.index, page.copied().unwrap_or(0))
}
