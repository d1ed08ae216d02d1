//! `docsgate.copilot.v1.Retrieval`: the same search and the same answers for services, over gRPC.

use std::{future::Future, pin::Pin};

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response as HttpResponse},
};
use docsgate_grant::Binding;
use docsgate_proto::copilot::v1::{
    AskRequest, AskResponse, Block, Citation, Correction, Done, Hit, NearestPage, Provenance, SearchRequest,
    SearchResponse,
    ask_response::Part,
    retrieval_server::{Retrieval, RetrievalServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    api::{
        self, App,
        chat::{Question, Turn},
        search::{Asked, find},
    },
    grant_guard::{Granted, RequestId, now},
    problem::Problem,
};

/// Largest message that is read.
const MAX_MESSAGE_BYTES: usize = api::MAX_BODY_BYTES;

struct Service(App);

impl From<api::Provenance> for Provenance {
    fn from(from: api::Provenance) -> Self {
        Self { corpus: from.corpus, index_version: from.index_version, request_id: from.request_id }
    }
}

/// What the guard put beside the message; without it nothing is read.
fn admitted<T>(request: &Request<T>) -> Result<(Granted, RequestId), Status> {
    let extensions = request.extensions();
    match (extensions.get::<Granted>(), extensions.get::<RequestId>()) {
        (Some(granted), Some(id)) => Ok((granted.clone(), id.clone())),
        _ => Err(Problem::no_grant().into()),
    }
}

type Answers = Pin<Box<dyn tokio_stream::Stream<Item = Result<AskResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Retrieval for Service {
    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let (granted, id) = admitted(&request)?;
        let asked = request.into_inner();
        let asked = Asked::checked(
            asked.query,
            asked.limit as usize,
            asked.offset as usize,
            asked.per_page as usize,
            Some(asked.section).filter(|section| !section.is_empty()),
        )?;
        let (found, provenance) = find(&self.0, &granted, &id, asked).await?;
        let hit = |hit: crate::search::Hit| Hit {
            title: hit.chunk.page_title.clone(),
            heading_path: hit.chunk.heading_path.clone(),
            url: hit.chunk.url.clone(),
            snippet: hit.snippet,
            score: hit.score,
            corpus: hit.corpus,
        };
        Ok(Response::new(SearchResponse {
            total: found.total as u64,
            truncated: found.truncated,
            hits: found.hits.into_iter().map(hit).collect(),
            provenance: Some(provenance.into()),
        }))
    }

    type AskStream = Answers;

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Answers>, Status> {
        let (granted, id) = admitted(&request)?;
        let asked = request.into_inner();
        let history = asked.history.into_iter().map(|turn| Turn { role: turn.role, content: turn.content }).collect();
        let question = Question { question: asked.question, history: Some(history), stream: Some(true) };
        question.check()?;
        let permit = self.0.streams.begin(&granted)?;
        let body = api::chat::answer(&self.0, &granted, &id, &question).await?;
        let pieces: Vec<Part> = body.answer.pieces().map(|piece| Part::Delta(piece.to_owned())).collect();
        let mut parts: Vec<Part> = Vec::new();
        for citation in body.answer.citations {
            parts.push(Part::Citation(Citation {
                n: u32::try_from(citation.n).unwrap_or(u32::MAX),
                title: citation.title,
                url: citation.url,
                heading_path: citation.heading_path,
                corpus: citation.corpus,
                quote: citation.quote,
            }));
        }
        parts.extend(pieces);
        for block in body.answer.blocks {
            parts.push(Part::Block(Block {
                kind: block.kind.name().to_owned(),
                text: block.text,
                language: block.language.unwrap_or_default(),
                context: block.context,
                citation: u32::try_from(block.citation).unwrap_or(u32::MAX),
            }));
        }
        let corrected = |word: crate::search::Correction| Correction { from: word.from, to: word.to };
        let page =
            |page: crate::answer::NearestPage| NearestPage { title: page.title, url: page.url, corpus: page.corpus };
        parts.push(Part::Done(Done {
            grounded: body.answer.grounded,
            nearest: body.answer.nearest.into_iter().map(page).collect(),
            truncated: body.truncated,
            provenance: Some(body.provenance.into()),
            kind: body.answer.kind.name().to_owned(),
            confidence: body.answer.confidence,
            corrections: body.answer.corrections.into_iter().map(corrected).collect(),
        }));
        let stream = tokio_stream::iter(parts.into_iter().map(move |part| {
            let _open = &permit;
            Ok(AskResponse { part: Some(part) })
        }));
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Verifies the grant of a call: host is the `:authority`, the path is the method's.
async fn guard(State(app): State<App>, mut request: HttpRequest, next: Next) -> HttpResponse {
    let id = RequestId::of(request.headers());
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let binding = Binding { host: &host, method: request.method().as_str(), path: request.uri().path() };
    match app.guard.admit(request.headers(), binding, now()) {
        Ok(granted) => {
            request.extensions_mut().insert(granted);
            let mut span = app.begin(&request);
            if span.is_recording() {
                span.set("docsgate.route", "grpc");
                span.set("docsgate.request_id", id.0.clone());
            }
            request.extensions_mut().insert(id);
            let response = next.run(request).await;
            drop(span);
            response
        }
        Err(reason) => {
            app.metrics.refused_grant();
            tracing::warn!(request_id = id.0, reason, "call without a valid grant");
            Status::from(Problem::no_grant()).into_http::<axum::body::Body>().into_response()
        }
    }
}

/// Serves calls until `stopped` ends, with health and reflection, which need no grant.
///
/// # Errors
/// When the server breaks off.
pub async fn serve(app: App, listener: TcpListener, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RetrievalServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(docsgate_proto::DESCRIPTORS)
        .build_v1()?;
    let retrieval = RetrievalServer::new(Service(app.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let guarded = Router::new()
        .route_service("/docsgate.copilot.v1.Retrieval/{*method}", retrieval)
        .layer(middleware::from_fn_with_state(app, guard));
    let open = Routes::new(health_service).add_service(reflection).into_axum_router();
    let routes = Routes::from(open.merge(guarded));
    tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
