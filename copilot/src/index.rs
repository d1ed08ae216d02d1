//! From chunks to an index, and back from disk.

pub mod chunk;
pub mod language;
pub mod lexicon;
pub mod reader;
pub mod schema;
pub mod tokenizer;
pub mod writer;
