//! Answers from passages, with citations that can be checked.

pub mod extractive;
pub mod sentences;

use serde::Serialize;

use crate::search::{Found, Hit};

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

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Sentences, each followed by its citation `[n]`; or one honest sentence when there is no answer.
    #[serde(rename = "answer")]
    pub text: String,
    /// What the numbers stand for.
    pub citations: Vec<Citation>,
    /// Whether the documents carry the answer.
    pub grounded: bool,
    /// Where to look when there is no answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearestPage>,
}

/// Said instead of an answer.
pub const NOT_IN_THE_DOCS: &str = "The documentation does not seem to answer this question.";

impl Answer {
    /// The honest answer when the documents hold none.
    #[must_use]
    pub fn abstain(found: &Found) -> Self {
        let mut nearest: Vec<NearestPage> = Vec::new();
        for hit in &found.hits {
            if nearest.len() < 3 && !nearest.iter().any(|page| page.title == hit.chunk.page_title) {
                nearest.push(NearestPage {
                    title: hit.chunk.page_title.clone(),
                    url: hit.chunk.url.clone(),
                    corpus: hit.corpus.clone(),
                });
            }
        }
        let text = if nearest.is_empty() {
            NOT_IN_THE_DOCS.to_owned()
        } else {
            format!("{NOT_IN_THE_DOCS} The nearest pages are listed with it.")
        };
        Self { text, citations: Vec::new(), grounded: false, nearest }
    }
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
