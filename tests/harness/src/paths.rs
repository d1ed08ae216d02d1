//! Where things lie: the repository, the built binaries, the test data.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository's root: the nearest folder above this crate (or the running package) that has a `Cargo.lock`.
///
/// Cargo's runtime variable comes first, so that a checkout that was moved after it was built still works.
///
/// # Errors
/// When neither the running package nor this crate's folder lies below a `Cargo.lock`.
pub fn repository() -> Result<PathBuf> {
    let start = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    start
        .iter()
        .chain([&built_in])
        .find_map(|from| from.ancestors().find(|folder| folder.join("Cargo.lock").is_file()))
        .map(Path::to_path_buf)
        .context("the repository (a folder with Cargo.lock) is not where this program was built: run it with cargo")
}

/// The built binary `name`, next to the running program (or above `deps/` for a test binary).
///
/// # Errors
/// When it is not built yet; the sentence names the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let running = env::current_exe().context("cannot tell where the running program lies")?;
    let folder = running.parent().context("the running program has no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not built: run `cargo build --workspace` (or `cargo xtask test`, which does)", path.display());
    }
    Ok(path)
}

/// A folder of the shared test data: `DOCSGATE_TEST_DATA`, or `../shared/data` beside the repository.
///
/// # Errors
/// When it is missing.
pub fn test_data(name: &str) -> Result<PathBuf> {
    let base = match env::var_os("DOCSGATE_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => repository()?.join("../shared/data"),
    };
    let folder = base.join(name);
    if !folder.exists() {
        bail!(
            "test data {} is missing: put the shared data beside the repository or set DOCSGATE_TEST_DATA",
            folder.display()
        );
    }
    Ok(folder)
}
