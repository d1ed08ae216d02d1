//! docsgate's own protocol buffers, with their committed Rust code.
//!
//! The files below `src/generated` are made from `proto/docsgate` by the test `generated`, which also keeps them
//! current: `UPDATE=1 cargo test -p docsgate-proto` rewrites them. A build needs no `protoc`.

/// Retrieval for services, `docsgate.copilot.v1`.
pub mod copilot {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!("generated/docsgate.copilot.v1.rs");
    }
}

/// Descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// Descriptors of `envoy.service.auth.v3` and all that it imports, for gRPC reflection.
pub const EXTERNAL_AUTH_DESCRIPTORS: &[u8] = include_bytes!("generated/external_auth.bin");
