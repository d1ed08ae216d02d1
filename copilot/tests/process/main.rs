//! The real process, from the outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its setting-up fails")]

mod ask;
mod generated;
mod model;
mod publish;
mod serve;
mod server;
