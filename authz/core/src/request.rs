//! Step 1: the request as the core sees it, bounded and parsed before anything is decided.

pub mod headers;
pub mod path;

use std::net::IpAddr;

pub use headers::{HeaderFault, Headers};
pub use path::{NormalPath, PathFault};

/// Most header lines that are looked at; Envoy's own default is 100.
pub const MAX_HEADER_LINES: usize = 256;
/// Most bytes of header names and values together; Envoy's own default is 60 KiB.
pub const MAX_HEADER_BYTES: usize = 96 * 1024;
/// Longest path with query.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Longest `:authority`: a DNS name of 253 bytes, with room for a port.
const MAX_HOST_BYTES: usize = 261;
/// Longest method; the longest registered one has 17 bytes.
const MAX_METHOD_BYTES: usize = 32;
/// Longest request id that is repeated in answers and logs.
const MAX_ID_BYTES: usize = 128;

/// The request as an adapter hands it over: borrowed, unchecked.
#[derive(Debug, Clone, Default)]
pub struct RawRequest<'a> {
    /// Envoy's `x-request-id`.
    pub id: &'a str,
    /// Method, as sent.
    pub method: &'a str,
    /// `:authority`.
    pub host: &'a str,
    /// `:path`: path and query, as the backend will see it.
    pub path: &'a str,
    /// Header lines in order. Names in any case, values in bytes.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The peer of the TCP connection to Envoy.
    pub peer: Option<IpAddr>,
}

/// A request that exists only when it is well formed and within bounds.
#[derive(Debug, Clone)]
pub struct RequestView {
    /// Request id, which is also the decision id. Empty if Envoy gave none.
    pub id: String,
    /// Method, as sent: methods are case-sensitive (RFC 9110, section 9.1).
    pub method: String,
    /// `:authority` as sent.
    pub authority: String,
    /// Host in lower case, without port.
    pub host: String,
    /// Path and query as the backend will see them.
    pub raw_target: String,
    /// The path that routes are matched with.
    pub path: NormalPath,
    /// The query without `?`, raw.
    pub query: Option<String>,
    /// Header lines.
    pub headers: Headers,
    /// The peer of the TCP connection to Envoy.
    pub peer: Option<IpAddr>,
}

/// Why a request is not even looked at further. Every one is a 4xx of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// The message from Envoy lacks its `http` attributes.
    #[error("the check carries no HTTP request")]
    NoHttp,
    /// The proxy in front was to say this of the original request, once and well formed, and did not.
    #[error("the proxy does not say what was asked: {0} is missing, repeated or malformed")]
    Undescribed(&'static str),
    /// The method is empty, too long, or not a token.
    #[error("the method is not a valid token")]
    Method,
    /// `:authority` is missing or not a host.
    #[error("the host is missing or not valid")]
    Host,
    /// Path and query are longer than [`MAX_TARGET_BYTES`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// The path cannot be normalised safely.
    #[error("the path is refused: {0}")]
    Path(#[from] PathFault),
    /// Too many header lines or bytes.
    #[error("the header section is too large")]
    HeadersTooLarge,
    /// A header that decides something is repeated or has bytes that cannot be there.
    #[error("the header {name} is refused: {fault}")]
    Header {
        /// Name in lower case.
        name: &'static str,
        /// What is wrong with it.
        fault: HeaderFault,
    },
}

/// A request that could not be parsed, and who sent it as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Why.
    pub fault: RequestFault,
    /// The peer of the TCP connection to Envoy. Whom it forwards for is unknown: the headers were not read.
    pub peer: Option<IpAddr>,
}

impl From<RequestFault> for Malformed {
    fn from(fault: RequestFault) -> Self {
        Self { fault, peer: None }
    }
}

impl RequestView {
    /// Parses a request as [`parse`](Self::parse) does, and keeps its peer when that fails.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn read(raw: &RawRequest<'_>) -> Result<Self, Malformed> {
        Self::parse(raw).map_err(|fault| Malformed { fault, peer: raw.peer })
    }

    /// About the bytes that it takes in memory.
    pub fn memory(&self) -> usize {
        let texts = [&self.id, &self.method, &self.authority, &self.host, &self.raw_target];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let query = self.query.as_ref().map_or(0, String::len);
        // Two boxes a line, which an allocator rounds up.
        let lines: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        size_of::<Self>() + texts + query + self.path.as_str().len() + lines
    }

    /// Parses a request within the bounds of this module.
    ///
    /// # Errors
    /// The first [`RequestFault`], in the order: sizes, method, host, path.
    pub fn parse(raw: &RawRequest<'_>) -> Result<Self, RequestFault> {
        if raw.headers.len() > MAX_HEADER_LINES {
            return Err(RequestFault::HeadersTooLarge);
        }
        let header_bytes: usize = raw.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if header_bytes > MAX_HEADER_BYTES {
            return Err(RequestFault::HeadersTooLarge);
        }
        if raw.path.len() > MAX_TARGET_BYTES {
            return Err(RequestFault::TargetTooLong);
        }
        if raw.method.is_empty() || raw.method.len() > MAX_METHOD_BYTES || !raw.method.bytes().all(is_token_byte) {
            return Err(RequestFault::Method);
        }
        let host = parse_host(raw.host).ok_or(RequestFault::Host)?;
        let (path, query) = match raw.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw.path, None),
        };
        if query.is_some_and(|query| query.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#')) {
            return Err(PathFault::Character.into());
        }
        Ok(Self {
            id: raw.id.chars().filter(char::is_ascii_graphic).take(MAX_ID_BYTES).collect(),
            method: raw.method.to_owned(),
            authority: raw.host.to_owned(),
            host,
            raw_target: raw.path.to_owned(),
            path: NormalPath::parse(path)?,
            query: query.map(str::to_owned),
            headers: Headers::new(&raw.headers),
            peer: raw.peer.map(|peer| peer.to_canonical()),
        })
    }

    /// The one value of a header that decides something.
    ///
    /// # Errors
    /// [`RequestFault::Header`] when the header is repeated or is not visible ASCII.
    pub fn single(&self, name: &'static str) -> Result<Option<&str>, RequestFault> {
        self.headers.single(name).map_err(|fault| RequestFault::Header { name, fault })
    }

    /// Whether this is a CORS preflight (Fetch standard): `OPTIONS` with both `Origin` and
    /// `Access-Control-Request-Method`. Any other `OPTIONS` is an ordinary request.
    pub fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.headers.has("origin") && self.headers.has("access-control-request-method")
    }

    /// Whether this is a gRPC request, whose refusals are gRPC statuses.
    pub fn is_grpc(&self) -> bool {
        self.headers.first("content-type").is_some_and(|value| {
            value == b"application/grpc"
                || value.starts_with(b"application/grpc+")
                || value.starts_with(b"application/grpc;")
        })
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The host of an `:authority`, in lower case and without port; `None` if it is not one.
fn parse_host(authority: &str) -> Option<String> {
    if authority.is_empty() || authority.len() > MAX_HOST_BYTES {
        return None;
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (
            authority.get(..address.len() + 2)?,
            rest.strip_prefix(':').or(if rest.is_empty() { Some("0") } else { None })?,
        )
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, port),
            None => (authority, "0"),
        }
    };
    let port_is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let valid = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    (port_is_number && valid).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
