//! `POST /api/docs-chat`

use std::time::Duration;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, header},
    response::Response,
};

use super::{
    events::events,
    generated,
    json::{check_accept, json},
};
use crate::{
    app::App,
    grant_guard::Admitted,
    problem::Problem,
    retrieval::{self, MAX_BODY_BYTES, Question},
};

/// Longest wait for a body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Answers from what the grant opens.
pub async fn chat(State(app): State<App>, Extension(admitted): Extension<Admitted>, request: Request) -> Response {
    match respond(&app, &admitted, request).await {
        Ok(response) => response,
        Err(problem) => problem.respond(&admitted.id),
    }
}

async fn respond(app: &App, admitted: &Admitted, request: Request) -> Result<Response, Problem> {
    check_accept(request.headers())?;
    let wants_events = wants_events(request.headers());
    let question = read(request).await?;
    let streamed = question.stream.unwrap_or(wants_events);
    let permit = if streamed { Some(app.streams.open(&admitted.granted)?) } else { None };
    let found = retrieval::find(app, admitted, &question, app.generator.as_ref()).await?;
    let provenance = found.body.provenance.clone();
    let mut response = match (&app.generator, permit) {
        (Some(_), Some(permit)) => generated::events(app, admitted, found, permit),
        (Some(generator), None) => {
            let caller = admitted.granted.subject.as_deref();
            json(&generated::whole(app, generator, caller, found, &None).await)
        }
        (None, Some(permit)) => events(&found.body, permit),
        (None, None) => json(&found.body),
    };
    response.extensions_mut().insert(provenance);
    Ok(response)
}

/// Whether a client that does not say it in the body asks for events: it takes these and no JSON.
fn wants_events(headers: &HeaderMap) -> bool {
    let ranges = || {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default().trim())
    };
    ranges().any(|range| range == "text/event-stream") && ranges().all(|range| range == "text/event-stream")
}

async fn read(request: Request) -> Result<Question, Problem> {
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

async fn collect(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| Problem::too_large(MAX_BODY_BYTES))
}
