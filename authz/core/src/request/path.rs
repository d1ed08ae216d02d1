//! The path that routes are matched with.
//!
//! Envoy normalises before it asks (dot segments, doubled slashes) and forwards what it normalised. What arrives here is
//! therefore what the backend will see, and this gate cannot change it. So a path that could mean one thing here and
//! another there is refused, rather than rewritten in one place only. Percent-encoding that every reader undoes alike
//! is undone.

use std::fmt;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Neither begins with `/` nor is `*`.
    #[error("it does not begin with a slash")]
    NotAbsolute,
    /// Control character, space, backslash, `#`, or a byte outside ASCII.
    #[error("it contains a character that cannot stand in a path")]
    Character,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("its percent-encoding is malformed")]
    Encoding,
    /// An encoded slash, backslash, control character or percent sign that would decode twice.
    #[error("it contains an encoded delimiter")]
    EncodedDelimiter,
    /// A segment `.` or `..`, plain or encoded.
    #[error("it contains a dot segment")]
    DotSegment,
    /// Two slashes in a row.
    #[error("it contains an empty segment")]
    EmptySegment,
    /// A `;`: backends differ in whether parameters belong to the segment.
    #[error("it contains path parameters")]
    Parameters,
}

/// A path without ambiguity: decoded, without dot segments, empty segments, parameters or encoded delimiters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath(String);

impl NormalPath {
    /// Parses a raw path (without query).
    ///
    /// # Errors
    /// [`PathFault`] for everything that two readers could understand differently.
    pub fn parse(raw: &str) -> Result<Self, PathFault> {
        if raw == "*" {
            return Ok(Self("*".to_owned()));
        }
        if !raw.starts_with('/') {
            return Err(PathFault::NotAbsolute);
        }
        let mut decoded = Vec::with_capacity(raw.len());
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'%' => {
                    let high = bytes.next().and_then(hex).ok_or(PathFault::Encoding)?;
                    let low = bytes.next().and_then(hex).ok_or(PathFault::Encoding)?;
                    match high << 4 | low {
                        b'/' | b'\\' | b'%' | b'#' | b'?' | 0..=0x1f | 0x7f => return Err(PathFault::EncodedDelimiter),
                        b';' => return Err(PathFault::Parameters),
                        byte => decoded.push(byte),
                    }
                }
                b';' => return Err(PathFault::Parameters),
                0..=b' ' | b'\\' | b'#' | b'?' | 0x7f..=0xff => return Err(PathFault::Character),
                byte => decoded.push(byte),
            }
        }
        let decoded = String::from_utf8(decoded).map_err(|_| PathFault::Encoding)?;
        let mut segments = decoded.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "." | ".." => return Err(PathFault::DotSegment),
                "" if segments.peek().is_some() => return Err(PathFault::EmptySegment),
                _ => {}
            }
        }
        Ok(Self(decoded))
    }

    /// The path, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments after the leading slash; a trailing slash gives a last, empty one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
