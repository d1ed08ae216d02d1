//! Developer commands: demo, test.

fn main() {}
