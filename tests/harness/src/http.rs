//! Plain HTTP for readiness and admin interfaces; the tests' own requests use a full client.

use std::time::Duration;

use anyhow::{Context, Result};

/// Status and body of a GET. No redirects, no proxy, a bounded wait and body.
///
/// # Errors
/// When no HTTP answer came.
pub fn get(url: &str) -> Result<(u16, String)> {
    let mut response = agent().get(url).call().with_context(|| format!("GET {url}"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().with_context(|| format!("the body of GET {url}"))?;
    Ok((status, body))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into()
}
