//! Tells whoever started this process where it listens.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

#[derive(Serialize)]
struct Ready<'a> {
    pid: u32,
    listeners: &'a BTreeMap<&'static str, String>,
}

/// Writes `{"pid":…,"listeners":{NAME:ADDRESS}}`, whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(path: &Path, listeners: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let ready = Ready { pid: std::process::id(), listeners };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, &ready)?;
    io::Write::flush(&mut file)?;
    file.persist(path).map_err(|error| error.error)?;
    // A temporary file is its owner's; this one is for whoever waits.
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(())
}
