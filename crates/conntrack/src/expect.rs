//! Expectations: connections that another one has announced.
//!
//! A helper reads in a connection (the *master*) that a further one is about to come, and says so
//! with an [`Announcement`]. The first packet of a new connection is looked up here; if it is
//! expected, the connection is RELATED, has a master, and inherits its mark.
//!
//! Life of an expectation: announced → arrived (gone, unless it is PERMANENT), evicted by a newer
//! one of its class, refused or replaced by another one for the same, timed out, or gone with its
//! master.
//!
//! An expectation is found by the exact destination of a packet, with the source compared under the
//! [`ExpectMask`]. Two that a packet could both match are not let in, so that the order of a search
//! never matters. What may be announced is bounded three times: by class and master
//! ([`ExpectClass::max_expected`]), over all (`nf_conntrack_expect_max`), and by time.
//!
//! Invariants: each expectation is in `all` and in each of the three orders exactly once; no two
//! overlap; `next` is the first of `deadlines`. Kernel counterpart: `nf_conntrack_expect.c`.

mod announcement;

use std::collections::{BTreeMap, BTreeSet};

use stateward_wire::Family;

pub use announcement::{Announcement, ExpectClass, ExpectFlags, ExpectMask, ExpectNat, Identical};

use crate::entry::ConnId;
use crate::event::{Event, EventKind, Subject};
use crate::status::{Direction, PerDir};
use crate::time::{Instant, Span};
use crate::tuple::{Tuple, Zone};

/// Names an expectation; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExpectId(u64);

impl ExpectId {
    /// The first of a tracker.
    #[cfg(test)]
    pub(crate) const FIRST: ExpectId = ExpectId(1);

    /// The id as a number: 1 is the first expectation of a tracker.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The connection that announced another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Master {
    /// Which one. Names no entry as long as the connection is not in the table.
    pub id: ConnId,
    /// Its tuples.
    pub tuples: PerDir<Tuple>,
    /// What it reports.
    pub(crate) reports: ExpectEvents,
}

/// Events of expectations, as the kernel's `IPEXP_*` bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpectEvents(pub u8);

impl ExpectEvents {
    /// None.
    pub const NONE: ExpectEvents = ExpectEvents(0);
    /// It is announced.
    pub const NEW: ExpectEvents = ExpectEvents(1 << 0);
    /// It is gone.
    pub const DESTROY: ExpectEvents = ExpectEvents(1 << 1);
    /// All.
    pub const ALL: ExpectEvents = ExpectEvents(0b11);
}

impl Master {
    /// The zone that its children are expected in.
    pub fn zone(&self) -> Zone {
        zone_of(&self.tuples)
    }
}

/// The zone of a connection, whichever of its directions lies in one.
pub(crate) fn zone_of(tuples: &PerDir<Tuple>) -> Zone {
    match tuples[Direction::Original].zone() {
        Zone::DEFAULT => tuples[Direction::Reply].zone(),
        zone => zone,
    }
}

/// An expectation in the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// Which one.
    pub id: ExpectId,
    /// Who announced it.
    pub master: Master,
    /// What was announced; the tuple is in the master's zone.
    pub announced: Announcement,
    /// When it ends if nothing arrives.
    pub deadline: Instant,
}

impl Expectation {
    /// Whether this is the one that a new connection fulfils.
    fn expects(&self, tuple: &Tuple) -> bool {
        !self.announced.flags.has(ExpectFlags::INACTIVE)
            && self.announced.mask.matches(&self.announced.tuple, tuple)
    }
}

/// Why an announcement was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpectError {
    /// The packet belongs to no connection.
    NoMaster,
    /// A packet could match this one and another (EBUSY).
    Clash,
    /// Another class or, for [`Identical::OfAnyMaster`], another master expects the same
    /// (EALREADY).
    Already,
    /// The class has no room although its oldest was evicted (EMFILE).
    ClassFull,
    /// `nf_conntrack_expect_max` is reached (EMFILE).
    TableFull,
}

impl core::fmt::Display for ExpectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ExpectError::NoMaster => "the packet belongs to no connection",
            ExpectError::Clash => "overlaps with another expectation",
            ExpectError::Already => "the same is expected already",
            ExpectError::ClassFull => "the connection may announce no more of this class",
            // The kernel's own line, which operators search their logs for.
            ExpectError::TableFull => "nf_conntrack: expectation table full",
        })
    }
}

impl std::error::Error for ExpectError {}

/// The columns of `conntrack -S expect`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpectStatistics {
    /// Connections that were expected.
    pub new: u64,
    /// Expectations that got in.
    pub create: u64,
    /// Expectations that are gone.
    pub delete: u64,
}

/// Where events of expectations go, and when they happen.
pub(crate) struct Log<'a> {
    pub(crate) at: Instant,
    pub(crate) events: &'a mut Vec<Event>,
}

