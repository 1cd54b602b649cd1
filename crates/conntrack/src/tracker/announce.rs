//! Expectations on a packet's way: its connection announces another one, or was announced itself.
//!
//! A helper may announce with the very first packet of a connection, before that is in the table (a
//! TFTP request does). Such a master goes by a name that no entry has; what it announced matches
//! nothing, gets its true master when the connection is confirmed, and goes when it is forgotten.

use super::{Flow, Tracker};
use crate::entry::{ConnId, NONE};
use crate::expect::{Announcement, ExpectError, ExpectId, Expectation, Log, Master, zone_of};
use crate::status::{Direction, PerDir, Status};
use crate::table::Unconfirmed;
use crate::time::Span;
use crate::tuple::Tuple;

impl Tracker {
    /// Announces a connection on behalf of the helper of `flow`.
    pub fn expect(
        &mut self,
        flow: &mut Flow,
        announced: Announcement,
    ) -> Result<ExpectId, ExpectError> {
        let master = self.master(flow).ok_or(ExpectError::NoMaster)?;
        let log = Log { at: self.now, events: &mut self.events };
        self.expectations.insert(master, announced, self.sysctls.expect_max, log)
    }

    /// The newest that a packet's connection has announced, or the newest older than another one.
    pub fn own_before(&self, flow: &Flow, before: Option<ExpectId>) -> Option<&Expectation> {
        let mut own = self.expectations.of(master_id(flow)?).rev();
        own.find(|one| before.is_none_or(|before| one.id < before))
    }

    /// What a packet with this tuple would fulfil, if it is in the zone of `flow` and another
    /// connection has announced it.
    pub fn expected_elsewhere(&self, flow: &Flow, tuple: &Tuple) -> Option<&Expectation> {
        let zone = zone_of(&self.tuples(flow)?);
        let own = master_id(flow);
        self.expectations.find(tuple, zone).filter(|found| Some(found.master.id) != own)
    }

    /// Takes an expectation back; `None` if it is gone already.
    pub fn unexpect(&mut self, id: ExpectId) -> Option<Expectation> {
        self.expectations.remove(id, &mut Log { at: self.now, events: &mut self.events })
    }

    /// Takes every expectation back.
    pub fn flush_expectations(&mut self) {
        self.expectations.clear(Log { at: self.now, events: &mut self.events });
    }

    /// Lets an expectation end this many seconds from now; false if it is gone.
    pub fn refresh_expectation(&mut self, id: ExpectId, seconds: u32) -> bool {
        self.expectations.refresh(id, Span::secs(seconds), self.now)
    }

    /// Lets an INACTIVE expectation be fulfilled from now on; false if it is gone.
    pub fn activate_expectation(&mut self, id: ExpectId) -> bool {
        self.expectations.activate(id)
    }

    fn master(&mut self, flow: &mut Flow) -> Option<Master> {
        match flow {
            Flow::None => None,
            Flow::Confirmed(id) => {
                let slot = self.table.slot_of(*id)?;
                let original = self.table.tuple(slot, Direction::Original)?;
                let reply = self.table.tuple(slot, Direction::Reply)?;
                let reports = self.table.entry(slot)?.expect_events();
                Some(Master { id: *id, tuples: PerDir([original, reply]), reports })
            }
            Flow::Unconfirmed(conn) => {
                if conn.entry.generation == 0 {
                    self.masters = self.masters.wrapping_add(1).max(1);
                    conn.entry.generation = self.masters;
                }
                let tuples = [conn.tuple(Direction::Original), conn.tuple(Direction::Reply)];
                let reports = conn.entry.expect_events();
                Some(Master { id: provisional(conn), tuples: PerDir(tuples), reports })
            }
        }
    }

    /// Makes a new connection the child of the one that announced it, if one in the table did.
    pub(super) fn expected(&mut self, conn: &mut Unconfirmed) -> Option<Box<Expectation>> {
        if self.expectations.is_empty() {
            return None;
        }
        let tuples = [conn.tuple(Direction::Original), conn.tuple(Direction::Reply)];
        let zone = zone_of(&PerDir(tuples));
        let found = self.expectations.find(&tuples[0], zone)?;
        let (id, master) = (found.id, found.master);
        let mark = self.table.entry(self.table.slot_of(master.id)?)?.mark;
        let log = Log { at: self.now, events: &mut self.events };
        let expectation = self.expectations.arrive(id, log)?;
        self.call_has_come(&expectation);
        conn.entry.status.set(Status::EXPECTED);
        conn.entry.mark = mark;
        let extra = conn.extra_mut();
        extra.master = Some((master.id, master.tuples[Direction::Original]));
        if let Some(helper) = expectation.announced.assigns {
            // Its status does not say so, as in the kernel.
            conn.extra_mut().helper = Some(helper);
            self.helping = true;
        }
        Some(Box::new(expectation))
    }

    /// A connection has entered the table: so it is named from now on where it is a master.
    pub(super) fn keep_announced(&mut self, conn: &Unconfirmed, id: ConnId) {
        if conn.entry.generation != 0 {
            self.expectations.confirmed(provisional(conn), id);
        }
    }

    /// A connection will not enter the table: nothing it announced can come.
    pub(super) fn forget_announced(&mut self, conn: &Unconfirmed) {
        if conn.entry.generation != 0 {
            let log = Log { at: self.now, events: &mut self.events };
            self.expectations.remove_of(provisional(conn), log);
        }
    }
}

fn master_id(flow: &Flow) -> Option<ConnId> {
    match flow {
        Flow::None => None,
        Flow::Confirmed(id) => Some(*id),
        Flow::Unconfirmed(conn) => Some(provisional(conn)),
    }
}

/// The name of a master that is not in the table. Only such connections have a number in place of
/// the generation, which they get with their slot.
fn provisional(conn: &Unconfirmed) -> ConnId {
    ConnId { slot: NONE, generation: conn.entry.generation }
}
