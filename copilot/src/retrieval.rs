//! What both interfaces offer: a search of what a grant opens, and an answer from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    answer::{self, Answer, AnswerKind},
    app::App,
    clock::now,
    conversation::{self, Turn},
    generate::{Generation, Generator},
    grant_guard::{Admitted, RequestId},
    index::{
        language::Language,
        reader::{LoadedIndex, OpenFault},
    },
    problem::Problem,
    search::{self, Hit, MAX_QUERY_BYTES, Request, SearchResults},
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

impl Question {
    /// Earlier turns, oldest first.
    #[must_use]
    pub fn earlier(&self) -> &[Turn] {
        self.history.as_deref().unwrap_or_default()
    }

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
        conversation::check(self.earlier())
    }
}

/// An answer as clients see it.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerBody {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// The question as it was read after the earlier ones, where it leans on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
    /// Who wrote it, where there is a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Not all of the question was searched for: the work would have been too much.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Where it comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// An extractive answer, with what a model needs to write another.
#[derive(Debug, Clone)]
pub struct Found {
    /// The answer.
    pub body: AnswerBody,
    /// The question as it was read.
    pub question: String,
    /// Sections that may be used, the best first; none where there is no answer.
    pub sources: Vec<Hit>,
    /// Language of the documents.
    pub language: Language,
}

/// Answers from what the grant opens.
///
/// # Errors
/// What the client is told when there can be no answer.
pub async fn answer(app: &App, admitted: &Admitted, question: &Question) -> Result<AnswerBody, Problem> {
    Ok(find(app, admitted, question, None).await?.body)
}

/// Answers from what the grant opens; `generator` may put a follow-up in words of its own.
///
/// # Errors
/// What the client is told when there can be no answer.
pub async fn find(
    app: &App,
    admitted: &Admitted,
    question: &Question,
    generator: Option<&Generator>,
) -> Result<Found, Problem> {
    let indexes = app.indexes(&admitted.granted)?;
    let language = indexes.first().map(|index| index.lexicon.language).unwrap_or_default();
    let mut text = conversation::in_context(&question.question, question.earlier());
    if let Some(generator) = generator.filter(|_| text != question.question) {
        let caller = admitted.granted.subject.as_deref();
        let rewritten = generator.rewrite(&question.question, question.earlier(), caller, &app.metrics).await;
        text = rewritten.unwrap_or(text);
    }
    let asked = text.clone();
    let read_as = Some(text.clone()).filter(|text| *text != question.question);
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
    let (answer, truncated) = (outcome.answer, outcome.truncated);
    let body = AnswerBody { answer, read_as, generation: None, truncated, provenance };
    Ok(Found { body, question: asked, sources: outcome.sources, language })
}
