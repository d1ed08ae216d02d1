//! Answers written by the operator's model from the passages that a grant opened. What the passages do not carry is left out;
//! what goes wrong leads to the extractive answer, which is there before the model is asked.

pub mod budget;
pub mod citations;
pub mod client;
pub mod draft;
pub mod fault;
pub mod grounding;
pub mod pause;
pub mod prompt;
pub mod rewrite;
pub mod secret;
pub mod units;
pub mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    answer::{Answer, Citation, correction_note},
    conversation::Turn,
    index::language::Language,
    metrics::Metrics,
    search::Hit,
};
use budget::{Budget, Charge, Daily};
use client::{Client, Reply};
use draft::{Draft, LeftOut};
use fault::Fault;
use grounding::Passage;
use pause::Pause;
use prompt::Message;
use units::Assembler;
use wire::Piece;

pub use client::{Patience, Upstream};

/// Most passages that the model is shown.
const MAX_PASSAGES: usize = 6;
/// Bytes of all of them together.
const MAX_CONTEXT: usize = 16_000;
/// Longest text that a model may say, in bytes.
const MAX_SAID: usize = 32 * 1024;
/// Tokens of a rewritten question.
const REWRITING_TOKENS: u32 = 80;
/// Longest wait for one.
const REWRITING_PATIENCE: Duration = Duration::from_secs(4);

/// How answers are generated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model.
    pub upstream: Upstream,
    /// Most tokens of one answer.
    pub max_tokens: u32,
    /// Answers that are generated at a time.
    pub concurrency: usize,
    /// Tokens a day.
    pub daily: Daily,
}

/// Asks the model.
#[derive(Debug)]
pub struct Generator {
    client: Client,
    budget: Arc<Budget>,
    pause: Pause,
    slots: Semaphore,
    max_tokens: u32,
}

/// A question with everything that is needed to answer it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The question as it is read.
    pub question: &'a str,
    /// Sections that may be used, the best first.
    pub sources: &'a [Hit],
    /// The answer without a model.
    pub extractive: &'a Answer,
    /// Language of the documents.
    pub language: Language,
    /// Pseudonym of the caller, if there is one.
    pub caller: Option<&'a str>,
    /// Id of the request.
    pub request_id: &'a str,
}

/// Who wrote an answer, and why not the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// `model`, or `documents` for the extractive answer.
    pub by: &'static str,
    /// Name of the model that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why it is not the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Sentences and blocks of code that were left out, because no passage carries them.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// Citations of passages that there are not.
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_citations: usize,
    /// The model had no tokens left; its last sentence is missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Generation {
    fn documents(reason: &'static str) -> Self {
        Self { by: "documents", model: None, reason: Some(reason), left_out: 0, unknown_citations: 0, cut: false }
    }
}

/// What a reader is told while an answer is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// More text.
    Delta(String),
    /// All sources so far.
    Citations(Vec<Citation>),
    /// What was said so far counts no more; the extractive answer follows.
    Failed(&'static str),
}

/// Where events go; nowhere for a reader who waits for the whole answer.
pub type Events = Option<mpsc::Sender<Event>>;

/// Counts an answer whose reader left before its end.
struct Running<'a> {
    metrics: &'a Metrics,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.generated(self.outcome, self.begun.elapsed());
    }
}

