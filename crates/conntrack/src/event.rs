//! Events: what `conntrack -E` prints, with exactly the attributes the kernel's message carries.
//!
//! A connection collects causes in an [`EventMask`] while a packet is processed; they are told as
//! one event when the packet reaches the end of its way (the kernel's confirm hook), so that a NEW
//! and its first state, or ASSURED and the state that brought it, come as one line. A DESTROY is
//! told at once. [`Record`] is also what a dump of the table holds; which fields are present
//! differs by [`EventKind`] and stands in `Record::of`.

use crate::entry::ConnId;
use crate::expect::Expectation;
use crate::sctp::SctpInfo;
use crate::status::{PerDir, Status};
use crate::tcp::TcpInfo;
use crate::time::Instant;
use crate::tuple::Tuple;

/// Causes of an event, as the kernel's `IPCT_*` bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventMask(pub u16);

impl EventMask {
    /// Nothing happened.
    pub const NONE: EventMask = EventMask(0);
    /// Entered the table.
    pub const NEW: EventMask = EventMask(1 << 0);
    /// Entered the table, announced by another connection.
    pub const RELATED: EventMask = EventMask(1 << 1);
    /// Left the table.
    pub const DESTROY: EventMask = EventMask(1 << 2);
    /// The first reply was seen.
    pub const REPLY: EventMask = EventMask(1 << 3);
    /// Became ASSURED.
    pub const ASSURED: EventMask = EventMask(1 << 4);
    /// The protocol's state changed.
    pub const PROTOINFO: EventMask = EventMask(1 << 5);
    /// A helper was assigned.
    pub const HELPER: EventMask = EventMask(1 << 6);
    /// The mark changed.
    pub const MARK: EventMask = EventMask(1 << 7);
    /// Sequence adjustment changed.
    pub const SEQADJ: EventMask = EventMask(1 << 8);
    /// The labels changed.
    pub const LABEL: EventMask = EventMask(1 << 10);

    /// Whether one of `bits` is set.
    #[inline]
    pub const fn any(self, bits: EventMask) -> bool {
        self.0 & bits.0 != 0
    }

    /// Both.
    #[inline]
    #[must_use]
    pub const fn with(self, bits: EventMask) -> EventMask {
        EventMask(self.0 | bits.0)
    }
}

/// The kind of an event, as the tool's tag names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A connection entered the table.
    New,
    /// Something about a connection changed.
    Update,
    /// A connection left the table.
    Destroy,
}

impl EventKind {
    /// `NEW`, `UPDATE` or `DESTROY`.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::New => "NEW",
            EventKind::Update => "UPDATE",
            EventKind::Destroy => "DESTROY",
        }
    }
}

/// Packets and bytes of one direction, bytes counted from the IP header on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a protocol tells about its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolInfo {
    /// TCP.
    Tcp(TcpInfo),
    /// SCTP.
    Sctp(SctpInfo),
}

/// The timeouts of a GRE flow in seconds, those of the moment it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GreTimeouts {
    /// While only one side has spoken.
    pub timeout: u32,
    /// Once both have.
    pub stream_timeout: u32,
}

/// 128 connection labels, bit n being label n.
pub type Labels = u128;

/// When a connection entered and left the table, on the caller's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// When it was confirmed.
    pub start: Instant,
    /// When it ended; absent while it lives.
    pub stop: Option<Instant>,
}

/// A connection as an event or a dump shows it. `None` is "not in this message".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which entry.
    pub id: ConnId,
    /// The direction of the first packet.
    pub original: Tuple,
    /// The direction of the answers.
    pub reply: Tuple,
    /// Status bits.
    pub status: Status,
    /// Seconds left.
    pub timeout: Option<u32>,
    /// The protocol's state.
    pub protocol: Option<ProtocolInfo>,
    /// GRE's timeouts; only in a dump, for /proc: netlink does not carry them.
    pub gre: Option<GreTimeouts>,
    /// The mark.
    pub mark: Option<u32>,
    /// Packets and bytes.
    pub counters: Option<PerDir<Counter>>,
    /// Start and stop.
    pub timestamps: Option<Timestamps>,
    /// When the event happened, for connections that note their start and stop
    /// (`CTA_TIMESTAMP_EVENT`).
    pub event_time: Option<Instant>,
    /// Labels.
    pub labels: Option<Labels>,
    /// The helper's name.
    pub helper: Option<&'static str>,
    /// The original tuple of the connection that announced this one.
    pub master: Option<Tuple>,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When: the packet's time, or the deadline of a timeout.
    pub at: Instant,
    /// To what. Connections and expectations share one stream, so that their order is kept.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A connection.
    Connection(Record),
    /// An expectation; it is never updated.
    Expectation(Expectation),
}

impl Event {
    /// The connection it is about, if it is about one.
    pub fn connection(&self) -> Option<&Record> {
        match &self.subject {
            Subject::Connection(record) => Some(record),
            Subject::Expectation(_) => None,
        }
    }

    /// The expectation it is about, if it is about one.
    pub fn expectation(&self) -> Option<&Expectation> {
        match &self.subject {
            Subject::Connection(_) => None,
            Subject::Expectation(expectation) => Some(expectation),
        }
    }

    /// Its name in the trace: `NEW`, `UPDATE`, `DESTROY`, `EXP_NEW`, `EXP_DESTROY`.
    pub const fn name(&self) -> &'static str {
        match (&self.subject, self.kind) {
            (Subject::Connection(_), kind) => kind.name(),
            (Subject::Expectation(_), EventKind::Destroy) => "EXP_DESTROY",
            (Subject::Expectation(_), _) => "EXP_NEW",
        }
    }
}
