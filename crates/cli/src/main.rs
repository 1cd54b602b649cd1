//! The `stateward` binary.
fn main() {}
