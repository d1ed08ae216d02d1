//! `docsgate.copilot.v1.Retrieval`: the same search and the same answers for services, over gRPC.

use std::{future::Future, pin::Pin};

use axum::{Router, middleware};
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
    app::App,
    conversation::Turn,
    grant_guard::Admitted,
    interface::{Interface, admit, observe},
    metrics::Protocol,
    problem::Problem,
    retrieval::{self, MAX_BODY_BYTES, Question, SearchParameters},
};

/// Largest message that is read.
const MAX_MESSAGE_BYTES: usize = MAX_BODY_BYTES;

struct Service(App);

impl From<retrieval::Provenance> for Provenance {
    fn from(from: retrieval::Provenance) -> Self {
        Self { corpus: from.corpus, index_version: from.index_version, request_id: from.request_id }
    }
}

/// What the guard put beside the message; without it nothing is read.
fn admitted<T>(request: &Request<T>) -> Result<Admitted, Status> {
    request.extensions().get().cloned().ok_or_else(|| Problem::no_grant().into())
}

/// What a call asks for; 0 and empty stand for what is usual.
fn parameters(message: SearchRequest) -> SearchParameters {
    let usual = SearchParameters::default();
    let or = |value: u32, usual: usize| if value == 0 { usual } else { value as usize };
    SearchParameters {
        text: message.query,
        limit: or(message.limit, usual.limit),
        offset: message.offset as usize,
        per_page: or(message.per_page, usual.per_page),
        section: Some(message.section).filter(|section| !section.is_empty()),
    }
}

type Answers = Pin<Box<dyn tokio_stream::Stream<Item = Result<AskResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Retrieval for Service {
    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let admitted = admitted(&request)?;
        let parameters = parameters(request.into_inner());
        parameters.check()?;
        let (results, provenance) = retrieval::search(&self.0, &admitted, parameters).await?;
        let hit = |hit: crate::search::Hit| Hit {
            title: hit.chunk.page_title.clone(),
            heading_path: hit.chunk.heading_path.clone(),
            url: hit.chunk.url.clone(),
            snippet: hit.snippet,
            score: hit.score,
            corpus: hit.corpus,
        };
        let mut response = Response::new(SearchResponse {
            total: results.total as u64,
            truncated: results.truncated,
            hits: results.hits.into_iter().map(hit).collect(),
            provenance: Some(provenance.clone().into()),
        });
        response.extensions_mut().insert(provenance);
        Ok(response)
    }

    type AskStream = Answers;

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Answers>, Status> {
        let admitted = admitted(&request)?;
        let message = request.into_inner();
        let history = message.history.into_iter().map(|turn| Turn { role: turn.role, content: turn.content }).collect();
        let question = Question { question: message.question, history: Some(history), stream: Some(true) };
        question.check()?;
        let permit = self.0.streams.open(&admitted.granted)?;
        let body = retrieval::answer(&self.0, &admitted, &question).await?;
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
            provenance: Some(body.provenance.clone().into()),
            kind: body.answer.kind.name().to_owned(),
            confidence: body.answer.confidence,
            corrections: body.answer.corrections.into_iter().map(corrected).collect(),
        }));
        let stream = tokio_stream::iter(parts.into_iter().map(move |part| {
            let _open = &permit;
            Ok(AskResponse { part: Some(part) })
        }));
        let mut response: Response<Answers> = Response::new(Box::pin(stream));
        response.extensions_mut().insert(body.provenance);
        Ok(response)
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
    let interface = Interface::new(&app, Protocol::Grpc);
    let guarded = Router::new()
        .route_service("/docsgate.copilot.v1.Retrieval/{*method}", retrieval)
        .layer(middleware::from_fn_with_state(interface.clone(), admit));
    let open = Routes::new(health_service).add_service(reflection).into_axum_router();
    let routes = Routes::from(open.merge(guarded).layer(middleware::from_fn_with_state(interface, observe)));
    tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