impl Generator {
    /// With nothing asked yet.
    ///
    /// # Errors
    /// A sentence about what cannot be used.
    pub fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(settings.upstream)?,
            budget: Budget::new(settings.daily),
            pause: Pause::default(),
            slots: Semaphore::new(settings.concurrency),
            max_tokens: settings.max_tokens,
        })
    }

    /// The model's answer, or the extractive one and why. Dropped before its end, it ends the request to the model.
    pub async fn answer(&self, asked: &Asked<'_>, events: &Events, metrics: &Metrics) -> (Answer, Generation) {
        let mut running = Running { metrics, begun: Instant::now(), outcome: "left" };
        let outcome = self.generate(asked, events, metrics).await;
        self.pause.note(outcome.as_ref().map(|_| ()).map_err(|fault| *fault), Instant::now());
        match outcome {
            Ok((answer, left_out, whole)) => {
                running.outcome = "model";
                metrics.left_out(left_out.units, left_out.unknown);
                let generation = Generation {
                    by: "model",
                    model: Some(self.client.model().to_owned()),
                    reason: None,
                    left_out: left_out.units,
                    unknown_citations: left_out.unknown,
                    cut: !whole,
                };
                (answer, generation)
            }
            Err(fault) => {
                running.outcome = fault.name();
                let status = if let Fault::Failed(status) = fault { Some(status) } else { None };
                tracing::warn!(request_id = asked.request_id, reason = fault.name(), status, "no generated answer");
                tell(events, Event::Failed(fault.told())).await;
                for piece in asked.extractive.pieces() {
                    tell(events, Event::Delta(piece.to_owned())).await;
                }
                tell(events, Event::Citations(asked.extractive.citations.clone())).await;
                (asked.extractive.clone(), Generation::documents(fault.told()))
            }
        }
    }

    async fn generate(
        &self,
        asked: &Asked<'_>,
        events: &Events,
        metrics: &Metrics,
    ) -> Result<(Answer, LeftOut, bool), Fault> {
        let passages = passages(asked);
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let messages = prompt::answer(&passages, asked.question, &mark);
        let deadline = tokio::time::Instant::now() + self.client.patience().total;
        let written = async {
            let mut answering = self.ask(&messages, asked.caller, self.max_tokens, deadline).await?;
            let mut draft = Draft::new(&passages, asked.language);
            let note = correction_note(&asked.extractive.corrections, asked.language);
            let whole = write(&mut answering, &mut draft, events, &note, metrics).await?;
            metrics.generation_tokens(answering.charge.used());
            if let Some(remark) = draft.remark() {
                tell(events, Event::Delta(remark)).await;
            }
            let (mut answer, left_out) = draft.finish(asked.extractive);
            answer.text.insert_str(0, &note);
            Ok((answer, left_out, whole))
        };
        // A reader who reads slowly holds the model's answer up: that too has its time.
        tokio::time::timeout_at(deadline, written).await.unwrap_or(Err(Fault::Slow))
    }

    /// Reserves what the answer may cost and asks.
    async fn ask(
        &self,
        messages: &[Message],
        caller: Option<&str>,
        most: u32,
        deadline: tokio::time::Instant,
    ) -> Result<Answering<'_>, Fault> {
        if self.pause.is_on(Instant::now()) {
            return Err(Fault::Paused);
        }
        let slot = self.slots.try_acquire().map_err(|_| Fault::Busy)?;
        let begun = Instant::now();
        let prompt: u64 = messages.iter().map(|message| prompt::tokens(&message.content)).sum();
        let mut charge = self.budget.reserve(caller, prompt + u64::from(most)).ok_or(Fault::Budget)?;
        let reply = self.client.ask(messages, most, deadline).await?;
        charge.add(prompt);
        Ok(Answering { reply, charge, begun, _slot: slot })
    }

    /// The last question so that it stands alone, by the model; `None` when it does not say so in time.
    pub async fn rewrite(
        &self,
        question: &str,
        earlier: &[Turn],
        caller: Option<&str>,
        metrics: &Metrics,
    ) -> Option<String> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let messages = prompt::rewriting(question, earlier, &mark);
        let deadline = tokio::time::Instant::now() + REWRITING_PATIENCE.min(self.client.patience().total);
        let said = async {
            let mut answering = self.ask(&messages, caller, REWRITING_TOKENS, deadline).await?;
            let mut said = String::new();
            while let Some(piece) = answering.next().await? {
                if let Piece::Text(text) = piece {
                    said.push_str(&text);
                }
            }
            metrics.generation_tokens(answering.charge.used());
            Ok(said)
        };
        let said = tokio::time::timeout_at(deadline, said).await.unwrap_or(Err(Fault::Slow));
        let rewritten = said.as_deref().ok().and_then(|said| rewrite::accepted(said, question, earlier));
        let outcome = match &said {
            Err(fault) => {
                self.pause.note(Err(*fault), Instant::now());
                fault.name()
            }
            Ok(_) if rewritten.is_some() => "model",
            Ok(_) => "ungrounded",
        };
        metrics.rewritten(outcome);
        rewritten
    }
}

