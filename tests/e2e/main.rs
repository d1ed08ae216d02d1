//! End-to-end tests: every one starts the real Envoy, Postgres, authz and copilot on ports and in folders of its own.
//!
//! Run by `cargo xtask test`, or by `cargo build --workspace --all-targets && cargo test -p docsgate-tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod argocd;
mod backend;
mod gate;
mod server;
mod tracing;
mod wire;

mod answers;
mod attacks;
mod browser;
mod chart;
mod configuration;
mod cors;
mod database;
mod demo;
mod edge;
mod entitlements;
mod failover;
mod failures;
mod gateway_api;
mod grpc;
mod hardening;
mod headers;
mod identity;
mod ingress;
mod limits;
mod monitoring;
mod paths;
mod policy;
mod portal;
mod problems;
mod protocol;
mod proxies;
mod release;
mod runbooks;
mod shared_limits;
mod tls;
