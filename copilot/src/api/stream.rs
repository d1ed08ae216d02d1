//! Answers as server-sent events, and the bound on how many a caller may have open.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response, Sse, sse::Event},
};
use serde::Serialize;
use serde_json::json;

use super::chat::AnswerBody;
use crate::{grant_guard::Granted, problem::Problem};

/// Streams that are open, per caller.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<HashMap<String, usize>>>,
    per_caller: usize,
    anonymous: usize,
}

/// One open stream; dropping it closes it.
#[derive(Debug)]
pub struct Permit {
    open: Arc<Mutex<HashMap<String, usize>>>,
    caller: String,
}

impl Streams {
    /// At most `per_caller` for a member or key, and `anonymous` for all callers together that have no name.
    #[must_use]
    pub fn new(per_caller: usize, anonymous: usize) -> Self {
        Self { open: Arc::default(), per_caller, anonymous }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// When the caller has as many as allowed.
    pub fn begin(&self, granted: &Granted) -> Result<Permit, Problem> {
        let caller = granted.subject.clone().unwrap_or_default();
        let limit = if caller.is_empty() { self.anonymous } else { self.per_caller };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(caller.clone()).or_default();
        if *count >= limit {
            return Err(Problem::too_many_streams(limit));
        }
        *count += 1;
        drop(open);
        Ok(Permit { open: Arc::clone(&self.open), caller })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

/// `citation` for each source, `delta` for each piece of text, `block` for each block, `done` with everything.
#[must_use]
pub fn events(body: &AnswerBody, permit: Permit) -> Response {
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
    let mut response = Sse::new(stream).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Tells nginx not to hold the events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
