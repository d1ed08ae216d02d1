//! Why documents cannot be indexed.

use std::io;

/// Why a folder gives no corpus.
#[derive(Debug, thiserror::Error)]
pub enum BuildFault {
    /// It is not there.
    #[error("the documents' folder {0} does not exist")]
    Missing(String),
    /// It is a file.
    #[error("{0} is not a folder; name the folder that holds the pages")]
    NotFolder(String),
    /// A folder or file cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// Nothing in it can be indexed.
    #[error("{folder} holds no page that can be indexed ({skipped} skipped); expected {expected}")]
    Empty {
        /// The folder.
        folder: String,
        /// How many pages were skipped.
        skipped: usize,
        /// What a page looks like.
        expected: &'static str,
    },
    /// More pages than a corpus may have.
    #[error("{0} holds more than {1} pages")]
    TooMany(String, usize),
}