impl Log<'_> {
    fn tell(&mut self, kind: EventKind, expectation: &Expectation) {
        let event = match kind {
            EventKind::Destroy => ExpectEvents::DESTROY,
            EventKind::New | EventKind::Update => ExpectEvents::NEW,
        };
        if expectation.master.reports.0 & event.0 != 0 {
            let subject = Subject::Expectation(expectation.clone());
            self.events.push(Event { kind, at: self.at, subject });
        }
    }
}

/// What a packet must match exactly to be looked at under a mask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Destination {
    address: u128,
    port: u16,
    zone: u16,
    protocol: u8,
    version: u8,
}

impl Destination {
    fn of(tuple: &Tuple) -> Destination {
        let address = match tuple.family() {
            Family::V4 => u128::from(tuple.key.destination),
            Family::V6 => u128::from_be_bytes(tuple.pair[1]),
        };
        Destination {
            address,
            port: tuple.key.destination_port,
            zone: tuple.key.zone,
            protocol: tuple.key.protocol,
            version: tuple.key.version,
        }
    }
}

/// The expectation table; see the module's essay.
pub struct Expectations {
    all: BTreeMap<ExpectId, Expectation>,
    by_destination: BTreeSet<(Destination, ExpectId)>,
    by_master: BTreeSet<(u64, ExpectId)>,
    deadlines: BTreeSet<(Instant, ExpectId)>,
    /// The first deadline, so that a packet is spared the search for it.
    next: Option<Instant>,
    last: u64,
    statistics: ExpectStatistics,
}

impl Expectations {
    pub(crate) fn new() -> Expectations {
        Expectations {
            all: BTreeMap::new(),
            by_destination: BTreeSet::new(),
            by_master: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            next: None,
            last: 0,
            statistics: ExpectStatistics::default(),
        }
    }

