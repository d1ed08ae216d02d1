//! A corpus as one file: the artifact that the docs build publishes and the service loads.

pub mod artifact;
pub mod cache;
pub mod files;
pub mod live;
pub mod manifest;
pub mod place;
pub mod pointer;
pub mod publish;
pub mod source;
