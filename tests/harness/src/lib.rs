//! Starts the real processes that the demo and the tests run against.
