//! Tells whoever started the process where it listens.

use std::path::Path;

use anyhow::{Context, Result};

/// Writes `{"pid":…,"listeners":{"NAME":"ADDRESS"}}` in one step: a reader sees all of it or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, listeners: &[(&str, String)]) -> Result<()> {
    let listeners: serde_json::Map<String, serde_json::Value> =
        listeners.iter().map(|(name, address)| ((*name).to_owned(), address.as_str().into())).collect();
    let text = serde_json::json!({"pid": std::process::id(), "listeners": listeners}).to_string();
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("--ready-file {}", path.display()))
}
