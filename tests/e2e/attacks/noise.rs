//! Not tried yet.
