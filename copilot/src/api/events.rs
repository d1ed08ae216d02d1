//! Answers as server-sent events.

use std::convert::Infallible;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response, Sse, sse::Event},
};
use serde::Serialize;
use serde_json::json;

use crate::{capacity::StreamPermit, retrieval::AnswerBody};

/// `citation` for each source, `delta` for each piece of text, `block` for each block, `done` with everything.
#[must_use]
pub fn events(body: &AnswerBody, permit: StreamPermit) -> Response {
    let mut events: Vec<Event> = Vec::new();
    for citation in &body.answer.citations {
        events.extend(event("citation", citation));
    }
    for piece in body.answer.pieces() {
        events.extend(event("delta", &json!({"text": piece})));
    }
    for block in &body.answer.blocks {
        events.extend(event("block", block));
    }
    events.extend(event("done", body));
    let stream = tokio_stream::iter(events.into_iter().map(move |event| {
        let _open = &permit;
        Ok::<_, Infallible>(event)
    }));
    response(Sse::new(stream).into_response())
}

/// With the headers that all streams have.
pub(super) fn response(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Tells nginx not to hold the events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One event.
pub(super) fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
