//! Origins as (scheme, host, port), after WHATWG URL parsing; never compared by substring.

use std::{collections::HashSet, fmt};

/// The value of an `Origin` header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A tuple origin in its serialised form: lower case, punycode, no default port.
    Tuple(TupleOrigin),
    /// `null`: an opaque origin (sandboxed frame, `file:`, cross-origin redirect).
    Opaque,
}

/// Scheme, host and port of an origin, serialised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TupleOrigin {
    serialized: String,
    scheme_len: usize,
    host_len: usize,
}

/// The value is not a serialised origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not an origin: expected scheme://host[:port] and nothing else")]
pub struct OriginFault;

/// Longest origin: scheme, a DNS name of 253 bytes, port.
const MAX_BYTES: usize = 300;

impl Origin {
    /// Parses the value of an `Origin` header (Fetch standard, section 3.2).
    ///
    /// # Errors
    /// [`OriginFault`] for everything but one serialised origin or `null`: lists, paths, user information, queries,
    /// bytes outside ASCII.
    pub fn parse(value: &str) -> Result<Self, OriginFault> {
        if value == "null" {
            return Ok(Self::Opaque);
        }
        TupleOrigin::parse(value).map(Self::Tuple)
    }
}

impl TupleOrigin {
    /// Parses `scheme://host[:port]`.
    ///
    /// # Errors
    /// [`OriginFault`], also for schemes other than http and https: no other has a tuple origin on the web.
    pub fn parse(value: &str) -> Result<Self, OriginFault> {
        if value.len() > MAX_BYTES || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(OriginFault);
        }
        let (scheme, authority) = value.split_once("://").ok_or(OriginFault)?;
        // The URL parser forgives much; what it would forgive must not pass for an origin: `https:a://b` is host `a` to it.
        if !scheme.bytes().all(|b| b.is_ascii_alphabetic())
            || authority.is_empty()
            || authority.bytes().any(|b| b"/\\?#@,%;\"'<>`^|{}".contains(&b))
            || authority.ends_with(':')
        {
            return Err(OriginFault);
        }
        Self::from_url(&url::Url::parse(value).map_err(|_| OriginFault)?)
    }

    /// Scheme, host and port of a URL.
    ///
    /// # Errors
    /// [`OriginFault`] when the scheme is not http or https.
    pub fn from_url(url: &url::Url) -> Result<Self, OriginFault> {
        let scheme = url.scheme();
        if !matches!(scheme, "http" | "https") {
            return Err(OriginFault);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(OriginFault)?;
        let mut serialized = format!("{scheme}://{host}");
        if let Some(port) = url.port() {
            serialized.push(':');
            serialized.push_str(&port.to_string());
        }
        Ok(Self { scheme_len: scheme.len(), host_len: host.len(), serialized })
    }

    /// `scheme://host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.serialized
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        let start = self.scheme_len + 3;
        self.serialized.get(start..start + self.host_len).unwrap_or_default()
    }

    /// The scheme, and the port with its colon (empty for the default port).
    fn scheme_and_port(&self) -> (&str, &str) {
        let port = self.scheme_len + 3 + self.host_len;
        (self.serialized.get(..self.scheme_len).unwrap_or_default(), self.serialized.get(port..).unwrap_or_default())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tuple(origin) => f.write_str(origin.as_str()),
            Self::Opaque => f.write_str("null"),
        }
    }
}

/// One allowed origin, as written in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`
    Any,
    /// Exactly this origin.
    Exact(TupleOrigin),
    /// `https://*.example.org[:port]`: one or more labels in front of the suffix, which is kept with its leading dot.
    Subdomains {
        /// The scheme.
        scheme: String,
        /// `.example.org`
        suffix: String,
        /// `:8443`, or empty for the default port.
        port: String,
    },
}

