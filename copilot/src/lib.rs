//! docsgate's grounded documentation retrieval backend.

pub mod index;
