//! Header lines: names in lower case, values in bytes.

/// What is wrong with a header that decides something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// More than one line: which one counts must never be a guess.
    #[error("it is repeated")]
    Repeated,
    /// Bytes that are not visible ASCII or space.
    #[error("it contains bytes that are not visible ASCII")]
    Bytes,
}

/// The header lines of one request, in order.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(Box<str>, Box<[u8]>)>);

impl Headers {
    /// Copies the lines, with names in lower case. Bounds were checked by the caller.
    pub fn new(lines: &[(&str, &[u8])]) -> Self {
        Self(lines.iter().map(|(name, value)| (name.to_ascii_lowercase().into(), (*value).into())).collect())
    }

    /// Every value of a header, in order. `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.0.iter().filter(move |(line, _)| line.as_ref() == name).map(|(_, value)| value.as_ref())
    }

    /// The first value.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(line, _)| line.as_ref() == name).map(|(_, value)| value.as_ref())
    }

    /// Whether there is such a header.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The one value of a header, without surrounding blanks.
    ///
    /// # Errors
    /// [`HeaderFault::Repeated`] or [`HeaderFault::Bytes`].
    pub fn single(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        let mut values = self.0.iter().filter(|(line, _)| line.as_ref() == name);
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HeaderFault::Repeated);
        }
        if !value.iter().all(|b| (b' '..=b'~').contains(b) || *b == b'\t') {
            return Err(HeaderFault::Bytes);
        }
        std::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| HeaderFault::Bytes)
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of a cookie (RFC 6265, section 5.4), from all `cookie` lines.
    ///
    /// # Errors
    /// [`HeaderFault::Repeated`] when the name occurs twice: which one counts must never be a guess;
    /// [`HeaderFault::Bytes`] when the value is not visible ASCII.
    pub fn cookie<'a>(&'a self, name: &str) -> Result<Option<&'a str>, HeaderFault> {
        let mut found = None;
        for line in self.all("cookie") {
            for pair in line.split(|b| *b == b';') {
                let pair = pair.trim_ascii();
                let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
                    continue;
                };
                if found.is_some() {
                    return Err(HeaderFault::Repeated);
                }
                let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
                if !value.iter().all(u8::is_ascii_graphic) {
                    return Err(HeaderFault::Bytes);
                }
                found = Some(std::str::from_utf8(value).map_err(|_| HeaderFault::Bytes)?);
            }
        }
        Ok(found)
    }
}
