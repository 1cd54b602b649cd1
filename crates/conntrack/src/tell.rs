//! What a message about a connection carries.
//!
//! The kernel's ctnetlink puts different attributes into NEW, UPDATE, DESTROY and a dump; what is
//! printed, compared and exported follows from that. This is the one place that decides it.

use stateward_wire::protocol;
use zerocopy::transmute_ref;

use crate::entry::{ConnId, Entry};
use crate::event::{EventKind, EventMask, GreTimeouts, ProtocolInfo, Record, Timestamps};
use crate::gre::GreTrack;
use crate::sctp::SctpTrack;
use crate::status::Direction;
use crate::table::Table;
use crate::tcp::TcpTrack;
use crate::time::Instant;

/// The occasion of a message.
#[derive(Clone, Copy)]
pub(crate) enum Telling {
    /// An event and its causes.
    Event(EventKind, EventMask),
    /// Somebody asked.
    Dump,
}

impl Telling {
    fn is_destroy(self) -> bool {
        matches!(self, Telling::Event(EventKind::Destroy, _))
    }

    fn is_dump(self) -> bool {
        matches!(self, Telling::Dump)
    }

    fn caused_by(self, cause: EventMask) -> bool {
        matches!(self, Telling::Event(_, causes) if causes.any(cause))
    }
}

/// The connection in `slot`, as told at `at`.
pub(crate) fn record(table: &Table, slot: u32, telling: Telling, at: Instant) -> Option<Record> {
    let entry = table.entry(slot)?;
    let seconds = at.until(entry.deadline()).as_timeout();
    let timeout = u32::try_from(seconds).unwrap_or(u32::MAX);
    let with_state =
        telling.is_dump() || telling.is_destroy() || telling.caused_by(EventMask::PROTOINFO);
    let with_counters = telling.is_dump() || telling.is_destroy();
    let extra = table.extra_of(entry);
    let noted = extra.and_then(|extra| extra.timestamps);
    let timestamps = noted.filter(|_| with_counters);
    Some(Record {
        id: ConnId { slot, generation: entry.generation },
        original: table.tuple(slot, Direction::Original)?,
        reply: table.tuple(slot, Direction::Reply)?,
        status: entry.status,
        // An entry that ended by itself has no time left to tell.
        timeout: (!telling.is_destroy() || timeout > 0).then_some(timeout),
        protocol: with_state.then(|| protocol_info(entry, !telling.is_destroy())).flatten(),
        gre: telling.is_dump().then(|| gre_timeouts(entry)).flatten(),
        mark: (telling.is_dump() || entry.mark != 0 || telling.caused_by(EventMask::MARK))
            .then_some(entry.mark),
        counters: table.counters(slot).filter(|_| with_counters),
        timestamps: timestamps
            .map(|times| Timestamps { stop: telling.is_destroy().then_some(at), ..times }),
        event_time: noted.filter(|_| !telling.is_dump()).map(|_| at),
        labels: extra
            .and_then(|extra| extra.labels)
            .filter(|_| telling.is_dump() || telling.caused_by(EventMask::LABEL)),
        helper: extra.and_then(|extra| extra.helper).filter(|_| !telling.is_destroy()),
        master: extra
            .and_then(|extra| extra.master)
            .filter(|_| telling.is_dump() || telling.caused_by(EventMask::RELATED))
            .map(|(_, tuple)| tuple),
    })
}

pub(crate) fn protocol_info(entry: &Entry, in_full: bool) -> Option<ProtocolInfo> {
    match entry.original.protocol {
        protocol::TCP => {
            let track: &TcpTrack = transmute_ref!(&entry.l4);
            Some(ProtocolInfo::Tcp(track.info(in_full)))
        }
        protocol::SCTP => {
            let track: &SctpTrack = transmute_ref!(&entry.l4);
            Some(ProtocolInfo::Sctp(track.info(in_full)))
        }
        _ => None,
    }
}

fn gre_timeouts(entry: &Entry) -> Option<GreTimeouts> {
    if entry.original.protocol != protocol::GRE {
        return None;
    }
    let &GreTrack { timeout, stream_timeout, .. } = transmute_ref!(&entry.l4);
    Some(GreTimeouts { timeout, stream_timeout })
}
