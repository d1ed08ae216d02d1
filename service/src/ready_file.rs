//! Tells whoever started the process where it listens.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result};

/// Writes `{"pid":…,"listeners":{"NAME":"ADDRESS"}}` in one step: a reader sees all of it or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, listeners: &[(&str, String)]) -> Result<()> {
    let listeners: serde_json::Map<String, serde_json::Value> =
        listeners.iter().map(|(name, address)| ((*name).to_owned(), address.as_str().into())).collect();
    let text = serde_json::json!({"pid": std::process::id(), "listeners": listeners}).to_string();
    persist(path, text.as_bytes()).with_context(|| format!("--ready-file {}", path.display()))
}

fn persist(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    // A temporary file is its owner's; this one is for whoever waits.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_appears_whole_and_for_everybody() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        super::write(&path, &[("http", "127.0.0.1:1".to_owned())]).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["listeners"]["http"], "127.0.0.1:1");
        assert_eq!(read["pid"], std::process::id());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let missing = super::write(&folder.path().join("no/ready"), &[]).unwrap_err();
        assert!(format!("{missing:#}").starts_with("--ready-file "), "{missing:#}");
    }
}
