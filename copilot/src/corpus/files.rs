//! Artifacts as files, opened for one command: no server, no cache.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use super::artifact::{self, Expected};
use crate::index::reader::LoadedIndex;

/// Verifies and opens artifacts, in this order.
///
/// # Errors
/// Names the file that cannot be opened, and why.
pub fn open(files: &[impl AsRef<Path>], expected: Expected<'_>) -> anyhow::Result<Vec<Arc<LoadedIndex>>> {
    let scratch = tempfile::tempdir().context("a temporary folder")?;
    let open = |file: &Path| -> anyhow::Result<Arc<LoadedIndex>> {
        let unpacked = artifact::open(file, scratch.path(), expected)?;
        let manifest = unpacked.manifest;
        // The files stay mapped after the folder is gone.
        let index = LoadedIndex::open(&unpacked.dir, &manifest.corpus, &manifest.version())?;
        Ok(Arc::new(index))
    };
    files.iter().map(AsRef::as_ref).map(|file| open(file).with_context(|| file.display().to_string())).collect()
}
