//! `CheckRequest` → the raw request of the core.

use std::net::IpAddr;

use authz_core::request::RawRequest;
use envoy_types::pb::envoy::{
    config::core::v3::{Address, address},
    service::auth::v3::CheckRequest,
};

/// What Envoy says of the request, borrowed. `None` when the message carries no HTTP request.
///
/// With `encode_raw_headers` the lines come in `header_map`, one by one and in bytes; without it they come in
/// `headers`, where Envoy has joined repeated ones with commas. If both are filled, the raw ones count.
pub fn raw(check: &CheckRequest) -> Option<RawRequest<'_>> {
    let attributes = check.attributes.as_ref()?;
    let http = attributes.request.as_ref()?.http.as_ref()?;
    let lines: Vec<(&str, &[u8])> = match &http.header_map {
        Some(map) if !map.headers.is_empty() => map
            .headers
            .iter()
            .map(|line| {
                let value = if line.raw_value.is_empty() { line.value.as_bytes() } else { line.raw_value.as_slice() };
                (line.key.as_str(), value)
            })
            .collect(),
        _ => http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    };
    // Pseudo-headers stand in fields of their own.
    let headers: Vec<(&str, &[u8])> = lines.into_iter().filter(|(name, _)| !name.starts_with(':')).collect();
    let id = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).map(|(_, value)| *value);
    Some(RawRequest {
        id: id.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or(&http.id),
        method: &http.method,
        host: &http.host,
        path: &http.path,
        headers,
        peer: attributes.source.as_ref().and_then(|source| address(source.address.as_ref()?)),
    })
}

/// The IP address of a peer; a Unix socket has none.
fn address(address: &Address) -> Option<IpAddr> {
    match address.address.as_ref()? {
        address::Address::SocketAddress(socket) => socket.address.parse().ok(),
        address::Address::Pipe(_) | address::Address::EnvoyInternalAddress(_) => None,
    }
}
