//! Packets, dialogues and the running kernel as a judge. Never shipped.
//!
//! [`build`] composes packets, right or deliberately broken ones. [`kernel`] drives the netfilter of
//! the Linux kernel this process runs on, packet by packet, and reports everything it did.

pub mod build;
#[cfg(target_os = "linux")]
pub mod kernel;
