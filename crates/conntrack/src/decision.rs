//! What a protocol tells the tracker about a packet.
//!
//! A protocol's `packet` function looks at one packet of one connection and answers with an
//! [`L4Decision`]; it changes nothing but its own state inside the entry. The tracker turns the
//! answer into timeout, accounting, status and events, in one place for all protocols.

use crate::event::EventMask;
use crate::reason::Reason;
use crate::time::Span;

/// The answer of a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum L4Decision {
    /// Part of the connection.
    Accept(Accept),
    /// Part of the connection, but changes nothing and counts nowhere.
    Ignore(Option<Reason>),
    /// Not part of the connection.
    Invalid(Reason),
    /// Not part of the connection, but what came before in the packet has changed it: of what is
    /// brought about, ASSURED and the events.
    InvalidChanged(Reason, Accept),
    /// Not part of the connection, whose end is brought nearer: never farther than this.
    InvalidShorten(Reason, Span),
    /// Part of the connection, which ends with it.
    Kill,
    /// Ends the connection; the packet is looked up again.
    Repeat,
}

/// What an accepted packet brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Accept {
    /// The new timeout; without one the packet neither refreshes nor counts.
    pub(crate) timeout: Option<Span>,
    /// Whether the connection is ASSURED from now on.
    pub(crate) assured: bool,
    /// Events besides those of the status bits.
    pub(crate) events: EventMask,
    /// Why the packet was let pass although something is odd about it.
    pub(crate) reason: Option<Reason>,
}

impl Accept {
    pub(crate) const fn refresh(timeout: Span) -> Accept {
        Accept { timeout: Some(timeout), assured: false, events: EventMask::NONE, reason: None }
    }
}
