//! The pure decision core of docsgate's gate.
//!
//! [`decide()`] turns one request into one decision, given an immutable policy snapshot, a way to ask for
//! facts, and the time. It knows no sockets, files, clocks, databases or executors: the server, `authz test`,
//! `authz explain` and `authz replay` all run this same function with facts that are live, written or recorded.
//!
//! The modules build on each other in one direction: identity < limit < route < policy < decide.

pub mod cases;
pub mod client_ip;
pub mod corpus;
pub mod cors;
pub mod decide;
pub mod decision;
pub mod entitlement;
pub mod explain;
pub mod facts;
pub mod identity;
pub mod limit;
pub mod policy;
pub mod record;
pub mod replay;
pub mod request;
pub mod route;
pub mod time;

pub use decide::{decide, decide_in_steps};
