//! The signed grant that authz gives with every allowed request and copilot demands.
//!
//! A grant is a compact JWS (RFC 7515) with `alg: HS256` and `typ: docsgate-grant+jwt`. It is valid for seconds and
//! bound to one request: host, method, raw path with query, and request id. Whoever reaches copilot around Envoy has
//! no grant and gets nothing.

mod claims;
mod keys;

pub use claims::{AUDIENCE, Binding, Claims, Fault, Grant, ISSUER, LEEWAY_SECONDS, LIFETIME_SECONDS, mint, verify};
pub use keys::{KeyFault, Keys, MIN_SECRET_BYTES};

#[cfg(test)]
mod tests;
