//! Answers made of the documents' own blocks, with citations that can be checked.

mod atom;
pub mod chat;
mod choice;
mod compose;
pub mod confidence;
mod parts;
mod render;
pub mod respond;
pub mod sentences;
pub mod signals;
mod worth;

use serde::Serialize;

use crate::search::{Correction, Hit};

pub use choice::Choice;
pub use respond::{Settings, answer, correction_note};

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// The documents answer.
    Answer,
    /// Keywords were given: places, no answer.
    Hits,
    /// Small talk: a fixed text.
    Chat,
    /// The documents do not say.
    None,
}

/// What a block of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sentences, or items of a list.
    Text,
    /// A list with what belongs to its items, code as well.
    Steps,
    /// Code.
    Code,
    /// Rows of a table; the first is its head.
    Table,
    /// Text that the documents set apart.
    Note,
}

impl Kind {
    /// As clients see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Steps => "steps",
            Self::Code => "code",
            Self::Table => "table",
            Self::Note => "note",
        }
    }
}

impl AnswerKind {
    /// As clients see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Hits => "hits",
            Self::Chat => "chat",
            Self::None => "none",
        }
    }
}

/// One block of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerBlock {
    /// What it is.
    pub kind: Kind,
    /// Plain text: lines are lines, cells of a table are separated by ` | `, nothing in it is a mark.
    pub text: String,
    /// Language of code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The tab it stands in ("Bash").
    #[serde(skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Number of its citation.
    pub citation: usize,
}

/// A passage that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Citation {
    /// Number in the answer's text, from 1.
    pub n: usize,
    /// Title of the page.
    pub title: String,
    /// URL with the heading's anchor.
    pub url: String,
    /// Headings from the page's title down.
    pub heading_path: Vec<String>,
    /// Corpus it came from.
    pub corpus: String,
    /// The words of the page that the answer uses.
    pub quote: String,
}

/// A page that is near the question without answering it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearestPage {
    /// Title of the page.
    pub title: String,
    /// URL with the heading's anchor.
    pub url: String,
    /// Corpus it came from.
    pub corpus: String,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Markdown: the blocks, each with its citation `[n]`; or one fixed sentence when there is no answer.
    #[serde(rename = "answer")]
    pub text: String,
    /// What it is.
    pub kind: AnswerKind,
    /// The same as blocks.
    pub blocks: Vec<AnswerBlock>,
    /// What the numbers stand for.
    pub citations: Vec<Citation>,
    /// Whether the documents carry the answer.
    pub grounded: bool,
    /// How sure it is that they do, from 0 to 1.
    pub confidence: f32,
    /// Where to look when there is no answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearestPage>,
    /// Words that were searched in another form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
}

impl Answer {
    /// Fixed text.
    fn fixed(kind: AnswerKind, text: &str, hits: &[Hit]) -> Self {
        Self {
            text: text.to_owned(),
            kind,
            blocks: Vec::new(),
            citations: Vec::new(),
            grounded: false,
            confidence: 0.0,
            nearest: nearest(hits),
            corrections: Vec::new(),
        }
    }

    /// The answer's text in pieces for a stream; together they are the text.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive("\n\n")
    }
}

/// The pages of the first hits.
fn nearest(hits: &[Hit]) -> Vec<NearestPage> {
    let mut nearest: Vec<NearestPage> = Vec::new();
    for hit in hits {
        if nearest.len() < 3 && !nearest.iter().any(|page| page.title == hit.chunk.page_title) {
            nearest.push(NearestPage {
                title: hit.chunk.page_title.clone(),
                url: hit.chunk.url.clone(),
                corpus: hit.corpus.clone(),
            });
        }
    }
    nearest
}

impl Citation {
    /// Cites a hit.
    #[must_use]
    pub fn of(n: usize, hit: &Hit, quote: String) -> Self {
        Self {
            n,
            title: hit.chunk.page_title.clone(),
            url: hit.chunk.url.clone(),
            heading_path: hit.chunk.heading_path.clone(),
            corpus: hit.corpus.clone(),
            quote,
        }
    }
}

#[cfg(test)]
mod tests;
