//! `GET /api/docs-search`

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use serde::Serialize;

use super::json::{check_accept, json};
use crate::{
    app::App,
    grant_guard::Admitted,
    problem::Problem,
    retrieval::{self, MAX_LIMIT, MAX_OFFSET, Provenance, SearchParameters},
    search::{Correction, Hit, SearchResults},
};

/// A hit as clients see it.
#[derive(Debug, Serialize)]
pub struct HitBody {
    title: String,
    heading_path: Vec<String>,
    url: String,
    page_url: String,
    snippet: String,
    score: f32,
    corpus: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<String>,
}

/// Results as clients see them.
#[derive(Debug, Serialize)]
pub struct ResultsBody {
    hits: Vec<HitBody>,
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corrections: Vec<Correction>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl From<SearchResults> for ResultsBody {
    fn from(results: SearchResults) -> Self {
        Self {
            hits: results.hits.into_iter().map(HitBody::from).collect(),
            total: results.total,
            corrections: results.corrections,
            truncated: results.truncated,
        }
    }
}

#[derive(Debug, Serialize)]
struct Body {
    #[serde(flatten)]
    results: ResultsBody,
    #[serde(flatten)]
    provenance: Provenance,
}

impl From<Hit> for HitBody {
    fn from(hit: Hit) -> Self {
        Self {
            title: hit.chunk.page_title.clone(),
            heading_path: hit.chunk.heading_path.clone(),
            url: hit.chunk.url.clone(),
            page_url: hit.chunk.page_url.clone(),
            snippet: hit.snippet,
            score: hit.score,
            corpus: hit.corpus,
            section: hit.chunk.section.clone(),
        }
    }
}

/// Searches what the grant opens.
pub async fn search(
    State(app): State<App>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match respond(&app, &admitted, &headers, query.as_deref().unwrap_or_default()).await {
        Ok(response) => response,
        Err(problem) => problem.respond(&admitted.id),
    }
}

async fn respond(app: &App, admitted: &Admitted, headers: &HeaderMap, query: &str) -> Result<Response, Problem> {
    check_accept(headers)?;
    let (results, provenance) = retrieval::search(app, admitted, parse(query)?).await?;
    let body = Body { results: results.into(), provenance };
    let mut response = json(&body);
    response.extensions_mut().insert(body.provenance);
    Ok(response)
}

fn parse(query: &str) -> Result<SearchParameters, Problem> {
    let mut parameters = SearchParameters::default();
    let mut seen = false;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "q" => (parameters.text, seen) = (value.into_owned(), true),
            "limit" => parameters.limit = number("limit", &value, 1, MAX_LIMIT)?,
            "offset" => parameters.offset = number("offset", &value, 0, MAX_OFFSET)?,
            "per_page" => parameters.per_page = number("per_page", &value, 0, MAX_LIMIT)?,
            "section" => parameters.section = Some(value.into_owned()),
            _ => {}
        }
    }
    if !seen {
        return Err(Problem::bad_request("The parameter q is missing: expected ?q=WORDS."));
    }
    parameters.check()?;
    Ok(parameters)
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, Problem> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Problem::bad_request(format!("{name} must be a whole number from {least} to {most}.")))
}
