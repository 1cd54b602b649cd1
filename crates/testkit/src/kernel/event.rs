//! What the kernel announces about connections and expectations, in the order it does.

use std::fmt;

use super::attribute::{Attributes, Message};
use super::entry::Entry;
use super::expectation::Expectation;

/// One announcement. Connections and expectations share one stream, so that their order is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// New, changed or gone.
    pub kind: EventKind,
    /// What the message said about it.
    pub subject: Subject,
    /// The netlink port of the process that caused it; 0 if packets or time did.
    pub port: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It is new.
    New,
    /// It has changed.
    Update,
    /// It is gone.
    Destroy,
}

/// To what it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A connection.
    Connection(Box<Entry>),
    /// An expectation.
    Expectation(Box<Expectation>),
}

/// Multicast groups of connection and expectation events: bits 0 to 5.
pub(super) const GROUPS: u32 = 0b11_1111;

const SUBSYSTEM_CONNECTION: u16 = 1;
const SUBSYSTEM_EXPECTATION: u16 = 2;
const MESSAGE_NEW: u16 = 0;
const MESSAGE_DELETE: u16 = 2;
const FLAG_CREATE: u16 = 0x400;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name())?;
        match &self.subject {
            Subject::Connection(entry) => entry.fmt(f),
            Subject::Expectation(expectation) => expectation.fmt(f),
        }
    }
}

impl Event {
    /// The connection it is about, if it is about one.
    pub fn connection(&self) -> Option<&Entry> {
        match &self.subject {
            Subject::Connection(entry) => Some(entry),
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

    /// Its name in the trace: `NEW`, `UPDATE`, `DESTROY`, `EXP_NEW`, `EXP_UPDATE`, `EXP_DESTROY`.
    pub fn name(&self) -> &'static str {
        match (&self.subject, self.kind) {
            (Subject::Connection(_), EventKind::New) => "NEW",
            (Subject::Connection(_), EventKind::Update) => "UPDATE",
            (Subject::Connection(_), EventKind::Destroy) => "DESTROY",
            (Subject::Expectation(_), EventKind::New) => "EXP_NEW",
            (Subject::Expectation(_), EventKind::Update) => "EXP_UPDATE",
            (Subject::Expectation(_), EventKind::Destroy) => "EXP_DESTROY",
        }
    }

    /// Decodes a message of one of the [`GROUPS`]; none if it is something else.
    pub(super) fn decode(message: &Message<'_>) -> Option<Self> {
        let kind = kind(message)?;
        let (family, attributes) = message.netfilter()?;
        let subject = match message.kind >> 8 {
            SUBSYSTEM_CONNECTION => {
                Subject::Connection(Box::new(Entry::decode(family.number, attributes)))
            }
            SUBSYSTEM_EXPECTATION => {
                Subject::Expectation(Box::new(Expectation::decode(family.number, attributes)))
            }
            _ => return None,
        };
        Some(Self { kind, subject, port: message.port })
    }
}

fn kind(message: &Message<'_>) -> Option<EventKind> {
    match message.kind & 0xff {
        MESSAGE_NEW if message.flags & FLAG_CREATE != 0 => Some(EventKind::New),
        MESSAGE_NEW => Some(EventKind::Update),
        MESSAGE_DELETE => Some(EventKind::Destroy),
        _ => None,
    }
}

/// The kind, family and attributes of an event about a connection; none if it is something else.
pub(super) fn about_connection<'a>(
    message: &Message<'a>,
) -> Option<(EventKind, u8, Attributes<'a>)> {
    let (family, attributes) = message.netfilter()?;
    let matches = message.kind >> 8 == SUBSYSTEM_CONNECTION;
    kind(message).filter(|_| matches).map(|kind| (kind, family.number, attributes))
}
