//! The shared secrets that sign grants: the current one and, during a rotation, the previous one.

use std::{fmt, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE_NO_PAD};

/// Shortest accepted secret: HS256 wants a key at least as long as its output (RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Longest key file that is read.
const MAX_FILE_BYTES: u64 = 4096;

/// Why a key file was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFault {
    /// The file could not be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file as named by the operator.
        path: String,
        /// The operating system's words.
        cause: String,
    },
    /// The text does not have the expected form.
    #[error("line {line}: {problem}; expected one or two lines `KID:SECRET`, the current key first, SECRET in base64")]
    Malformed {
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No key at all.
    #[error("no key found; expected one or two lines `KID:SECRET`, the current key first")]
    Empty,
}

/// One named secret.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) secret: Vec<u8>,
}

/// The current signing key and, while a rotation is under way, the previous one, which still verifies.
#[derive(Clone)]
pub struct Keys {
    pub(crate) current: Key,
    pub(crate) previous: Option<Key>,
}

impl Keys {
    /// Reads a key file: one or two lines `KID:SECRET`, the current key first, the secret in base64 (padding
    /// optional, URL-safe or not) of at least [`MIN_SECRET_BYTES`]. Blank lines and lines that begin with `#` are
    /// passed over.
    ///
    /// # Errors
    /// [`KeyFault`] says which line was refused and what was expected; it never repeats a secret.
    pub fn load(path: &Path) -> Result<Self, KeyFault> {
        let unreadable = |cause: String| KeyFault::Unreadable { path: path.display().to_string(), cause };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > MAX_FILE_BYTES {
            return Err(unreadable(format!("{size} bytes is too large for a key file (at most {MAX_FILE_BYTES})")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&text)
    }

    /// The same as [`Keys::load`], from text.
    ///
    /// # Errors
    /// [`KeyFault::Malformed`] with the line, or [`KeyFault::Empty`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let mut keys = Vec::with_capacity(2);
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = |problem| KeyFault::Malformed { line: line_number, problem };
            let (kid, secret) = line.split_once(':').ok_or_else(|| malformed("no colon"))?;
            if kid.is_empty() || kid.len() > 64 || !kid.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(malformed("the key id must be 1 to 64 visible ASCII characters"));
            }
            let secret = secret.trim().trim_end_matches('=');
            let secret = BASE64_URL_SAFE_NO_PAD
                .decode(secret)
                .or_else(|_| BASE64_STANDARD_NO_PAD.decode(secret))
                .map_err(|_| malformed("the secret is not base64"))?;
            if secret.len() < MIN_SECRET_BYTES {
                return Err(malformed("the secret is shorter than 32 bytes (256 bits)"));
            }
            if keys.len() == 2 {
                return Err(malformed("more than two keys"));
            }
            if keys.iter().any(|key: &Key| key.kid == kid) {
                return Err(malformed("the key id appears twice"));
            }
            keys.push(Key { kid: kid.to_owned(), secret });
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(KeyFault::Empty)?;
        Ok(Self { current, previous: keys.next() })
    }

    /// A key for another purpose, derived from the current secret: HMAC-SHA-256 of `label`.
    pub fn derive(&self, label: &[u8]) -> [u8; 32] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.current.secret);
        let mut derived = [0; 32];
        derived.copy_from_slice(aws_lc_rs::hmac::sign(&key, label).as_ref());
        derived
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&Key> {
        if self.current.kid == kid { Some(&self.current) } else { self.previous.as_ref().filter(|key| key.kid == kid) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("current", &self.current.kid)
            .field("previous", &self.previous.as_ref().map(|key| &key.kid))
            .finish_non_exhaustive()
    }
}
