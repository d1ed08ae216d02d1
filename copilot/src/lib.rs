//! docsgate's grounded documentation retrieval backend.

pub mod cli;
pub mod corpus;
pub mod index;
