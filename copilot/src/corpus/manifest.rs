//! What an artifact says of itself: corpus, source, counts, versions, and a digest of every file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::index::{language::Language, schema, tokenizer};

/// Version of the artifact's own form.
pub const FORMAT: u32 = 1;

/// The manifest, the first file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the builder.
    pub format: u32,
    /// Name of the corpus.
    pub corpus: String,
    /// Where the documents are published.
    pub site_url: String,
    /// Revision of the documents' source, if they lie in a git repository.
    pub source_revision: Option<String>,
    /// When the source was made, in seconds since the epoch: `SOURCE_DATE_EPOCH`, or the time of the revision. Never
    /// the time of the build, so that the same source gives the same bytes.
    pub built_at: Option<u64>,
    /// Language of the documents.
    pub language: Language,
    /// Pages.
    pub pages: u64,
    /// Sections.
    pub chunks: u64,
    /// Version of the index's fields.
    pub schema: u32,
    /// Version of the rules that make words.
    pub tokenizer: u32,
    /// Bytes of all other files together.
    #[serde(default)]
    pub bytes: u64,
    /// Name and SHA-256 (hexadecimal) of every other file.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// The artifact's version, named by every response: a hash of all that it holds.
    pub fn version(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(text)).get(..16).unwrap_or_default().to_owned()
    }

    /// Why this program cannot serve the artifact, if it cannot.
    ///
    /// # Errors
    /// A sentence with both versions.
    pub fn check_versions(&self) -> Result<(), String> {
        let ours = (FORMAT, schema::VERSION, tokenizer::VERSION);
        let theirs = (self.format, self.schema, self.tokenizer);
        if ours == theirs {
            return Ok(());
        }
        Err(format!(
            "it was built for format, schema and tokenizer {theirs:?}; this program has {ours:?}: build it again"
        ))
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
