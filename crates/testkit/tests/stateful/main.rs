//! Matches and targets that remember, or ask what a packet does not tell: the same rules and packets before the running kernel and
//! before the engine, with real time between the packets where time counts.
//!
//! Compared are the rules that each packet met, as the kernel's TRACE tells them, the counters of
//! every rule, and what the kernel shows of its memory. Times are chosen so that nothing is decided
//! within a tenth of a second of a packet.
//!
//! STATEWARD_STATEFUL_SEED (1) and STATEWARD_STATEFUL_ROUNDS choose. Without root or netfilter
//! these tests say so and pass; with STATEWARD_REQUIRE_KERNEL=1 that fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

mod both;
mod connlimit;
mod hashlimit;
mod known;
mod recent;
mod set;
mod string;
mod time;
