//! `POST /api/docs-chat`

use std::time::Duration;

use axum::{
    Extension,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::header,
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{App, MAX_BODY_BYTES, Provenance, check_accept, json, stream};
use crate::{
    answer::{self, Answer, AnswerKind},
    grant_guard::{Granted, RequestId, now},
    problem::Problem,
    search::{self, MAX_QUERY_BYTES, query},
    unanswered::Kind,
};

/// Longest wait for a body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Earlier turns that are read.
const MAX_TURNS: usize = 50;
/// A question with fewer words of content leans on the one before.
const STANDS_ALONE: usize = 2;

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
    /// What was said.
    pub content: String,
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
pub async fn chat(
    State(app): State<App>,
    Extension(granted): Extension<Granted>,
    Extension(id): Extension<RequestId>,
    request: HttpRequest,
) -> Response {
    match respond(&app, &granted, &id, request).await {
        Ok(response) => response,
        Err(problem) => problem.respond(&id),
    }
}

async fn respond(app: &App, granted: &Granted, id: &RequestId, request: HttpRequest) -> Result<Response, Problem> {
    check_accept(request.headers())?;
    let question = read(request).await?;
    let permit = if question.stream == Some(true) { Some(app.streams.begin(granted)?) } else { None };
    let body = answer(app, granted, id, &question).await?;
    let mut response = match permit {
        Some(permit) => stream::events(&body, permit),
        None => json(&body),
    };
    response.extensions_mut().insert(body.provenance);
    Ok(response)
}

/// Finds and writes the answer.
///
/// # Errors
/// What the client is told when there can be none.
pub async fn answer(app: &App, granted: &Granted, id: &RequestId, question: &Question) -> Result<AnswerBody, Problem> {
    let text = question.in_context();
    let indexes = app.indexes(granted)?;
    let provenance = Provenance::of(&indexes, id);
    let (answer, work, truncated) = app
        .work(search::budget::memory(&indexes, &text), move |app| {
            let outcome = answer::answer(&indexes, &text, &app.synonyms, &app.tuning, &app.answering)?;
            Ok::<_, crate::index::reader::OpenFault>((outcome.answer, outcome.work, outcome.truncated))
        })
        .await?
        .map_err(|error| {
            tracing::error!(request_id = id.0, %error, "answering failed");
            Problem::internal()
        })?;
    app.metrics.worked(work, truncated);
    app.metrics.answered(&provenance.corpus, answer.grounded);
    if answer.kind == AnswerKind::None {
        app.unanswered.note(&provenance.corpus, Kind::Chat, &question.question, now());
    }
    Ok(AnswerBody { answer, truncated, provenance })
}

async fn read(request: HttpRequest) -> Result<Question, Problem> {
    let (parts, body) = request.into_parts();
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        return Err(Problem::wrong_type());
    }
    let bytes = tokio::time::timeout(BODY_PATIENCE, collect(body)).await.map_err(|_| Problem::slow_body())??;
    let question: Question = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::bad_request(format!("The body is not a question: {error}. Expected {{\"question\": \"…\"}}."))
    })?;
    question.check()?;
    Ok(question)
}

async fn collect(body: Body) -> Result<axum::body::Bytes, Problem> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| Problem::too_large(MAX_BODY_BYTES))
}

impl Question {
    /// The same bounds for every way in.
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
            let tokens = crate::index::tokenizer::tokenize(text);
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