/// An answer that comes in, with what it holds.
struct Answering<'a> {
    reply: Reply,
    charge: Charge,
    begun: Instant,
    _slot: tokio::sync::SemaphorePermit<'a>,
}

impl Answering<'_> {
    /// The next piece; its tokens are charged.
    async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        let piece = self.reply.next().await?;
        match &piece {
            Some(Piece::Text(text)) => self.charge.add(prompt::tokens(text)),
            Some(Piece::Usage { prompt, answer }) if prompt + answer > 0 => self.charge.set(prompt + answer),
            _ => {}
        }
        Ok(piece)
    }
}

/// Writes the answer as it comes in; says whether it came to its end.
async fn write(
    answering: &mut Answering<'_>,
    draft: &mut Draft<'_>,
    events: &Events,
    note: &str,
    metrics: &Metrics,
) -> Result<bool, Fault> {
    let mut assembler = Assembler::default();
    let (mut said, mut whole) = (String::new(), true);
    let mut told = Told { note, citations: 0 };
    while let Some(piece) = answering.next().await? {
        match piece {
            Piece::Text(text) => {
                if said.is_empty() {
                    metrics.first_token(answering.begun.elapsed());
                }
                said.push_str(&text);
                if said.len() > MAX_SAID {
                    return Err(Fault::TooLong);
                }
                for unit in assembler.push(&text) {
                    told.add(draft, &unit, events).await;
                }
                if draft.is_hopeless() {
                    return Err(Fault::Ungrounded);
                }
            }
            Piece::End { whole: came_to_its_end } => whole = came_to_its_end,
            Piece::Usage { .. } => {}
        }
    }
    for unit in assembler.end(whole) {
        told.add(draft, &unit, events).await;
    }
    match () {
        () if said.trim().is_empty() => Err(Fault::Empty),
        () if said.contains(prompt::NO_ANSWER) => Err(Fault::Declined),
        () if draft.citations().is_empty() || draft.is_nonsense() => Err(Fault::Ungrounded),
        () => Ok(whole),
    }
}

/// What the reader was told so far.
struct Told<'a> {
    /// Stands before the first sentence.
    note: &'a str,
    citations: usize,
}

impl Told<'_> {
    async fn add(&mut self, draft: &mut Draft<'_>, unit: &units::Unit, events: &Events) {
        let Some(delta) = draft.add(unit) else { return };
        // Sources first, so that a number is never shown before what it stands for.
        if draft.citations().len() > self.citations {
            self.citations = draft.citations().len();
            tell(events, Event::Citations(draft.citations().to_vec())).await;
        }
        tell(events, Event::Delta(std::mem::take(&mut self.note).to_owned() + &delta)).await;
    }
}

/// A reader who left is noticed where the answer is sent, not here.
async fn tell(events: &Events, event: Event) {
    if let Some(events) = events {
        let _ = events.send(event).await;
    }
}

/// The sources that fit into the prompt, as passages.
fn passages(asked: &Asked<'_>) -> Vec<Passage> {
    let mut left = MAX_CONTEXT;
    let passages = asked.sources.iter().map(|hit| Passage::new(hit.clone(), asked.language));
    let fits = passages.filter(|passage| !passage.text.trim().is_empty()).take_while(|passage| {
        let fits = passage.text.len() <= left;
        left = left.saturating_sub(passage.text.len());
        fits
    });
    fits.take(MAX_PASSAGES).collect()
}