    /// Whether nothing is expected, as is nearly always so.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// How many connections are expected.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Every expectation, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Expectation> + '_ {
        self.all.values()
    }

    /// One expectation; `None` once it is gone.
    pub fn get(&self, id: ExpectId) -> Option<&Expectation> {
        self.all.get(&id)
    }

    /// What a connection has announced, oldest first.
    pub fn of(&self, master: ConnId) -> impl DoubleEndedIterator<Item = &Expectation> + '_ {
        let master = master.as_u64();
        let range = (master, ExpectId(0))..=(master, ExpectId(u64::MAX));
        self.by_master.range(range).filter_map(|(_, id)| self.all.get(id))
    }

    /// Counters.
    pub fn statistics(&self) -> &ExpectStatistics {
        &self.statistics
    }

    /// The expectation that a new connection in `zone` fulfils, if any does. The work is bounded by
    /// the number of expectations for the same destination.
    pub fn find(&self, tuple: &Tuple, zone: Zone) -> Option<&Expectation> {
        if self.is_empty() {
            return None;
        }
        let mut tuple = *tuple;
        tuple.key.zone = zone.0;
        self.toward(Destination::of(&tuple)).find(|expectation| expectation.expects(&tuple))
    }

    /// Whether [`Expectations::expire`] has something to do.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|deadline| deadline <= now)
    }

    /// When [`Expectations::expire`] has something to do.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Lets an announcement in. What is expected for the same is replaced; if the class is full,
    /// the oldest of this master gives way, whatever becomes of the new one.
    pub(crate) fn insert(
        &mut self,
        master: Master,
        mut announced: Announcement,
        max: u32,
        mut log: Log<'_>,
    ) -> Result<ExpectId, ExpectError> {
        announced.tuple.key.zone = master.zone().0;
        announced.mask = announced.mask.within(announced.tuple.family());
        if let Some(same) = self.judge(&master, &announced)? {
            self.remove(same, &mut log);
        }
        self.make_room(&master, &announced.class, &mut log)?;
        if self.all.len() >= max as usize {
            return Err(ExpectError::TableFull);
        }
        self.last += 1;
        let id = ExpectId(self.last);
        let deadline = log.at + Span::secs(announced.class.timeout);
        let expectation = Expectation { id, master, announced, deadline };
        self.by_destination.insert((Destination::of(&expectation.announced.tuple), id));
        self.by_master.insert((master.id.as_u64(), id));
        self.deadlines.insert((deadline, id));
        self.moved();
        self.statistics.create += 1;
        log.tell(EventKind::New, &expectation);
        self.all.insert(id, expectation);
        Ok(id)
    }

    /// What the new one replaces, or why it may not come in.
    fn judge(
        &self,
        master: &Master,
        announced: &Announcement,
    ) -> Result<Option<ExpectId>, ExpectError> {
        for other in self.toward(Destination::of(&announced.tuple)) {
            let own = other.master.id == master.id;
            let told_apart = announced.identical == Identical::OfMaster && !own;
            if !told_apart && other.announced.is_same(announced) {
                let replaces = own && other.announced.class.number == announced.class.number;
                return if replaces { Ok(Some(other.id)) } else { Err(ExpectError::Already) };
            }
            if other.announced.overlaps(announced) {
                return Err(ExpectError::Clash);
            }
        }
        Ok(None)
    }

    fn make_room(
        &mut self,
        master: &Master,
        class: &ExpectClass,
        log: &mut Log<'_>,
    ) -> Result<(), ExpectError> {
        let limit = class.max_expected as usize;
        if limit == 0 || self.of_class(master, class).count() < limit {
            return Ok(());
        }
        let oldest = self.of_class(master, class).next();
        if let Some(oldest) = oldest {
            self.remove(oldest, log);
        }
        // Only if the limit itself has been lowered meanwhile.
        if self.of_class(master, class).count() >= limit {
            return Err(ExpectError::ClassFull);
        }
        Ok(())
    }

    fn of_class(&self, master: &Master, class: &ExpectClass) -> impl Iterator<Item = ExpectId> {
        let number = class.number;
        self.of(master.id)
            .filter(move |other| other.announced.class.number == number)
            .map(|other| other.id)
    }

    fn toward(&self, destination: Destination) -> impl Iterator<Item = &Expectation> {
        let range = (destination, ExpectId(0))..=(destination, ExpectId(u64::MAX));
        self.by_destination.range(range).filter_map(|(_, id)| self.all.get(id))
    }

    /// The expected connection has come: gone with it, unless PERMANENT.
    pub(crate) fn arrive(&mut self, id: ExpectId, mut log: Log<'_>) -> Option<Expectation> {
        let permanent = self.all.get(&id)?.announced.flags.has(ExpectFlags::PERMANENT);
        self.statistics.new += 1;
        if permanent { self.all.get(&id).cloned() } else { self.remove(id, &mut log) }
    }

    /// Takes an expectation out of the table: the only way out.
    pub(crate) fn remove(&mut self, id: ExpectId, log: &mut Log<'_>) -> Option<Expectation> {
        let expectation = self.all.remove(&id)?;
        self.by_destination.remove(&(Destination::of(&expectation.announced.tuple), id));
        self.by_master.remove(&(expectation.master.id.as_u64(), id));
        self.deadlines.remove(&(expectation.deadline, id));
        self.moved();
        self.statistics.delete += 1;
        log.tell(EventKind::Destroy, &expectation);
        Some(expectation)
    }

    /// Takes out whatever a connection has announced, newest first as the kernel does.
    pub(crate) fn remove_of(&mut self, master: ConnId, mut log: Log<'_>) {
        loop {
            let newest = self.of(master).next_back().map(|expectation| expectation.id);
            let Some(newest) = newest else { return };
            self.remove(newest, &mut log);
        }
    }

    /// Takes out what has reached its deadline by `now`, in the order of the deadlines.
    pub(crate) fn expire(&mut self, now: Instant, events: &mut Vec<Event>) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.remove(id, &mut Log { at: deadline, events });
        }
    }

    /// Takes out everything.
    pub(crate) fn clear(&mut self, mut log: Log<'_>) {
        while let Some((&id, _)) = self.all.first_key_value() {
            self.remove(id, &mut log);
        }
    }

    /// Gives an expectation a new timeout, counted from `now`; false if it is gone.
    pub(crate) fn refresh(&mut self, id: ExpectId, timeout: Span, now: Instant) -> bool {
        let Some(expectation) = self.all.get_mut(&id) else { return false };
        self.deadlines.remove(&(expectation.deadline, id));
        expectation.deadline = now + timeout;
        self.deadlines.insert((expectation.deadline, id));
        self.moved();
        true
    }

    /// Lets an INACTIVE expectation be fulfilled from now on; false if it is gone.
    pub(crate) fn activate(&mut self, id: ExpectId) -> bool {
        let Some(expectation) = self.all.get_mut(&id) else { return false };
        expectation.announced.flags.clear(ExpectFlags::INACTIVE);
        true
    }

    /// A master has entered the table and got its name.
    pub(crate) fn confirmed(&mut self, before: ConnId, master: ConnId) {
        loop {
            let first = self.of(before).next().map(|expectation| expectation.id);
            let Some(id) = first else { return };
            self.by_master.remove(&(before.as_u64(), id));
            self.by_master.insert((master.as_u64(), id));
            if let Some(expectation) = self.all.get_mut(&id) {
                expectation.master.id = master;
            }
        }
    }

    fn moved(&mut self) {
        self.next = self.deadlines.first().map(|&(deadline, _)| deadline);
    }
}

#[cfg(test)]
mod tests;
