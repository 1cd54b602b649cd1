//! Captures in, virtual clock, trace out.
//!
//! A replay reads what somebody captured, drives the engine with it on the capture's own clock,
//! and says what the kernel would have done. The parts, in the order a packet meets them:
//!
//! - [`config`]: `gateway.toml`, [`ip`]: what the kernel itself says of its network, and [`machine`],
//!   what they say as the engine takes it;
//! - [`capture`]: pcap and pcapng, plain or compressed, as a stream of IP packets;
//! - [`merge`]: several captures as one stream in the order of time;
//! - [`run`]: the loop, which hands each packet to the engine and what came of it to a sink;
//! - [`entrance`]: where a packet entered the machine, and [`sighting`]: what left it and is no
//!   input;
//! - [`verify`]: what was predicted to leave, held against what left;
//! - [`reach`]: what rules name that no packet can reach;
//! - [`numbering`]: the connections' numbers;
//! - [`text`] and [`trace`]: what came of it for people and for programs, [`describe`]: one packet,
//!   one line, in tcpdump's manner; [`explain`]: one packet's way in full;
//! - [`table`]: connections that there are before the first packet;
//! - [`typed`]: packets that no capture holds, as people type them;
//! - [`summary`]: the numbers of all of it;
//! - [`leaving`] and [`mod@write`]: pcapng of what left the machine.
//!
//! Files are untrusted: no byte of one can make this crate panic, loop or take memory without
//! bound. Reading a packet, describing it and writing it allocate nothing once the buffers are
//! there (`tests/allocations.rs` counts).

pub mod capture;
pub mod config;
pub mod describe;
pub mod entrance;
pub mod explain;
pub mod ip;
pub mod leaving;
pub mod machine;
pub mod merge;
pub mod numbering;
pub mod reach;
pub mod run;
pub mod sighting;
pub mod summary;
pub mod table;
pub mod text;
pub mod trace;
pub mod typed;
pub mod verify;
pub mod write;

mod ahead;
mod likeness;
mod picture;

#[cfg(test)]
mod craft;
