//! Events: what has happened to connections, for whoever listens, and dumps of what there is.
//!
//! A packet collects causes in its connection's entry; they are told as one event when it is
//! confirmed. Kernel counterpart: `nf_conntrack_ecache.c`, `ctnetlink_dump_table`.

use stateward_wire::Packet;

use super::Tracker;
use crate::entry::ConnId;
use crate::event::{Event, EventKind, EventMask, Record, Subject};
use crate::tell::{self, Telling};
use crate::time::Instant;
use crate::tuple::{Tuple, Zone};

impl Tracker {
    /// Whether somebody listens to events: with nf_conntrack_events = 2, only connections that are
    /// made meanwhile report any.
    pub fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// Takes the events told so far, oldest first, leaving the given buffer in their place.
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.events);
    }

    /// Whether there are events to take.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Every connection in the table as a dump shows it, IPv4 first.
    pub fn dump(&self) -> impl Iterator<Item = Record> + '_ {
        self.table
            .slots()
            .filter_map(|slot| tell::record(&self.table, slot, Telling::Dump, self.now))
    }

    /// One connection as a dump shows it; `None` once it has left the table.
    pub fn get(&self, id: ConnId) -> Option<Record> {
        let slot = self.table.slot_of(id)?;
        tell::record(&self.table, slot, Telling::Dump, self.now)
    }

    /// The connection of a packet that comes `now`, as a dump shows it, without anything being done
    /// to it; `None` if it has none in the table, or is an ICMP error.
    pub fn find(&self, packet: &Packet<'_>, now: Instant) -> Option<Record> {
        let tuple = Tuple::of(packet, Zone::DEFAULT)?;
        let (slot, _) = self.table.find(&self.with_source_key(tuple, packet.l4()))?;
        let record = tell::record(&self.table, slot, Telling::Dump, now)?;
        self.table.entry(slot).filter(|entry| entry.deadline() > now).map(|_| record)
    }

    /// Tells what a connection has collected.
    #[inline(never)]
    pub(super) fn deliver(&mut self, slot: u32) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        if entry.pending == 0 {
            return;
        }
        let causes = EventMask(core::mem::take(&mut entry.pending));
        if !entry.reports(causes) {
            return;
        }
        let kind = if causes.any(EventMask::NEW.with(EventMask::RELATED)) {
            EventKind::New
        } else {
            EventKind::Update
        };
        let record = tell::record(&self.table, slot, Telling::Event(kind, causes), self.now);
        if let Some(record) = record {
            let subject = Subject::Connection(record);
            self.events.push(Event { kind, at: self.now, subject });
        }
    }
}
