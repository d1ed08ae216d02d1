//! Front ends: each translates one protocol into the engine's request and its answer back, and decides nothing.

pub mod grpc;
pub mod http;
pub mod listener;
pub mod profile;
pub mod tls;
