//! docsgate's grounded documentation retrieval backend.

fn main() {}