impl OriginPattern {
    /// Parses `*`, an origin, or an origin whose host begins with `*.`. Unicode hosts become punycode.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let expected = "expected `https://host[:port]`, `https://*.host[:port]` or `*`";
        let (scheme, authority) = text.split_once("://").ok_or_else(|| format!("no scheme; {expected}"))?;
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            return Err(format!("the scheme must be http or https; {expected}"));
        }
        let plain = authority.strip_prefix("*.");
        if plain.unwrap_or(authority).contains('*') {
            return Err(format!("`*` may only stand for the leading labels of the host; {expected}"));
        }
        let host = plain.unwrap_or(authority);
        if host.is_empty() || host.bytes().any(|b| b"/\\?#@,% ".contains(&b)) {
            return Err(format!("an origin has no path, query or user; {expected}"));
        }
        let url = url::Url::parse(&format!("{scheme}://{host}")).map_err(|error| format!("{error}; {expected}"))?;
        let origin =
            TupleOrigin::from_url(&url).map_err(|_| format!("the scheme must be http or https; {expected}"))?;
        if plain.is_none() {
            return Ok(Self::Exact(origin));
        }
        if !matches!(url.host(), Some(url::Host::Domain(_))) {
            return Err(format!("an address has no subdomains; {expected}"));
        }
        let (scheme, port) = origin.scheme_and_port();
        Ok(Self::Subdomains { scheme: scheme.to_owned(), suffix: format!(".{}", origin.host()), port: port.to_owned() })
    }
}

/// The origins that a profile allows: exact ones by hash, so that ten thousand cost what one costs.
#[derive(Debug, Clone, Default)]
pub struct OriginSet {
    any: bool,
    exact: HashSet<String>,
    /// (scheme, suffix, port)
    subdomains: HashSet<(String, String, String)>,
    null: bool,
}

impl OriginSet {
    /// Collects patterns. `null` says whether the opaque origin counts as allowed.
    pub fn new(patterns: impl IntoIterator<Item = OriginPattern>, null: bool) -> Self {
        let mut set = Self { null, ..Self::default() };
        for pattern in patterns {
            match pattern {
                OriginPattern::Any => set.any = true,
                OriginPattern::Exact(origin) => {
                    set.exact.insert(origin.serialized);
                }
                OriginPattern::Subdomains { scheme, suffix, port } => {
                    set.subdomains.insert((scheme, suffix, port));
                }
            }
        }
        set
    }

    /// Whether `*` is among them.
    pub fn allows_any(&self) -> bool {
        self.any
    }

    /// Whether the opaque origin is.
    pub fn allows_null(&self) -> bool {
        self.null
    }

    /// Every pattern, as written in a policy.
    pub fn patterns(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.exact.iter().cloned().collect();
        texts.extend(self.subdomains.iter().map(|(scheme, suffix, port)| format!("{scheme}://*{suffix}{port}")));
        texts.extend(self.any.then(|| "*".to_owned()));
        texts.extend(self.null.then(|| "null".to_owned()));
        texts.sort_unstable();
        texts
    }

    /// The pattern that allows an origin, as written in a policy.
    pub fn allowing(&self, origin: &Origin) -> Option<String> {
        let Origin::Tuple(tuple) = origin else {
            return if self.null { Some("null".to_owned()) } else { self.any.then(|| "*".to_owned()) };
        };
        if self.exact.contains(tuple.as_str()) {
            return Some(tuple.as_str().to_owned());
        }
        let matches = |(scheme, suffix, port): &&(String, String, String)| {
            tuple.scheme_and_port() == (scheme, port)
                && tuple.host().ends_with(suffix)
                && tuple.host().len() > suffix.len()
        };
        let wildcard = self.subdomains.iter().filter(matches).max_by_key(|(_, suffix, _)| suffix.len());
        wildcard
            .map(|(scheme, suffix, port)| format!("{scheme}://*{suffix}{port}"))
            .or_else(|| self.any.then(|| "*".to_owned()))
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        !self.any && !self.null && self.exact.is_empty() && self.subdomains.is_empty()
    }

    /// Whether this origin may read responses.
    pub fn allows(&self, origin: &Origin) -> bool {
        let origin = match origin {
            Origin::Opaque => return self.null || self.any,
            Origin::Tuple(origin) => origin,
        };
        if self.any || self.exact.contains(origin.as_str()) {
            return true;
        }
        if self.subdomains.is_empty() {
            return false;
        }
        // Every proper suffix of the host that begins at a dot, so that the cost does not grow with the policy.
        let (scheme, port) = origin.scheme_and_port();
        let host = origin.host();
        host.match_indices('.').filter(|(at, _)| *at > 0).any(|(at, _)| {
            let suffix = host.get(at..).unwrap_or_default();
            self.subdomains.contains(&(scheme.to_owned(), suffix.to_owned(), port.to_owned()))
        })
    }
}
