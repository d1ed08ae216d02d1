//! A text that nobody shall read.

use std::fmt;

use reqwest::header::{HeaderValue, InvalidHeaderValue};

/// A key. It can be sent, and neither printed nor written in any other form.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` without the white space around it; nothing where that is all.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// As the value of an `authorization` header, marked so that HTTP libraries do not print it either.
    ///
    /// # Errors
    /// When it holds what no header can.
    pub fn bearer(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_and_never_printed() {
        let secret = Secret::new(" sk-canary\n").unwrap();
        let header = secret.bearer().unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer sk-canary");
        assert!(!format!("{secret:?} {header:?}").contains("canary"));
        assert!(Secret::new(" \n").is_none() && Secret::new("a\nb").unwrap().bearer().is_err());
    }
}
