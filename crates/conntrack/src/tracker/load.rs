//! Connections that another tracker had: a table that starts from a dump.
//!
//! A dump does not hold all of a connection. What it leaves out is as for an entry that
//! `conntrack -I` makes in the kernel: TCP's numbers are not known, and neither side is held to
//! any; UDP is a stream from now on; SCTP's tags are 0. Kernel counterpart:
//! `ctnetlink_create_conntrack`.

use stateward_wire::protocol;

use super::Template;
use super::Tracker;
use crate::entry::{ConnId, Flags};
use crate::event::{Counter, Labels, Timestamps};
use crate::gre::GreTrack;
use crate::sctp::{SctpState, SctpTrack};
use crate::status::{Direction, PerDir, Status};
use crate::table::{InsertError, Unconfirmed};
use crate::tcp::{TcpState, TcpTrack};
use crate::time::{Instant, Span};
use crate::tuple::Tuple;

/// A connection as a dump tells of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// The direction of the first packet.
    pub original: Tuple,
    /// The direction of the answers.
    pub reply: Tuple,
    /// ASSURED, SEEN_REPLY and what else is told. What follows from the tuples (NAT) and from its
    /// being in a table is added.
    pub status: Status,
    /// Seconds left; a day, if that is not told (of what is offloaded it is not).
    pub timeout: Option<u32>,
    /// The protocol's state.
    pub state: Option<GivenState>,
    /// The mark.
    pub mark: u32,
    /// Packets and bytes.
    pub counters: Option<PerDir<Counter>>,
    /// How many seconds ago it began.
    pub age: Option<u32>,
    /// The helper's name.
    pub helper: Option<&'static str>,
    /// The labels, a bit each.
    pub labels: Labels,
}

/// A protocol's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GivenState {
    /// TCP's.
    Tcp(TcpState),
    /// SCTP's.
    Sctp(SctpState),
}

/// Why a connection cannot be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Another one has one of its tuples already.
    Taken,
    /// There is no room.
    Full,
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            LoadError::Taken => "there is a connection with this tuple already",
            LoadError::Full => "the table is full (net.netfilter.nf_conntrack_max)",
        })
    }
}

impl Tracker {
    /// Puts a connection into the table. No event is told.
    ///
    /// # Errors
    /// When one of its tuples is taken, or there is no room.
    pub fn load(&mut self, given: &Given, now: Instant) -> Result<ConnId, LoadError> {
        /// Of what is offloaded, the kernel adds a day to the timeout again and again.
        const OFFLOADED: u32 = 86_400;
        self.handle_timeout(now);
        let place = self.table.place(&given.original);
        let mut conn = Unconfirmed::new(given.original, given.reply, place);
        self.equip(&mut conn, &Template::default());
        conn.entry.flags.clear(Flags::ACCOUNTING);
        let timeout = Span::secs(given.timeout.unwrap_or(OFFLOADED));
        conn.entry.deadline = (now + timeout).0;
        conn.entry.mark = given.mark;
        conn.entry.status = given.status;
        conn.entry.status.set(Status::CONFIRMED);
        conn.entry.status.set(translated(&given.original, &given.reply));
        match (given.state, given.original.protocol()) {
            (Some(GivenState::Tcp(state)), _) => TcpTrack::load(&mut conn.entry.l4, state),
            (Some(GivenState::Sctp(state)), _) => SctpTrack::load(&mut conn.entry.l4, state),
            (None, protocol::GRE) => GreTrack::load(&mut conn.entry.l4, &self.sysctls),
            (None, _) => {}
        }
        if let Some(counters) = given.counters {
            conn.entry.flags.set(Flags::ACCOUNTING);
            conn.counters = counters;
        }
        if let Some(age) = given.age {
            let start = now - Span::secs(age);
            conn.extra_mut().timestamps = Some(Timestamps { start, stop: None });
        }
        if let Some(helper) = given.helper {
            conn.assign_helper(helper);
            self.helping = true;
            conn.extra_mut().memory.unheard = PerDir([true; 2]);
        }
        if given.labels != 0 {
            conn.entry.flags.set(Flags::LABELS);
            conn.extra_mut().labels = Some(given.labels);
        }
        self.table.insert(&mut conn, now).map_err(|error| match error {
            InsertError::Taken(..) => LoadError::Taken,
            InsertError::Full | InsertError::ChainTooLong => LoadError::Full,
        })
    }
}

/// The NAT that two tuples tell of.
fn translated(original: &Tuple, reply: &Tuple) -> Status {
    let mut status = Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0);
    let Some(inverse) = original.inverse() else { return status };
    let key = [inverse.key, reply.key];
    let end = |direction| match direction {
        // The answers' destination is who asked, their source who was asked.
        Direction::Original => {
            inverse.destination() != reply.destination()
                || key[0].destination_port != key[1].destination_port
        }
        Direction::Reply => {
            inverse.source() != reply.source() || key[0].source_port != key[1].source_port
        }
    };
    if end(Direction::Original) {
        status.set(Status::SRC_NAT);
    }
    if end(Direction::Reply) {
        status.set(Status::DST_NAT);
    }
    status
}
