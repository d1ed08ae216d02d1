//! What is the latest artifact: a small signed file beside the artifacts, replaced last. Its sequence number only grows,
//! so an old pointer that is put back says so of itself.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::artifact::{SigningKey, VerifyKey};

/// Version of the pointer's form.
const FORMAT: u32 = 2;
/// Largest pointer.
pub const MAX_BYTES: u64 = 64 << 10;
/// Earlier publications that a pointer remembers.
const REMEMBERED: usize = 20;

/// One artifact under its name, which never means another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Name of the artifact beside the pointer.
    pub artifact: String,
    /// Its version, as responses name it.
    pub version: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the whole file, hexadecimal.
    pub sha256: String,
}

/// The pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    format: u32,
    /// Name of the corpus.
    pub corpus: String,
    /// One more with every publication and every rollback.
    pub sequence: u64,
    /// When it stops being followed by whoever does not follow it yet, in seconds since the epoch; `None` for never.
    pub expires_at: Option<u64>,
    /// What to serve.
    pub latest: Published,
    /// What was served before, newest first.
    pub earlier: Vec<Published>,
}

/// The file: the pointer as the very text that was signed.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// What every form of the pointer says.
#[derive(Debug, Deserialize)]
struct Form {
    format: u32,
}

/// Why a pointer is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerFault {
    /// Not a pointer.
    #[error("the pointer is corrupt: {0}")]
    Corrupt(String),
    /// A key is set and the pointer is not signed with it.
    #[error("the pointer's signature is refused: {0}")]
    Signature(&'static str),
    /// It is another corpus' pointer.
    #[error("the pointer is of corpus `{found}`; expected `{expected}`")]
    Corpus {
        /// Whose it is.
        found: String,
        /// Whose was asked for.
        expected: String,
    },
}

/// Name of a corpus' pointer.
#[must_use]
pub fn name(corpus: &str) -> String {
    format!("{corpus}.latest.json")
}

impl Pointer {
    /// The pointer to a first publication, or to the one after `before`, good until `expires_at`.
    #[must_use]
    pub fn after(before: Option<&Self>, corpus: &str, latest: Published, expires_at: Option<u64>) -> Self {
        let earlier = before.into_iter().flat_map(|before| std::iter::once(&before.latest).chain(&before.earlier));
        let mut kept: Vec<Published> = Vec::new();
        for published in earlier {
            if *published != latest && !kept.contains(published) && kept.len() < REMEMBERED {
                kept.push(published.clone());
            }
        }
        let sequence = before.map_or(1, |before| before.sequence.saturating_add(1));
        Self { format: FORMAT, corpus: corpus.to_owned(), sequence, expires_at, latest, earlier: kept }
    }

    /// Whether it is the one with this sequence number, of this version.
    #[must_use]
    pub fn is(&self, sequence: u64, version: &str) -> bool {
        self.sequence == sequence && self.latest.version == version
    }

    /// The file.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn write(&self, key: Option<&SigningKey>) -> Result<Vec<u8>, serde_json::Error> {
        let pointer = serde_json::to_string(self)?;
        let signature = key.map(|key| BASE64_STANDARD.encode(key.sign(pointer.as_bytes())));
        serde_json::to_vec_pretty(&Envelope { pointer, signature })
    }

    /// Reads and verifies a file.
    ///
    /// # Errors
    /// [`PointerFault`]
    pub fn read(bytes: &[u8], corpus: &str, key: Option<&VerifyKey>) -> Result<Self, PointerFault> {
        let corrupt = |error: serde_json::Error| PointerFault::Corrupt(error.to_string());
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(corrupt)?;
        if let Some(key) = key {
            let signature = envelope.signature.ok_or(PointerFault::Signature("the pointer is not signed"))?;
            let signature = BASE64_STANDARD.decode(signature).unwrap_or_default();
            if !key.verify(envelope.pointer.as_bytes(), &signature) {
                return Err(PointerFault::Signature("it was made with another key"));
            }
        }
        let form: Form = serde_json::from_str(&envelope.pointer).map_err(corrupt)?;
        if form.format != FORMAT {
            let forms = format!("form {}; this program reads form {FORMAT}: publish again with it", form.format);
            return Err(PointerFault::Corrupt(forms));
        }
        let pointer: Self = serde_json::from_str(&envelope.pointer).map_err(corrupt)?;
        if pointer.corpus != corpus {
            return Err(PointerFault::Corpus { found: pointer.corpus, expected: corpus.to_owned() });
        }
        let plain = |text: &str| {
            (1..200).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && !text.starts_with('.')
        };
        if !plain(&pointer.latest.artifact) || !plain(&pointer.latest.version) {
            return Err(PointerFault::Corrupt("it names no plain file".to_owned()));
        }
        Ok(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(version: &str) -> Published {
        Published {
            artifact: format!("public-{version}.docsgate"),
            version: version.into(),
            bytes: 1,
            sha256: "00".into(),
        }
    }

    #[test]
    fn the_sequence_grows_and_what_was_before_is_remembered() {
        let one = Pointer::after(None, "public", published("a"), Some(9));
        let two = Pointer::after(Some(&one), "public", published("b"), Some(9));
        let back = Pointer::after(Some(&two), "public", published("a"), None);
        assert_eq!((one.sequence, two.sequence, back.sequence), (1, 2, 3));
        assert_eq!(back.earlier, [published("b")]);
    }

    #[test]
    fn doubtful_pointers_are_refused() {
        let pointer = Pointer::after(None, "public", published("a"), Some(9));
        let key = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
        let public = VerifyKey::parse(&key.public()).unwrap();
        let signed = pointer.write(Some(&key)).unwrap();
        assert_eq!(Pointer::read(&signed, "public", Some(&public)), Ok(pointer.clone()));
        let fault = |bytes: &[u8], corpus: &str| Pointer::read(bytes, corpus, Some(&public)).unwrap_err().to_string();
        assert!(fault(&signed, "member").contains("expected `member`"));
        assert!(fault(&pointer.write(None).unwrap(), "public").contains("not signed"));
        let changed = String::from_utf8(signed).unwrap().replace("public-a", "public-b");
        assert!(fault(changed.as_bytes(), "public").contains("another key"));
        assert!(fault(b"{}", "public").contains("corrupt"));
        let escaping = Pointer { latest: Published { artifact: "../x".into(), ..published("a") }, ..pointer };
        assert!(fault(&escaping.write(Some(&key)).unwrap(), "public").contains("no plain file"));
    }
}
