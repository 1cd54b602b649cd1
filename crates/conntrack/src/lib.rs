//! Linux's connection tracking as a sans-IO library.
//!
//! A [`Tracker`] is one network namespace's connection tracking on one core: packets and times go
//! in, states, events and entries come out. It reads no clock, opens no socket, starts no thread
//! and draws no random number; with the same packets, times and seed it does the same, always.
//!
//! Where to look: [`tracker`](Tracker) for what happens to a packet, `tcp`, `udp`, `icmp`,
//! `icmpv6`, `sctp` and `gre` for what each protocol makes of it, `table`, `index` and `wheel` for
//! how connections are kept, `event` for what is told, `sysctl` for the settings.

#![deny(unsafe_code)]

mod calls;
mod decision;
mod entry;
pub mod event;
pub mod expect;
mod gre;
mod icmp;
mod icmpv6;
mod index;
mod memory;
mod policy;
mod prefetch;
mod reason;
pub mod sctp;
mod seqadj;
mod statistics;
mod status;
mod sysctl;
mod table;
pub mod tcp;
mod tell;
pub mod text;
mod time;
mod tracker;
mod tuple;
mod udp;
mod wheel;

pub use calls::Call;
pub use entry::ConnId;
pub use event::{
    Counter, Event, EventKind, EventMask, GreTimeouts, Labels, ProtocolInfo, Record, Subject,
    Timestamps,
};
pub use expect::Expectations;
pub use memory::Arena;
pub use policy::{PolicyId, TimeoutPolicy};
pub use prefetch::prefetch;
pub use reason::{DropReason, Reason};
pub use seqadj::SeqAdjust;
pub use statistics::Statistics;
pub use status::{CtState, Direction, PerDir, Status};
pub use sysctl::{EventMode, SysctlError, Sysctls};
pub use table::Unconfirmed;
pub use time::{Instant, NANOS_PER_SECOND, Span};
pub use tracker::{
    Approach, Assigned, Config, Flow, Given, GivenState, Glimpse, HelperMemory, Hook, Life,
    LoadError, Reports, Standing, Template, Tracked, Tracker, Unfinished,
};
pub use tuple::{Endpoint, L4Key, Tuple, Zone};
