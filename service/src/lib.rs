//! What both programs are as processes, apart from what they do: how they log, where their spans go, which build they are,
//! how they say that they are up, how they end and with which exit code, how long they wait between two attempts, what
//! environment variables mean, and who may use the listeners beside the one that serves.

pub mod environment;
pub mod exit;
pub mod logs;
pub mod operators;
pub mod pauses;
pub mod ready_file;
mod records;
pub mod revision;
pub mod signals;
mod traces;

pub use records::Records;
pub use traces::{Span, Traces};
