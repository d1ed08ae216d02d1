//! Settings that are secrets.

use std::path::PathBuf;

use docsgate_service::exit::UsageError;

/// A value that may stand in a file instead; the file wins.
///
/// # Errors
/// [`UsageError`] when the file cannot be read.
pub fn secret(value: Option<&str>, file: Option<&PathBuf>, flag: &str) -> Result<Option<String>, UsageError> {
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).map_err(|error| UsageError(format!("{flag} {}: {error}", path.display())))?;
        return Ok(Some(text.trim().to_owned()));
    }
    Ok(value.filter(|value| !value.is_empty()).map(str::to_owned))
}
