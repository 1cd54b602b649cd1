//! Captures in, virtual clock, trace out.
//!
//! A replay reads what somebody captured, drives the engine with it on the capture's own clock,
//! and says what the kernel would have done. The parts, in the order a packet meets them:
//!
//! - [`config`]: `gateway.toml`, the machine a replay stands in for;
//! - [`capture`]: pcap and pcapng, plain or compressed, as a stream of IP packets;
//! - [`merge`]: several captures as one stream in the order of time;
//! - [`describe`]: one packet, one line, in tcpdump's manner;
//! - [`write`]: pcapng of what left the machine.
//!
//! Files are untrusted: no byte of one can make this crate panic, loop or take memory without
//! bound. Reading a packet, describing it and writing it allocate nothing once the buffers are
//! there (`tests/allocations.rs` counts).

pub mod capture;
pub mod config;
pub mod describe;
pub mod merge;
pub mod write;

#[cfg(test)]
mod craft;
