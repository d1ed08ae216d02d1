//! `GET /api/docs-search`

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use serde::Serialize;

use super::{App, Provenance, check_accept, json};
use crate::{
    grant_guard::{Granted, RequestId, now},
    index::reader::OpenFault,
    problem::Problem,
    search::{self, Correction, Found, Hit, MAX_QUERY_BYTES, Request},
    unanswered::Kind,
};

/// Hits when the client names no number.
const DEFAULT_LIMIT: usize = 10;
/// Most hits of one response.
const MAX_LIMIT: usize = 50;
/// Furthest that can be paged to.
const MAX_OFFSET: usize = 1000;
/// Most hits of one page of the site, unless the client says otherwise.
const DEFAULT_PER_PAGE: usize = 3;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    q: String,
    limit: usize,
    offset: usize,
    per_page: usize,
    section: Option<String>,
}

impl Asked {
    /// The same bounds for every way in; 0 stands for what is usual.
    ///
    /// # Errors
    /// Which bound was passed.
    pub fn checked(
        q: String,
        limit: usize,
        offset: usize,
        per_page: usize,
        section: Option<String>,
    ) -> Result<Self, Problem> {
        if q.len() > MAX_QUERY_BYTES {
            return Err(Problem::bad_request(format!("The query is longer than {MAX_QUERY_BYTES} bytes.")));
        }
        for (name, value, most) in
            [("limit", limit, MAX_LIMIT), ("offset", offset, MAX_OFFSET), ("per_page", per_page, MAX_LIMIT)]
        {
            if value > most {
                return Err(Problem::bad_request(format!("{name} is {value}; it may be {most} at most.")));
            }
        }
        let or = |value: usize, usual: usize| if value == 0 { usual } else { value };
        Ok(Self { q, limit: or(limit, DEFAULT_LIMIT), offset, per_page: or(per_page, DEFAULT_PER_PAGE), section })
    }
}

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

#[derive(Debug, Serialize)]
struct Body {
    hits: Vec<HitBody>,
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corrections: Vec<Correction>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
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
    Extension(granted): Extension<Granted>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match respond(&app, &granted, &id, &headers, query.as_deref().unwrap_or_default()).await {
        Ok(response) => response,
        Err(problem) => problem.respond(&id),
    }
}

async fn respond(
    app: &App,
    granted: &Granted,
    id: &RequestId,
    headers: &HeaderMap,
    query: &str,
) -> Result<Response, Problem> {
    check_accept(headers)?;
    let (found, provenance) = find(app, granted, id, parse(query)?).await?;
    let body = Body {
        total: found.total,
        corrections: found.corrections,
        truncated: found.truncated,
        hits: found.hits.into_iter().map(HitBody::from).collect(),
        provenance,
    };
    let mut response = json(&body);
    response.extensions_mut().insert(body.provenance);
    Ok(response)
}

/// Searches what the grant opens, for HTTP and gRPC alike.
///
/// # Errors
/// What the client is told when it cannot be done.
pub async fn find(app: &App, granted: &Granted, id: &RequestId, asked: Asked) -> Result<(Found, Provenance), Problem> {
    let indexes = app.indexes(granted)?;
    let provenance = Provenance::of(&indexes, id);
    let found = app
        .work(search::budget::memory(&indexes, &asked.q), move |app| {
            let request = Request {
                text: &asked.q,
                limit: asked.limit,
                offset: asked.offset,
                per_page: asked.per_page,
                section: asked.section.as_deref(),
                snippets: true,
            };
            let found = search::search(&indexes, &request, &app.synonyms, &app.tuning)?;
            if let (0, Some(best)) = (found.total, indexes.first()) {
                app.unanswered.note(&best.corpus, Kind::Search, &asked.q, now());
            }
            Ok::<_, OpenFault>(found)
        })
        .await?
        .map_err(|error| {
            tracing::error!(request_id = id.0, %error, "search failed");
            Problem::internal()
        })?;
    app.metrics.searched(&provenance.corpus, found.total);
    app.metrics.worked(found.work, found.truncated);
    Ok((found, provenance))
}

fn parse(query: &str) -> Result<Asked, Problem> {
    let mut asked =
        Asked { q: String::new(), limit: DEFAULT_LIMIT, offset: 0, per_page: DEFAULT_PER_PAGE, section: None };
    let mut seen = false;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "q" => {
                if value.len() > MAX_QUERY_BYTES {
                    return Err(Problem::bad_request(format!("q is longer than {MAX_QUERY_BYTES} bytes.")));
                }
                (asked.q, seen) = (value.into_owned(), true);
            }
            "limit" => asked.limit = number("limit", &value, 1, MAX_LIMIT)?,
            "offset" => asked.offset = number("offset", &value, 0, MAX_OFFSET)?,
            "per_page" => asked.per_page = number("per_page", &value, 0, MAX_LIMIT)?,
            "section" => asked.section = Some(value.into_owned()),
            _ => {}
        }
    }
    if seen { Ok(asked) } else { Err(Problem::bad_request("The parameter q is missing: expected ?q=WORDS.")) }
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, Problem> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Problem::bad_request(format!("{name} must be a whole number from {least} to {most}.")))
}
