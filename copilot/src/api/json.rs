//! Answers as JSON, of the one version that there is.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::problem::Problem;

/// Media type of answers: fields are only ever added under one version.
pub const MEDIA_TYPE: &str = "application/json; v=1";

/// Refuses a client that asks for another version of the answers than there is.
///
/// # Errors
/// The refusal.
pub fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().unwrap_or_default();
        for range in value.split(',') {
            let wants = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("v="));
            if wants.is_none_or(|version| version.trim_matches('"') == "1") {
                return Ok(());
            }
        }
    }
    if headers.contains_key(header::ACCEPT) { Err(Problem::unknown_version()) } else { Ok(()) }
}

/// An answer as JSON.
pub fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::OK, headers, bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
