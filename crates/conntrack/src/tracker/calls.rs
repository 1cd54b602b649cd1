//! What a PPTP control connection does to the calls that it has announced.
//!
//! A call is expected from both sides at once; whoever comes first, the other one is expected no
//! more. It ends with a message of the control connection, or with that connection itself: then the
//! GRE connection is gone at once, or is not expected any longer. Kernel counterparts: `exp_gre`,
//! `pptp_expectfn`, `pptp_destroy_siblings`, `destroy_gre_conntrack`.

use stateward_wire::protocol;

use super::{Flow, Template, Tracker};
use crate::calls::Call;
use crate::entry::ConnId;
use crate::expect::{Announcement, ExpectError, Expectation, Log, zone_of};
use crate::gre;
use crate::status::{Direction, PerDir, Status};
use crate::table::Unconfirmed;
use crate::time::Instant;
use crate::tuple::{Key, Tuple};

impl Tracker {
    /// Announces the GRE packets of a call, those of the original direction first; both, or none.
    pub fn expect_call(
        &mut self,
        flow: &mut Flow,
        [original, reply]: [Announcement; 2],
    ) -> Result<(), ExpectError> {
        let Flow::Confirmed(master) = *flow else { return Err(ExpectError::NoMaster) };
        let tuples = [original.tuple, reply.tuple];
        let first = self.expect(flow, original)?;
        let second = self.expect(flow, reply).inspect_err(|_| {
            self.unexpect(first);
        })?;
        let mut fits = self.calls.add(master, Direction::Original, &tuples[0]);
        if fits && !self.calls.add(master, Direction::Reply, &tuples[1]) {
            self.calls.remove(master);
            fits = false;
        }
        if !fits {
            self.unexpect(second);
            self.unexpect(first);
            return Err(ExpectError::Already);
        }
        Ok(())
    }

    /// A control connection says that its call is over.
    pub fn end_call(&mut self, flow: &Flow, call: &Call) {
        let (Flow::Confirmed(id), Some(tuples)) = (flow, self.tuples(flow)) else { return };
        self.end_call_of(*id, &tuples, call, self.now);
    }

    /// A GRE connection that will not enter the table takes the keys of its call with it as well.
    pub(super) fn forget_key(&mut self, conn: &Unconfirmed) {
        let extra = conn.extra.as_deref().filter(|_| !self.calls.is_empty());
        if let Some((master, _)) = extra.and_then(|extra| extra.master)
            && conn.entry.original.protocol == protocol::GRE
        {
            self.calls.remove(master);
        }
    }

    /// The call of a control connection that is no more, and the keys of one whose GRE connection
    /// is no more.
    pub(super) fn end_calls(&mut self, slot: u32, at: Instant) {
        let Some(entry) = self.table.entry(slot) else { return };
        let id = ConnId { slot, generation: entry.generation };
        let Some(extra) = self.table.extra_of(entry) else { return };
        if entry.original.protocol == protocol::GRE
            && let Some((master, _)) = extra.master
        {
            self.calls.remove(master);
        }
        let Some(call) = extra.memory.call else { return };
        let tuple = |direction| self.table.tuple(slot, direction);
        let Some(original) = tuple(Direction::Original) else { return };
        let Some(reply) = tuple(Direction::Reply) else { return };
        self.end_call_of(id, &PerDir([original, reply]), &call, at);
    }

    fn end_call_of(&mut self, master: ConnId, tuples: &PerDir<Tuple>, call: &Call, at: Instant) {
        self.calls.remove(master);
        let zones = PerDir(tuples.0.map(|tuple| tuple.zone()));
        let template = Template { zones, ..Template::default() };
        for direction in [Direction::Original, Direction::Reply] {
            let mut tuple = call_of(&tuples[direction], call.ids[direction], call.ids[!direction]);
            tuple.key.zone = zones[Direction::Original].0;
            let found = self.find_in(self.table.place(&tuple), &tuple, &template);
            if let Some((slot, _)) = found {
                self.unlink(slot, at);
            } else if let Some(expected) = self.expectations.find(&tuple, zone_of(tuples)) {
                let id = expected.id;
                self.expectations.remove(id, &mut Log { at, events: &mut self.events });
            }
        }
    }

    /// One direction of a call has come: the other one is expected no more.
    pub(super) fn call_has_come(&mut self, arrived: &Expectation) {
        let tuple = &arrived.announced.tuple;
        if tuple.protocol() != protocol::GRE {
            return;
        }
        let (id, tuples) = (arrived.master.id, arrived.master.tuples);
        let Some(entry) = self.table.live(id) else { return };
        let call = self.table.extra_of(entry).and_then(|extra| extra.memory.call);
        let translated = entry.status.has(Status::SRC_NAT) || entry.status.has(Status::DST_NAT);
        let other = match (call, arrived.announced.nat.map(|nat| nat.direction)) {
            (Some(call), Some(Direction::Original)) if translated => {
                let PerDir([client, server]) = call.ids;
                Some(call_of(&tuples[Direction::Reply], server, client))
            }
            // The kernel looks for the ids in the new connection, which has none: what is expected
            // of the client stays.
            (Some(_), Some(Direction::Reply)) if translated => {
                Some(call_of(&tuples[Direction::Original], 0, 0))
            }
            _ => tuple.inverse(),
        };
        let zone = zone_of(&tuples);
        let found = other.and_then(|other| self.expectations.find(&other, zone));
        if let Some(other) = found.map(|other| other.id) {
            self.unexpect(other);
        }
    }

    /// Completes the tuple of a GRE packet that names its receiver's end of a call.
    #[inline]
    pub(super) fn with_source_key(&self, tuple: Tuple, l4: &[u8]) -> Tuple {
        if tuple.key.protocol != protocol::GRE || self.calls.is_empty() {
            return tuple;
        }
        self.keyed(tuple, l4)
    }

    #[cold]
    fn keyed(&self, mut tuple: Tuple, l4: &[u8]) -> Tuple {
        if gre::is_of_call(l4) && tuple.key.version == 4 {
            tuple.key.source_port = self.calls.source_key(&tuple);
        }
        tuple
    }
}

/// The GRE packets between the ends of a control connection.
fn call_of(tuple: &Tuple, source: u16, destination: u16) -> Tuple {
    let key = Key {
        protocol: protocol::GRE,
        source_port: source,
        destination_port: destination,
        ..tuple.key
    };
    Tuple { key, ..*tuple }
}
