//! docsgate's own protocol buffers, with their committed Rust code.
