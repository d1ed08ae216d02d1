//! Generated answers: whole, or as server-sent events while the model writes them.

use std::{convert::Infallible, time::Duration};

use axum::response::{IntoResponse, Response, Sse, sse, sse::KeepAlive};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::events::{event, response};
use crate::{
    answer::AnswerKind,
    app::App,
    capacity::StreamPermit,
    generate::{Asked, Event, Events, Generator},
    grant_guard::Admitted,
    retrieval::{AnswerBody, Found},
};

/// Events that may wait for a reader; then the model waits.
const QUEUE: usize = 32;
/// Longest silence: proxies end streams that say nothing for long.
const ALIVE: Duration = Duration::from_secs(10);

/// The answer with the model's words, where the documents answer at all. What they do not answer is not put to a model.
pub async fn whole(
    app: &App,
    generator: &Generator,
    caller: Option<&str>,
    found: Found,
    events: &Events,
) -> AnswerBody {
    let Found { mut body, question, sources, language } = found;
    if body.answer.kind == AnswerKind::Answer {
        let request_id = &body.provenance.request_id;
        let extractive = &body.answer;
        let asked = Asked { question: &question, sources: &sources, extractive, language, caller, request_id };
        let (answer, generation) = generator.answer(&asked, events, &app.metrics).await;
        (body.answer, body.generation) = (answer, Some(generation));
    } else if let Some(events) = events {
        let _ = events.send(Event::Delta(body.answer.text.clone())).await;
    }
    body
}

/// `answer.delta` with text, `citations` with all sources so far, `error` when what was said counts no more and other text
/// follows, `done` with everything. When the reader leaves, the model is not asked on.
#[must_use]
pub fn events(app: &App, admitted: &Admitted, found: Found, permit: StreamPermit) -> Response {
    let (told, telling) = mpsc::channel::<Event>(QUEUE);
    let (ended, ending) = mpsc::channel::<AnswerBody>(1);
    let (app, admitted) = (app.clone(), admitted.clone());
    tokio::spawn(async move {
        let _open = permit;
        let left = ended.clone();
        let work = async {
            if let Some(generator) = &app.generator {
                let caller = admitted.granted.subject.as_deref();
                let body = Box::pin(whole(&app, generator, caller, found, &Some(told))).await;
                let _ = ended.send(body).await;
            }
        };
        tokio::select! {
            () = left.closed() => tracing::debug!(request_id = admitted.id.0, "the reader left"),
            () = work => {}
        }
    });
    let pieces = ReceiverStream::new(telling).filter_map(|told| match told {
        Event::Delta(text) => event("answer.delta", &json!({"text": text})),
        Event::Citations(citations) => event("citations", &json!({"citations": citations})),
        Event::Failed(reason) => event("error", &json!({"reason": reason})),
    });
    let done = ReceiverStream::new(ending).filter_map(|body| event("done", &body));
    let stream = pieces.chain(done).map(Ok::<sse::Event, Infallible>);
    response(Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}
