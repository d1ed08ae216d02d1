//! authz: docsgate's Envoy `ext_authz` policy sidecar.
//!
//! Adapters and command line around [`authz_core`]. The life of a request: [`envoy`] turns a `Check` into a request
//! view, [`authz_core::decide`] decides with [`facts`], [`envoy`] turns the decision into a response.

pub mod admin;
pub mod audit;
pub mod byte_budget;
pub mod candidate;
pub mod cli;
pub mod config;
pub mod decision_log;
pub mod envoy;
pub mod facts;
#[cfg(test)]
mod generated;
pub mod policy_source;
pub mod postgres;
pub mod serve;
pub mod telemetry;
