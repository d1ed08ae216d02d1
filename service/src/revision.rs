//! Which build this is.

use std::sync::LazyLock;

/// The commit that the images were built from; the build of an image gives it.
pub const REVISION: Option<&str> = option_env!("DOCSGATE_REVISION");

/// Version and revision, as `--version` prints them.
pub fn version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{} ({})", env!("CARGO_PKG_VERSION"), REVISION.unwrap_or("development build")));
    &TEXT
}
