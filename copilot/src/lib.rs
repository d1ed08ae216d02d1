//! docsgate's grounded documentation retrieval backend.

pub mod answer;
pub mod api;
pub mod app;
pub mod capacity;
pub mod cli;
pub mod clock;
pub mod conversation;
pub mod corpus;
pub mod eval;
pub mod generate;
pub mod grant_guard;
pub mod index;
pub mod interface;
pub mod metrics;
pub mod problem;
pub mod retrieval;
pub mod rpc;
pub mod search;
pub mod serve;
pub mod unanswered;
