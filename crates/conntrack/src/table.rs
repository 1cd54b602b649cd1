//! The table: every confirmed connection, and the only place where one enters or leaves it.
//!
//! An [`Entry`] is 128 bytes in a slab; IPv6 addresses, those of translated answers, and counters
//! lie in slabs of their own under the same slot, so that who has none does not pay for them; what
//! few connections have (labels, timestamps, a helper, a master) is an [`Extra`]. IPv4 takes
//! slots from the low end and IPv6 from the high end, so that the side slabs stay dense. All of it
//! is sized once from nf_conntrack_max; of memory that the caller maps and lends, only what is used
//! becomes resident.
//!
//! Life of a connection: [`Unconfirmed`], owned by its packet and freely editable → `insert` →
//! an entry whose tuples nobody can change → `unlink`, the only way out, whatever the cause.
//!
//! Invariants: an entry is in the index under its original key, and under its reply key too if that
//! is not the inverse; it is in the wheel exactly once; `count` is the number of entries.
//!
//! Measured against a slab under `hashbrown::HashTable` with both keys, the obvious design
//! (`baseline.rs`; 1 M connections of IPv4 in random order, pages of 4 KiB, medians): a lookup that
//! reads and writes the entry takes 64 ns here in bursts of 32 and 298 ns there; an insertion and a
//! removal 268 ns here, timers included, and 806 ns there, without; an entry takes 146 bytes here,
//! all included, and 149 there.

mod slots;
mod sources;
mod unconfirmed;

use stateward_wire::Packet;

use crate::entry::{ConnId, Entry, Flags, NONE};
use crate::event::Counter;
use crate::index::{Bucket, Index, Place, Seed};
use crate::memory::{Arena, Region};
use crate::prefetch::prefetch;
use crate::status::{Direction, PerDir, Status};
use crate::time::Instant;
use crate::tuple::{AddressPair, Key, Tuple};
use crate::wheel::Wheel;
use slots::PerEnd;
use sources::Sources;
pub(crate) use unconfirmed::Extra;
pub use unconfirmed::Unconfirmed;

/// Why an unconfirmed connection did not get into the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InsertError {
    /// One of its tuples is taken by this entry, found in this direction.
    Taken(u32, Direction),
    /// No slot is free.
    Full,
    /// No room in the index near a tuple's place.
    ChainTooLong,
}

/// See the module's essay.
pub(crate) struct Table {
    entries: Region<Entry>,
    pairs: Region<AddressPair>,
    /// The addresses of replies that are not the inverse.
    reply_pairs: Region<AddressPair>,
    counters: Region<PerCounter>,
    extras: Vec<Extra>,
    free_extras: Vec<u32>,
    index: Index,
    sources: Sources,
    wheel: Wheel,
    free: PerEnd<u32>,
    /// Slots that were never used: from `low` up to `high`.
    fresh: PerEnd<u32>,
    count: usize,
    /// Connections that have entered so far, and one.
    entered: u64,
}

/// The counters of an entry: packets and bytes of each direction.
pub(crate) type PerCounter = [[u64; 2]; 2];

impl Table {
    /// Bytes of an [`Arena`] that holds all of a table for `capacity` connections.
    pub(crate) fn bytes_for(capacity: usize) -> usize {
        let slot = size_of::<Entry>() + 2 * size_of::<AddressPair>() + size_of::<PerCounter>();
        let index = Index::buckets_for(capacity) * size_of::<Bucket>();
        // One line for the alignment of each region.
        capacity * slot + index + Sources::bytes_for(capacity) + 7 * 64
    }

