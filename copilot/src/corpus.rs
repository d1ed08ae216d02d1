//! A corpus as one file: the artifact that the docs build publishes and the service loads.

pub mod artifact;
pub mod manifest;
pub mod shelf;
