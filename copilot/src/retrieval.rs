//! What both interfaces offer: a search of what a grant opens, and an answer from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    answer::{self, Answer, AnswerKind},
    app::App,
    clock::now,
    grant_guard::{Admitted, RequestId},
    index::{reader::LoadedIndex, reader::OpenFault, tokenizer},
    problem::Problem,
    search::{self, MAX_QUERY_BYTES, Request, SearchResults, query},
    unanswered::Kind,
};

/// Largest question with its history that is read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Hits when the client names no number.
const DEFAULT_LIMIT: usize = 10;
/// Most hits of one response.
pub const MAX_LIMIT: usize = 50;
/// Furthest that can be paged to.
pub const MAX_OFFSET: usize = 1000;
/// Most hits of one page of the site, unless the client says otherwise.
const DEFAULT_PER_PAGE: usize = 3;
/// Earlier turns that are read.
const MAX_TURNS: usize = 50;
/// A question with fewer words of content leans on the one before.
const STANDS_ALONE: usize = 2;

/// What every answer says about where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The best corpus that was searched.
    pub corpus: String,
    /// Versions of all indexes that were searched, `corpus:version` joined by `+` when there are several.
    pub index_version: String,
    /// The request's id.
    pub request_id: String,
}

impl Provenance {
    /// Of a request over `indexes`.
    #[must_use]
    pub fn of(indexes: &[Arc<LoadedIndex>], id: &RequestId) -> Self {
        let name = |index: &Arc<LoadedIndex>| format!("{}:{}", index.corpus, index.version);
        Self {
            corpus: indexes.first().map_or_else(String::new, |index| index.corpus.clone()),
            index_version: indexes.iter().map(name).collect::<Vec<_>>().join("+"),
            request_id: id.0.clone(),
        }
    }
}

/// What to search for, and which part of the results to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchParameters {
    /// The question or keywords.
    pub text: String,
    /// Most hits to return.
    pub limit: usize,
    /// Hits to pass over.
    pub offset: usize,
    /// Most hits of one page of the site; 0 for no bound.
    pub per_page: usize,
    /// Only sections of this part of the site.
    pub section: Option<String>,
}

impl Default for SearchParameters {
    /// For nothing, with what is usual where the client says nothing.
    fn default() -> Self {
        Self { text: String::new(), limit: DEFAULT_LIMIT, offset: 0, per_page: DEFAULT_PER_PAGE, section: None }
    }
}

impl SearchParameters {
    /// The same bounds for every interface.
    ///
    /// # Errors
    /// Which bound was passed.
    pub fn check(&self) -> Result<(), Problem> {
        if self.text.len() > MAX_QUERY_BYTES {
            return Err(Problem::bad_request(format!("The query is longer than {MAX_QUERY_BYTES} bytes.")));
        }
        let bounds = [
            ("limit", self.limit, MAX_LIMIT),
            ("offset", self.offset, MAX_OFFSET),
            ("per_page", self.per_page, MAX_LIMIT),
        ];
        match bounds.into_iter().find(|(_, value, most)| value > most) {
            Some((name, value, most)) => {
                Err(Problem::bad_request(format!("{name} is {value}; it may be {most} at most.")))
            }
            None => Ok(()),
        }
    }
}

/// Searches what the grant opens.
///
/// # Errors
/// What the client is told when it cannot be done.
pub async fn search(
    app: &App,
    admitted: &Admitted,
    parameters: SearchParameters,
) -> Result<(SearchResults, Provenance), Problem> {
    let indexes = app.indexes(&admitted.granted)?;
    let provenance = Provenance::of(&indexes, &admitted.id);
    let results = app
        .work(search::budget::memory(&indexes, &parameters.text), move |app| {
            let request = Request {
                text: &parameters.text,
                limit: parameters.limit,
                offset: parameters.offset,
                per_page: parameters.per_page,
                section: parameters.section.as_deref(),
                snippets: true,
            };
            let results = search::search(&indexes, &request, &app.ranking)?;
            if let (0, Some(best)) = (results.total, indexes.first()) {
                app.unanswered.note(&best.corpus, Kind::Search, &parameters.text, now());
            }
            Ok::<_, OpenFault>(results)
        })
        .await?
        .map_err(|error| {
            tracing::error!(request_id = admitted.id.0, %error, "search failed");
            Problem::internal()
        })?;
    app.metrics.searched(&provenance.corpus, results.total);
    app.metrics.worked(results.work, results.truncated);
    Ok((results, provenance))
}

/// A question. Unknown fields are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct Question {
    /// The question.
    pub question: String,
    /// Earlier turns, oldest first.
    #[serde(default)]
    pub history: Option<Vec<Turn>>,
    /// Answer as a stream of events.
    #[serde(default)]
    pub stream: Option<bool>,
}

/// An earlier turn of the conversation.
#[derive(Debug, Clone, Deserialize)]
pub struct Turn {
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Question {
    /// The same bounds for every interface.
    ///
    /// # Errors
    /// Which bound was passed.
    pub fn check(&self) -> Result<(), Problem> {
        if self.question.trim().is_empty() {
            return Err(Problem::bad_request("The question is empty."));
        }
        if self.question.len() > MAX_QUERY_BYTES {
            return Err(Problem::bad_request(format!("The question is longer than {MAX_QUERY_BYTES} bytes.")));
        }
        if self.history.as_ref().is_some_and(|history| history.len() > MAX_TURNS) {
            return Err(Problem::bad_request(format!("The history has more than {MAX_TURNS} turns.")));
        }
        Ok(())
    }

    /// The question with what it leans on: "and for members?" is searched together with the question before it.
    fn in_context(&self) -> String {
        let words = |text: &str| {
            let tokens = tokenizer::tokenize(text);
            tokens.words.iter().filter(|word| !query::is_function_word(&word.text)).count()
        };
        let before = self.history.iter().flatten().rev().find(|turn| turn.role == "user");
        match before {
            Some(turn) if words(&self.question) <= STANDS_ALONE => {
                let mut end = turn.content.len().min(MAX_QUERY_BYTES / 2);
                while !turn.content.is_char_boundary(end) {
                    end -= 1;
                }
                format!("{} {}", self.question, &turn.content[..end])
            }
            _ => self.question.clone(),
        }
    }
}

/// An answer as clients see it.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerBody {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Not all of the question was searched for: the work would have been too much.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Where it comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// Answers from what the grant opens.
///
/// # Errors
/// What the client is told when there can be no answer.
pub async fn answer(app: &App, admitted: &Admitted, question: &Question) -> Result<AnswerBody, Problem> {
    let text = question.in_context();
    let indexes = app.indexes(&admitted.granted)?;
    let provenance = Provenance::of(&indexes, &admitted.id);
    let outcome = app
        .work(search::budget::memory(&indexes, &text), move |app| {
            answer::answer(&indexes, &text, &app.ranking, &app.answering)
        })
        .await?
        .map_err(|error| {
            tracing::error!(request_id = admitted.id.0, %error, "answering failed");
            Problem::internal()
        })?;
    app.metrics.worked(outcome.work, outcome.truncated);
    app.metrics.answered(&provenance.corpus, outcome.answer.grounded);
    if outcome.answer.kind == AnswerKind::None {
        app.unanswered.note(&provenance.corpus, Kind::Chat, &question.question, now());
    }
    Ok(AnswerBody { answer: outcome.answer, truncated: outcome.truncated, provenance })
}
