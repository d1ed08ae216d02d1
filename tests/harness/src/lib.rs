//! Starts the real processes that the demo and the tests run against: Envoy, Postgres, authz, copilot and a
//! development token issuer.
//!
//! Synchronous and light on purpose: `cargo xtask` is compiled first on a fresh machine and must say something soon.
//! Nothing started here outlives its parent: see [`process`].

pub mod authz;
pub mod copilot;
pub mod envoy;
pub mod http;
pub mod interrupt;
pub mod paths;
pub mod policy;
pub mod port;
pub mod postgres;
pub mod process;
pub mod progress;
mod random;
pub mod ready;
pub mod redis;
pub mod stack;
pub mod system_tool;
pub mod tcp_proxy;
pub mod tools;
