//! From chunks to an index, and back from disk.

pub mod anchor;
pub mod block;
pub mod build;
pub mod chunk;
pub mod fault;
pub mod html;
pub mod language;
pub mod lexicon;
pub mod markdown;
pub mod meaning;
pub mod mkdocs;
pub mod page;
pub mod reader;
pub mod schema;
pub mod select;
pub mod site;
pub mod tokenizer;
pub mod traits;
pub mod writer;
