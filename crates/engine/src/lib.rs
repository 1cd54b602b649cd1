//! Linux's packet walk as a sans-IO library.
//!
//! An [`Engine`] is one network namespace on one core: a packet goes in with the interface it came
//! from and the time, and walks the hooks as the kernel's packets do: defragmentation, connection
//! tracking, routing, confirmation. What became of it is the return value; what the walk brought
//! about besides (fragments, ICMP errors, events) is drained afterwards.
//!
//! Where to look: `walk` for the order of everything, `route` for what routing decides, `defrag`
//! and `pieces` for fragments, `nat` and `help` for the turns of NAT and of helpers, `host` for the
//! ICMP errors this host sends, `account` for what is noted of a packet's way on request.

#![forbid(unsafe_code)]

pub mod account;
pub mod defrag;
mod engine;
mod follow;
mod help;
mod host;
mod link;
mod nat;
mod options;
mod pieces;
mod room;
pub mod route;
pub mod rules;
pub mod source;
mod walk;

pub use engine::{
    Arrival, At, BURST, By, Config, Connection, Emitted, Engine, From, Outcome, Port, Verdict, Why,
};
pub use link::LinkHeader;
pub use nat::NatDrop;
pub use route::InterfaceId;

/// The examples of the README, held to compile and to be true.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
