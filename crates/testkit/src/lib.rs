//! Packets, dialogues and the running kernel as a judge. Never shipped.
//!
//! [`build`] composes packets, right or deliberately broken ones; [`dialogue`] makes up whole
//! conversations of them, good and hostile, and [`adapt`] fits what is said behind NAT to what was
//! seen. [`kernel`] drives the netfilter of the Linux kernel this process runs on, packet by packet,
//! and reports everything it did; [`judge`] holds the engine to it. [`ruleset`] makes up rules for both.

pub mod adapt;
pub mod build;
pub mod dialogue;
#[cfg(target_os = "linux")]
pub mod judge;
#[cfg(target_os = "linux")]
pub mod kernel;
pub mod ruleset;
