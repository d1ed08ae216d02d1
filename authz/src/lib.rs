//! authz: docsgate's Envoy `ext_authz` policy sidecar.
//!
//! The engine, its front ends and the command line around [`authz_core`]. The life of a request: a [front end](front) turns
//! what its proxy sent into a raw request, the [`gate`] reads it, decides with [`facts`] and renders an [`answer`], and the
//! front end says that in its proxy's words.

pub mod admin;
pub mod answer;
pub mod candidate;
pub mod cli;
pub mod config;
pub mod decision_log;
pub mod facts;
pub mod front;
pub mod gate;
#[cfg(test)]
mod generated;
pub mod policy_source;
pub mod postgres;
pub mod serve;
pub mod settings;
pub mod telemetry;