    /// An empty table. `capacity` is at least 1 and below 2³¹.
    pub(crate) fn new(capacity: usize, seed: Seed, arena: &mut Arena) -> Table {
        let capacity = capacity.clamp(1, (1 << 31) - 1);
        let buckets = Index::buckets_for(capacity);
        Table {
            index: Index::new(Region::within(arena, buckets), seed),
            entries: Region::within(arena, capacity),
            counters: Region::within(arena, capacity),
            pairs: Region::within(arena, capacity),
            reply_pairs: Region::within(arena, capacity),
            sources: Sources::new(capacity, arena),
            extras: Vec::new(),
            free_extras: Vec::new(),
            wheel: Wheel::new(),
            free: PerEnd { low: NONE, high: NONE },
            fresh: PerEnd { low: 0, high: capacity as u32 },
            count: 0,
            entered: 1,
        }
    }

    /// Entries in the table.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn place(&self, tuple: &Tuple) -> Place {
        self.index.place(tuple)
    }

    /// As [`Table::place`] for the key of TCP or UDP over IPv4.
    #[inline(always)]
    pub(crate) fn place_of_ports(&self, key: &Key) -> Place {
        self.index.place_of_ports(key)
    }

    /// Starts fetching a place's line of the index.
    #[inline]
    pub(crate) fn prefetch(&self, place: Place) {
        self.index.prefetch(place);
    }

    /// Starts fetching both lines of the entry that is most likely at `place`, and for IPv6 its
    /// addresses.
    #[inline]
    pub(crate) fn prefetch_entry(&self, place: Place) -> Option<u32> {
        let slot = self.index.first_candidate(place)?;
        let entry = self.entries.get(slot as usize)?;
        prefetch(&entry.original);
        prefetch(&entry.l4);
        // IPv6 lives at the high end.
        if slot >= self.fresh.high
            && let Some(pair) = self.pairs.get(slot as usize)
        {
            prefetch(pair);
        }
        Some(slot)
    }

    /// Starts fetching the counters of an entry.
    #[inline]
    pub(crate) fn prefetch_counters(&self, slot: u32) {
        if let Some(counters) = self.counters.get(slot as usize) {
            prefetch(counters);
        }
    }

    /// The entry in a slot, if it has the packet's tuple, whose key is known: what is in the table
    /// under a tuple is there once, so that this finds what the index would lead to, or nothing.
    #[inline]
    pub(crate) fn find_fetched(
        &self,
        slot: u32,
        key: &Key,
        packet: &Packet<'_>,
    ) -> Option<(u32, Direction)> {
        let entry = self.entries.get(slot as usize)?;
        if entry.is_free() {
            return None;
        }
        let direction = match key.version {
            4 => direction_of(entry, key),
            _ => self.direction_v6(entry, slot, &key.with_addresses_of(packet)),
        };
        direction.map(|direction| (slot, direction))
    }

    /// The entry that has the tuple, and in which direction.
    #[inline]
    pub(crate) fn find(&self, tuple: &Tuple) -> Option<(u32, Direction)> {
        self.find_at(self.index.place(tuple), tuple)
    }

    #[inline]
    pub(crate) fn find_at(&self, place: Place, tuple: &Tuple) -> Option<(u32, Direction)> {
        self.index.find(place, |slot| self.direction(slot, tuple))
    }

    /// The entry that has the tuple in this direction.
    pub(crate) fn find_one(&self, tuple: &Tuple, direction: Direction) -> Option<(u32, Direction)> {
        let has = |slot| {
            let live = !self.entry(slot)?.is_free();
            (live && self.tuple(slot, direction)? == *tuple).then_some(direction)
        };
        self.index.find(self.index.place(tuple), has)
    }

    /// Which direction of the entry in a slot has the tuple.
    #[inline]
    fn direction(&self, slot: u32, tuple: &Tuple) -> Option<Direction> {
        let entry = self.entries.get(slot as usize)?;
        if tuple.key.version == 4 {
            direction_of(entry, &tuple.key)
        } else {
            self.direction_v6(entry, slot, tuple)
        }
    }

    #[inline(never)]
    fn direction_v6(&self, entry: &Entry, slot: u32, tuple: &Tuple) -> Option<Direction> {
        // A tuple that is its own inverse is found as the reply, as in the kernel's lists.
        let reply =
            entry.reply == tuple.key && self.pair(entry, slot, Direction::Reply) == tuple.pair;
        if reply {
            return Some(Direction::Reply);
        }
        let original = entry.original == tuple.key
            && self.pair(entry, slot, Direction::Original) == tuple.pair;
        original.then_some(Direction::Original)
    }

    fn pair(&self, entry: &Entry, slot: u32, direction: Direction) -> AddressPair {
        let Some(&[source, destination]) = self.pairs.get(slot as usize) else {
            return AddressPair::default();
        };
        match direction {
            Direction::Original => [source, destination],
            Direction::Reply if entry.flags.has(Flags::TWO_KEYS) => {
                self.reply_pairs.get(slot as usize).copied().unwrap_or_default()
            }
            Direction::Reply => [destination, source],
        }
    }

    /// A tuple of an entry.
    pub(crate) fn tuple(&self, slot: u32, direction: Direction) -> Option<Tuple> {
        let entry = self.entries.get(slot as usize)?;
        let key = *entry.key(direction);
        let pair = match key.version {
            6 => self.pair(entry, slot, direction),
            _ => AddressPair::default(),
        };
        Some(Tuple { key, pair })
    }

    /// The entry in a slot.
    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)
    }

    /// The entry in a slot, whose keys the caller leaves alone.
    #[inline]
    pub(crate) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }

    /// A live entry; `None` once it has left the table.
    #[inline]
    pub(crate) fn live(&self, id: ConnId) -> Option<&Entry> {
        let entry = self.entries.get(id.slot as usize)?;
        (!entry.is_free() && entry.generation == id.generation).then_some(entry)
    }

    /// The slot of a live entry; `None` once it has left the table.
    pub(crate) fn slot_of(&self, id: ConnId) -> Option<u32> {
        self.live(id).map(|_| id.slot)
    }

    pub(crate) fn id_of(&self, slot: u32) -> Option<ConnId> {
        let entry = self.entries.get(slot as usize)?;
        (!entry.is_free()).then_some(ConnId { slot, generation: entry.generation })
    }

    /// Every entry, IPv4 first, in the order of their slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots_from(0)
    }

    /// As [`Table::slots`], from a slot on.
    pub(crate) fn slots_from(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let low = first.min(self.fresh.low)..self.fresh.low;
        let used = low.chain(first.max(self.fresh.high)..self.entries.len() as u32);
        used.filter(|&slot| self.entry(slot).is_some_and(|entry| !entry.is_free()))
    }

    /// Counts a packet, if the entry counts.
    #[inline]
    pub(crate) fn account(&mut self, slot: u32, direction: Direction, bytes: usize) {
        if let Some(counters) = self.counters.get_mut(slot as usize) {
            let [packets, total] = &mut counters[direction as usize];
            *packets = packets.wrapping_add(1);
            *total = total.wrapping_add(bytes as u64);
        }
    }

    /// The counters of an entry, if it counts.
    pub(crate) fn counters(&self, slot: u32) -> Option<PerDir<Counter>> {
        let entry = self.entry(slot)?;
        if !entry.flags.has(Flags::ACCOUNTING) {
            return None;
        }
        let counter = |&[packets, bytes]: &[u64; 2]| Counter { packets, bytes };
        let [original, reply] = self.counters.get(slot as usize)?;
        Some(PerDir([counter(original), counter(reply)]))
    }

    pub(crate) fn extra_of(&self, entry: &Entry) -> Option<&Extra> {
        self.extras.get(entry.extra as usize)
    }

    /// What an entry has beside, made if it has nothing yet.
    pub(crate) fn extra_mut(&mut self, slot: u32) -> Option<&mut Extra> {
        let index = self.entry(slot)?.extra;
        if index == NONE {
            return self.attach(slot, Extra::default());
        }
        self.extras.get_mut(index as usize)
    }

    fn attach(&mut self, slot: u32, extra: Extra) -> Option<&mut Extra> {
        let index = match self.free_extras.pop() {
            Some(index) => {
                *self.extras.get_mut(index as usize)? = extra;
                index
            }
            None => {
                self.extras.push(extra);
                self.extras.len() as u32 - 1
            }
        };
        self.entries.get_mut(slot as usize)?.extra = index;
        self.extras.get_mut(index as usize)
    }

    /// Puts a connection into the table: the only way in. Its deadline must be set.
    pub(crate) fn insert(
        &mut self,
        conn: &mut Unconfirmed,
        now: Instant,
    ) -> Result<ConnId, InsertError> {
        let (original, reply) = (conn.tuple(Direction::Original), conn.tuple(Direction::Reply));
        let places = self.places(&original, &reply, conn.place);
        if conn.alone_at != self.entered
            && let Some((slot, direction)) = self.taken(places, &original, &reply)
        {
            return Err(InsertError::Taken(slot, direction));
        }
        let slot = self.take_slot(original.key.version).ok_or(InsertError::Full)?;
        if let Err(error) = self.link(slot, places) {
            self.give_slot(slot, original.key.version);
            return Err(error);
        }
        self.fill(slot, conn, places.1.is_some(), &original, &reply);
        self.wheel.insert(&mut self.entries, slot, now);
        self.count += 1;
        self.entered += 1;
        self.id_of(slot).ok_or(InsertError::Full)
    }

    /// Whether no entry has one of a connection's tuples. The connection remembers that for as long
    /// as nothing enters the table: who asks before it enters has spared it the question.
    pub(crate) fn is_alone(&self, conn: &mut Unconfirmed) -> bool {
        if conn.alone_at != self.entered {
            let (original, reply) = (conn.tuple(Direction::Original), conn.tuple(Direction::Reply));
            let places = self.places(&original, &reply, conn.place);
            if self.taken(places, &original, &reply).is_some() {
                return false;
            }
            conn.alone_at = self.entered;
        }
        true
    }

    /// The entry that has one of a connection's tuples already. Even where the reply is the inverse
    /// it is asked for: another connection's may have been made the same.
    #[inline(always)]
    fn taken(
        &self,
        places: (Place, Option<Place>),
        original: &Tuple,
        reply: &Tuple,
    ) -> Option<(u32, Direction)> {
        match places {
            (place, None) => self.index.find(place, |slot| {
                self.direction(slot, original).or_else(|| self.direction(slot, reply))
            }),
            // The same packets of other zones are other packets.
            (_, Some(_)) if original.zone() != reply.zone() => self
                .find_one(original, Direction::Original)
                .or_else(|| self.find_one(reply, Direction::Reply)),
            (place, Some(other)) => {
                self.find_at(place, original).or_else(|| self.find_at(other, reply))
            }
        }
    }

    /// Where a connection belongs: one place if the reply is the inverse, else two.
    #[inline(always)]
    fn places(
        &self,
        original: &Tuple,
        reply: &Tuple,
        known: Option<Place>,
    ) -> (Place, Option<Place>) {
        let one = original.inverse().is_some_and(|inverse| inverse == *reply);
        let place = known.unwrap_or_else(|| self.index.place(original));
        (place, (!one).then(|| self.index.place(reply)))
    }

    fn link(&mut self, slot: u32, places: (Place, Option<Place>)) -> Result<(), InsertError> {
        if !self.index.insert(places.0, slot) {
            return Err(InsertError::ChainTooLong);
        }
        if let Some(place) = places.1
            && !self.index.insert(place, slot)
        {
            self.index.remove(places.0, slot);
            return Err(InsertError::ChainTooLong);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        slot: u32,
        conn: &mut Unconfirmed,
        two_keys: bool,
        original: &Tuple,
        reply: &Tuple,
    ) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        *entry = Entry { generation: entry.generation, hint: u32::MAX, extra: NONE, ..conn.entry };
        if two_keys {
            entry.flags.set(Flags::TWO_KEYS);
        }
        if entry.flags.has(Flags::ACCOUNTING)
            && let Some(counters) = self.counters.get_mut(slot as usize)
        {
            let PerDir([o, r]) = conn.counters;
            *counters = [[o.packets, o.bytes], [r.packets, r.bytes]];
        }
        if original.key.version == 6 {
            if let Some(pair) = self.pairs.get_mut(slot as usize) {
                *pair = original.pair;
            }
            if two_keys && let Some(pair) = self.reply_pairs.get_mut(slot as usize) {
                *pair = reply.pair;
            }
        }
        if let Some(extra) = conn.extra.take() {
            self.attach(slot, *extra);
        }
        if conn.entry.status.has(Status::SRC_NAT_DONE) {
            self.sources.insert(self.index.hash_of_source(original), slot);
        }
    }

    /// The answers of connections that the tuple's source has begun, in its zone, and whose source
    /// NAT has bound, the latest first.
    pub(crate) fn of_source(&self, tuple: &Tuple) -> impl Iterator<Item = Tuple> + '_ {
        let source = tuple.source_only();
        self.sources.of(self.index.hash_of_source(tuple)).filter_map(move |slot| {
            let is_its = self.tuple(slot, Direction::Original)?.source_only() == source;
            is_its.then(|| self.tuple(slot, Direction::Reply))?
        })
    }

    /// Takes an entry out of the table: the only way out. What it was can be read until the slot is
    /// used again, but for its status as a member.
    pub(crate) fn unlink(&mut self, slot: u32) {
        let (Some(original), Some(reply)) =
            (self.tuple(slot, Direction::Original), self.tuple(slot, Direction::Reply))
        else {
            return;
        };
        self.wheel.remove(&mut self.entries, slot);
        let place = self.index.place(&original);
        self.index.remove(place, slot);
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        if entry.flags.has(Flags::TWO_KEYS) {
            let place = self.index.place(&reply);
            self.index.remove(place, slot);
        }
        if entry.status.has(Status::SRC_NAT_DONE) {
            self.sources.remove(self.index.hash_of_source(&original), slot);
        }
        if entry.extra != NONE {
            self.free_extras.push(entry.extra);
            if let Some(extra) = self.extras.get_mut(entry.extra as usize) {
                *extra = Extra::default();
            }
        }
        entry.extra = NONE;
        entry.generation = entry.generation.wrapping_add(1);
        let version = entry.original.version;
        entry.original.version = 0;
        self.count -= 1;
        self.give_slot(slot, version);
    }

    /// Sets an entry's deadline.
    #[inline]
    pub(crate) fn set_deadline(&mut self, slot: u32, deadline: Instant) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        if entry.deadline == deadline.0 {
            return;
        }
        entry.deadline = deadline.0;
        if self.wheel.is_sooner(entry) {
            self.wheel.sooner(&mut self.entries, slot);
        }
    }

    /// Whether an entry's deadline may have come.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.wheel.is_due(now)
    }

    /// An entry whose deadline has come; the caller unlinks it.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        self.wheel.pop(&mut self.entries, now)
    }

    /// Nothing expires before this instant.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// The entries of the `n`th bucket from a tuple's place on, for early drop.
    pub(crate) fn neighbours(&self, place: Place, n: usize) -> impl Iterator<Item = u32> + use<> {
        self.index.neighbours(place, n)
    }

    #[cfg(test)]
    pub(crate) fn fullest_bucket(&self) -> usize {
        self.index.fullest()
    }
}

/// Which direction of an IPv4 entry has the key. Packets of both directions come as they like: a
/// branch between the two would be guessed wrong every other time.
#[inline]
fn direction_of(entry: &Entry, key: &Key) -> Option<Direction> {
    let (original, reply) = (entry.original.differs(key), entry.reply.differs(key));
    if original.min(reply) != 0 {
        return None;
    }
    // A tuple that is its own inverse is found as the reply, as in the kernel's lists.
    Some(Direction::from_u8(u8::from(reply == 0)))
}

#[cfg(test)]
mod baseline;
#[cfg(test)]
mod tests;
