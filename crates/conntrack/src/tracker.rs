//! The tracker: what the kernel's conntrack does to a packet, from the first hook to the last.
//!
//! [`Tracker::track`] (the kernel's `nf_conntrack_in`) classifies a packet where it enters:
//!
//! 1. timers that are due by the packet's time run;
//! 2. ICMP errors are looked up by what they quote ([`crate::icmp`]);
//! 3. the tuple is looked up in both directions; on a miss the packet may begin a connection, which
//!    then belongs to the packet ([`Unconfirmed`]);
//! 4. the protocol answers with an [`L4Decision`], and [`Tracker::apply`] turns it into timeout,
//!    counters, status and collected events;
//! 5. the first answer sets SEEN_REPLY, after the protocol has seen the packet without it.
//!
//! [`Tracker::confirm`] (`nf_conntrack_confirm`) ends the way of a packet that nothing dropped: a new
//! connection enters the table, collected events are told. A packet dropped in between leaves its
//! connection's events collected, and a new connection is forgotten.
//!
//! Nothing here reads a clock: `now` comes with each call, and a time that goes backwards counts as
//! the latest one seen.

mod announce;

use stateward_wire::checksum::{Verification, verify_transport};
use stateward_wire::{Family, Packet, protocol};
use zerocopy::transmute_mut;

use crate::decision::{Accept, L4Decision};
use crate::entry::{ConnId, Entry, Flags};
use crate::event::{Event, EventKind, EventMask, Record, Subject, Timestamps};
use crate::expect::{Expectation, Expectations, Log};
use crate::icmp::Message;
use crate::index::{Place, Seed};
use crate::memory::Arena;
use crate::reason::{DropReason, Reason};
use crate::statistics::Statistics;
use crate::status::{CtState, Direction, PerDir, Status};
use crate::sysctl::{EventMode, Sysctls, span};
use crate::table::{Extra, InsertError, Table, Unconfirmed};
use crate::tell::{self, Telling};
use crate::time::{Instant, Span};
use crate::tuple::{Tuple, Zone};
use crate::{gre, icmp, icmpv6, sctp, tcp, udp};

/// Where a packet meets the tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// From outside: checksums are verified.
    Prerouting,
    /// Made by this host.
    Output,
}

/// What a checksum field that holds just the pseudo-header's sum means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfinished {
    /// A wrong checksum, as on a real wire.
    Bad,
    /// Left to the sending host's network card: right, as in a capture made on that host.
    Good,
}

/// What a protocol may know of the connection and the packet's circumstances.
pub(crate) struct L4Context<'a> {
    pub(crate) sysctls: &'a Sysctls,
    pub(crate) direction: Direction,
    pub(crate) status: Status,
    /// The packet begins the connection.
    pub(crate) is_new: bool,
    pub(crate) now: Instant,
    /// What is left of the connection's timeout.
    pub(crate) remaining: Span,
    /// `None`: checksums are not verified.
    verify: Option<Unfinished>,
}

impl L4Context<'_> {
    /// Verifies a packet's checksum, if that is asked for.
    #[inline]
    pub(crate) fn verify_checksum(&self, packet: &Packet<'_>, protocol: u8) -> Result<(), Reason> {
        match self.verify {
            None => Ok(()),
            Some(unfinished) => verify(packet, protocol, unfinished),
        }
    }
}

fn verify(packet: &Packet<'_>, protocol: u8, unfinished: Unfinished) -> Result<(), Reason> {
    // Linux 6.18 sums UDP-Lite's pseudo-header with UDP's number.
    let summed = if protocol == protocol::UDPLITE { protocol::UDP } else { protocol };
    match verify_transport(packet, summed) {
        Verification::Good | Verification::Zero | Verification::Unverifiable => Ok(()),
        Verification::Unfinished if unfinished == Unfinished::Good => Ok(()),
        Verification::Unfinished | Verification::Bad => Err(Reason::BadChecksum { protocol }),
    }
}

/// The connection a packet belongs to.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Flow {
    /// None: INVALID or UNTRACKED.
    #[default]
    None,
    /// One in the table.
    Confirmed(ConnId),
    /// One that the packet began, and owns. Give it back with [`Tracker::forget`] when the packet is
    /// dropped, and no packet allocates in steady state.
    Unconfirmed(Box<Unconfirmed>),
}

/// What the tracker made of a packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Tracked {
    /// The state that rules see.
    pub state: CtState,
    /// The direction, when the packet belongs to a connection.
    pub direction: Option<Direction>,
    /// Why the packet is INVALID, or passes without being believed.
    pub reason: Option<Reason>,
    /// The packet began its connection.
    pub began: bool,
    /// Its connection.
    pub flow: Flow,
    /// What the connection fulfils, if it began with this packet: NAT and helpers go by it.
    pub expectation: Option<Box<Expectation>>,
    /// The packet must be dropped.
    pub drop: Option<DropReason>,
}

impl Tracked {
    fn invalid(reason: Reason) -> Tracked {
        Tracked {
            state: CtState::Invalid,
            direction: None,
            reason: Some(reason),
            began: false,
            flow: Flow::None,
            expectation: None,
            drop: None,
        }
    }

    /// What a packet is before it is tracked.
    pub const fn untracked() -> Tracked {
        Tracked {
            state: CtState::Untracked,
            direction: None,
            reason: None,
            began: false,
            flow: Flow::None,
            expectation: None,
            drop: None,
        }
    }
}

/// How a tracker is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings; `max` also sizes the table.
    pub sysctls: Sysctls,
    /// The secret of the hash. Equal seeds give equal results; a seed that a peer can guess lets it
    /// flood one bucket.
    pub seed: [u64; 2],
    /// What unfinished checksums are.
    pub unfinished: Unfinished,
}

impl Default for Config {
    fn default() -> Config {
        Config { sysctls: Sysctls::default(), seed: [0, 0], unfinished: Unfinished::Bad }
    }
}

/// Connections of a table without a limit (nf_conntrack_max 0): as many as fit in the kernel's
/// largest default on any machine, 64 times over.
const UNLIMITED: u32 = 1 << 24;

/// Buckets that early drop looks at, as in the kernel.
const EARLY_DROP_BUCKETS: usize = 8;

/// One network namespace's connection tracking.
pub struct Tracker {
    table: Table,
    sysctls: Sysctls,
    expectations: Expectations,
    statistics: Statistics,
    events: Vec<Event>,
    /// Boxes of connections that were confirmed or forgotten, for the next ones.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is used again")]
    pool: Vec<Box<Unconfirmed>>,
    listening: bool,
    /// The table was full and early drop found nothing.
    pressure: Option<Pressure>,
    /// Connections that announced another one with their first packet.
    masters: u32,
    unfinished: Unfinished,
    now: Instant,
}

impl Tracker {
    /// A tracker with memory of its own.
    pub fn new(config: Config) -> Tracker {
        Tracker::with_memory(config, Arena::none())
    }

    /// A tracker whose table lies in the caller's memory; [`Tracker::bytes_for`] says how much.
    pub fn with_memory(config: Config, mut arena: Arena) -> Tracker {
        let Config { sysctls, seed: [k0, k1], unfinished } = config;
        let capacity = Tracker::capacity(sysctls.max);
        Tracker {
            table: Table::new(capacity, Seed(k0, k1), &mut arena),
            expectations: Expectations::new(),
            statistics: Statistics::default(),
            events: Vec::new(),
            pool: Vec::new(),
            listening: false,
            pressure: None,
            masters: 0,
            unfinished,
            now: Instant::default(),
            sysctls,
        }
    }

    /// Bytes of memory that hold all of a table for nf_conntrack_max connections.
    pub fn bytes_for(max: u32) -> usize {
        Table::bytes_for(Tracker::capacity(max))
    }

    fn capacity(max: u32) -> usize {
        if max == 0 { UNLIMITED as usize } else { max as usize }
    }

    /// The settings.
    pub fn sysctls(&self) -> &Sysctls {
        &self.sysctls
    }

    /// Settings to change. `max` may be lowered, or raised up to what it was at first: the table
    /// does not grow.
    pub fn sysctls_mut(&mut self) -> &mut Sysctls {
        &mut self.sysctls
    }

    /// Whether somebody listens to events: with nf_conntrack_events = 2, only connections that are
    /// made meanwhile report any.
    pub fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Connections in the table.
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// The expectations.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// The latest time seen.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Takes the events told so far, oldest first, leaving the given buffer in their place.
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.events);
    }

    /// Whether there are events to take.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Works out where the connection of a packet would be, from the packet alone, and starts
    /// fetching that line of the index. Nothing in the table is looked at.
    #[inline]
    pub fn approach(&self, packet: &Packet<'_>) -> Option<Approach> {
        let approach = self.approach_in(packet, Zone::DEFAULT)?;
        self.table.prefetch(approach.place);
        Some(approach)
    }

    #[inline(always)]
    fn approach_in(&self, packet: &Packet<'_>, zone: Zone) -> Option<Approach> {
        let tuple = Tuple::of(packet, zone)?;
        Some(Approach { place: self.table.place(&tuple), tuple })
    }

    /// Second step of [`Tracker::approach`]: the entry itself.
    #[inline]
    pub fn approach_entry(&self, approach: &Approach) {
        self.table.prefetch_entry(approach.place);
    }

    /// Ends what has reached its deadline by `now`, in the order of the deadlines. The work is
    /// bounded by the number of entries that end and by those whose deadline had been moved.
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.table.is_due(self.now) || self.expectations.is_due(self.now) {
            self.expire();
        }
        if self.pressure.is_some() {
            self.relieve();
        }
    }

    /// When [`Tracker::handle_timeout`] has something to do, at the earliest.
    pub fn next_timeout(&self) -> Option<Instant> {
        let relief = self.pressure.map(|pressure| pressure.next);
        let deadlines = [self.table.next_deadline(), self.expectations.next_deadline(), relief];
        deadlines.into_iter().flatten().min()
    }

    /// After early drop has failed, a pass over the whole table ends what can be spared while more
    /// than 95 % of it is in use: what is not ASSURED, or is closing. The kernel's collector does
    /// this when its turn comes, a second later at the earliest, and in slices; so does this.
    #[inline(never)]
    fn relieve(&mut self) {
        const SLICE: usize = 256;
        let Some(Pressure { next, cursor }) = self.pressure else { return };
        if self.now < next {
            return;
        }
        let enough = Tracker::capacity(self.sysctls.max) / 100 * 95;
        let mut slots = self.table.slots_from(cursor);
        let slice: [Option<u32>; SLICE] = core::array::from_fn(|_| slots.next());
        drop(slots);
        for slot in slice.into_iter().flatten() {
            if self.table.count() > enough && self.can_spare(slot) {
                self.unlink(slot, self.now);
            }
        }
        let last = slice.last().copied().flatten();
        self.pressure = last.map(|last| Pressure { next, cursor: last + 1 });
    }

    fn can_spare(&self, slot: u32) -> bool {
        let Some(entry) = self.table.entry(slot) else { return false };
        let closing = match entry.original.protocol {
            protocol::TCP => tcp::TcpTrack::of(&entry.l4).state().is_closing(),
            protocol::SCTP => sctp::SctpTrack::of(&entry.l4).state().is_closing(),
            _ => false,
        };
        !entry.status.has(Status::ASSURED) || closing
    }

    #[inline(never)]
    fn expire(&mut self) {
        while let Some(slot) = self.table.pop_expired(self.now) {
            let deadline = self.table.entry(slot).map_or(self.now, Entry::deadline);
            self.expectations.expire(deadline, &mut self.events);
            self.unlink(slot, deadline);
        }
        self.expectations.expire(self.now, &mut self.events);
    }

    /// Classifies a packet: see the module's essay.
    pub fn track(&mut self, packet: &Packet<'_>, hook: Hook, zone: Zone, now: Instant) -> Tracked {
        let mut tracked = Tracked::untracked();
        self.handle_timeout(now);
        self.track_at(packet, hook, zone, None, &mut tracked);
        tracked
    }

    /// As [`Tracker::track`] in the default zone, for a packet that may have been
    /// [approached](Tracker::approach) and has not changed since. The answer is written over
    /// `tracked`, which must be [`Tracked::untracked`]: handed up by value it is copied from call
    /// to call, and each copy waits for the stores before it.
    #[inline]
    pub fn track_from(
        &mut self,
        approach: Option<&Approach>,
        packet: &Packet<'_>,
        hook: Hook,
        now: Instant,
        tracked: &mut Tracked,
    ) {
        self.handle_timeout(now);
        self.track_at(packet, hook, Zone::DEFAULT, approach, tracked);
    }

    #[inline]
    fn track_at(
        &mut self,
        packet: &Packet<'_>,
        hook: Hook,
        zone: Zone,
        known: Option<&Approach>,
        tracked: &mut Tracked,
    ) {
        self.classify(packet, hook, zone, known, tracked);
        if let Some(reason) = &tracked.reason {
            self.statistics.count_reason(reason);
        }
    }

    #[inline(always)]
    fn classify(
        &mut self,
        packet: &Packet<'_>,
        hook: Hook,
        zone: Zone,
        known: Option<&Approach>,
        tracked: &mut Tracked,
    ) {
        let Some(upper) = packet.upper() else {
            *tracked = self.invalid(Reason::NoUpperLayer);
            return;
        };
        let verify = (hook == Hook::Prerouting && self.sysctls.checksum).then_some(self.unfinished);
        // The other family's ICMP is a protocol like any other.
        let icmp = match packet.family() {
            Family::V4 => protocol::ICMP,
            Family::V6 => protocol::ICMPV6,
        };
        if upper.protocol == icmp
            && let Some(error) = self.track_icmp(packet, upper.protocol, verify, zone)
        {
            *tracked = error;
            return;
        }
        let found;
        let Some(Approach { tuple, place }) = (match known {
            Some(known) => Some(known),
            None => {
                found = self.approach_in(packet, zone);
                found.as_ref()
            }
        }) else {
            *tracked = self.invalid(no_tuple(upper.protocol));
            return;
        };
        let lookup = match self.table.find_at(*place, tuple) {
            Some((slot, direction)) => self.existing(slot, direction, packet, verify, tracked),
            None => Lookup::Missed,
        };
        if lookup == Lookup::Missed {
            *tracked = self.begin(tuple, *place, packet, verify);
        }
    }

    /// ICMP errors and messages that are not tracked; `None` for what is looked up by its own tuple.
    #[inline(never)]
    fn track_icmp(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        verify: Option<Unfinished>,
        zone: Zone,
    ) -> Option<Tracked> {
        let context = L4Context {
            sysctls: &self.sysctls,
            direction: Direction::Original,
            status: Status::default(),
            is_new: false,
            now: self.now,
            remaining: Span(0),
            verify,
        };
        let message = match protocol {
            protocol::ICMP => icmp::classify(&context, packet),
            _ => icmpv6::classify(&context, packet),
        };
        let found = match message {
            Ok(Message::Query) => return None,
            Ok(Message::Untracked) => return Some(Tracked::untracked()),
            Ok(Message::Error(quoted)) => {
                let tuple = Tuple::of_embedded(&quoted, zone).and_then(|tuple| tuple.inverse());
                tuple.ok_or(Reason::IcmpUnquotable).and_then(|tuple| self.related(packet, &tuple))
            }
            Err(reason) => Err(reason),
        };
        Some(found.unwrap_or_else(|reason| {
            self.statistics.error += 1;
            Tracked::invalid(reason)
        }))
    }

    /// The connection that an ICMP error is about, by the answer to the packet it quotes.
    fn related(&self, packet: &Packet<'_>, answer: &Tuple) -> Result<Tracked, Reason> {
        let (slot, direction) = self.table.find(answer).ok_or(Reason::IcmpUnrelated)?;
        let tuple = self.table.tuple(slot, direction).ok_or(Reason::IcmpUnrelated)?;
        // Else anybody who can guess a connection could have a third host's packets pass as its.
        if tuple.destination() != packet.destination() {
            return Err(Reason::IcmpOuterDestination);
        }
        let id = self.table.id_of(slot).ok_or(Reason::IcmpUnrelated)?;
        Ok(Tracked {
            state: CtState::Related,
            direction: Some(direction),
            reason: None,
            began: false,
            flow: Flow::Confirmed(id),
            expectation: None,
            drop: None,
        })
    }

    /// A packet of a connection in the table, which it may end to begin the next.
    #[inline(always)]
    fn existing(
        &mut self,
        slot: u32,
        direction: Direction,
        packet: &Packet<'_>,
        verify: Option<Unfinished>,
        tracked: &mut Tracked,
    ) -> Lookup {
        let now = self.now;
        let Some(entry) = self.table.entry_mut(slot) else { return Lookup::Missed };
        let status = entry.status;
        let context = L4Context {
            sysctls: &self.sysctls,
            direction,
            status,
            is_new: false,
            now,
            remaining: now.until(entry.deadline()),
            verify,
        };
        let id = ConnId { slot, generation: entry.generation };
        let decision = l4_packet(entry, &context, packet);
        tracked.state = state_of(status, direction);
        tracked.direction = Some(direction);
        tracked.flow = Flow::Confirmed(id);
        match decision {
            L4Decision::Accept(accept) => {
                self.refresh(slot, direction, packet.length(), &accept);
                if accept.reason.is_some() {
                    tracked.reason = accept.reason;
                }
            }
            L4Decision::Ignore(reason) => tracked.reason = reason,
            L4Decision::Kill => {
                self.account(slot, direction, packet.length());
                self.unlink(slot, now);
                return Lookup::Done;
            }
            L4Decision::Repeat => {
                self.unlink(slot, now);
                return Lookup::Missed;
            }
            L4Decision::InvalidShorten(reason, span) => {
                self.table.set_deadline(slot, now + span);
                *tracked = self.invalid(reason);
                return Lookup::Done;
            }
            L4Decision::InvalidChanged(reason, changes) => {
                self.refresh(slot, direction, 0, &Accept { timeout: None, ..changes });
                *tracked = self.invalid(reason);
                return Lookup::Done;
            }
            L4Decision::Invalid(reason) => {
                *tracked = self.invalid(reason);
                return Lookup::Done;
            }
        }
        if direction == Direction::Reply
            && !status.has(Status::SEEN_REPLY)
            && let Some(entry) = self.table.entry_mut(slot)
        {
            entry.status.set(Status::SEEN_REPLY);
            entry.cache_event(EventMask::REPLY);
        }
        Lookup::Done
    }

    fn invalid(&mut self, reason: Reason) -> Tracked {
        self.statistics.invalid += 1;
        Tracked::invalid(reason)
    }

    #[inline]
    fn refresh(&mut self, slot: u32, direction: Direction, length: usize, accept: &Accept) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        if accept.events != EventMask::NONE {
            entry.cache_event(accept.events);
        }
        if accept.assured && entry.status.set(Status::ASSURED) {
            entry.cache_event(EventMask::ASSURED);
        }
        let Some(timeout) = accept.timeout else { return };
        let fixed = entry.status.has(Status::FIXED_TIMEOUT);
        let counts = entry.flags.has(Flags::ACCOUNTING);
        if !fixed {
            self.table.set_deadline(slot, self.now + timeout);
        }
        if counts {
            self.table.account(slot, direction, length);
        }
    }

    fn account(&mut self, slot: u32, direction: Direction, length: usize) {
        if self.table.entry(slot).is_some_and(|entry| entry.flags.has(Flags::ACCOUNTING)) {
            self.table.account(slot, direction, length);
        }
    }

    /// A packet that belongs to nothing in the table: it may begin a connection.
    #[inline(never)]
    fn begin(
        &mut self,
        tuple: &Tuple,
        place: Place,
        packet: &Packet<'_>,
        verify: Option<Unfinished>,
    ) -> Tracked {
        let Some(reply) = tuple.inverse() else {
            let kind = packet.l4().first().copied().unwrap_or_default();
            return self.invalid(Reason::IcmpNoQuery { kind });
        };
        if !self.make_room(place) {
            self.statistics.count_drop(DropReason::TableFull);
            // One pass at a time.
            let next = self.now + Span::secs(1);
            self.pressure.get_or_insert(Pressure { next, cursor: 0 });
            return Tracked {
                state: CtState::New,
                direction: None,
                reason: None,
                began: false,
                flow: Flow::None,
                expectation: None,
                drop: Some(DropReason::TableFull),
            };
        }
        let mut conn = self.unconfirmed(Unconfirmed::new(*tuple, reply, place));
        self.equip(&mut conn);
        // Before the protocol has had its say: what was expected is used up by a bad packet as well.
        let expectation = self.expected(&mut conn);
        let context = L4Context {
            sysctls: &self.sysctls,
            direction: Direction::Original,
            status: conn.entry.status,
            is_new: true,
            now: self.now,
            remaining: Span(0),
            verify,
        };
        let accept = match l4_packet(&mut conn.entry, &context, packet) {
            L4Decision::Accept(accept) => accept,
            L4Decision::Ignore(reason) => Accept { reason, ..Accept::refresh(Span(0)) },
            L4Decision::Invalid(reason)
            | L4Decision::InvalidChanged(reason, _)
            | L4Decision::InvalidShorten(reason, _) => {
                return self.invalid(reason);
            }
            // Only a connection in the table can end.
            L4Decision::Kill | L4Decision::Repeat => Accept::refresh(Span(0)),
        };
        // Until it is confirmed, the deadline is only a span: its clock starts then.
        conn.entry.deadline = accept.timeout.unwrap_or_default().0;
        conn.entry.cache_event(accept.events);
        if conn.entry.flags.has(Flags::ACCOUNTING) {
            let counter = &mut conn.counters[Direction::Original];
            counter.packets += 1;
            counter.bytes += packet.length() as u64;
        }
        Tracked {
            state: state_of(conn.entry.status, Direction::Original),
            direction: Some(Direction::Original),
            reason: accept.reason,
            began: true,
            flow: Flow::Unconfirmed(conn),
            expectation,
            drop: None,
        }
    }

    fn unconfirmed(&mut self, fresh: Unconfirmed) -> Box<Unconfirmed> {
        match self.pool.pop() {
            Some(mut conn) => {
                *conn = fresh;
                conn
            }
            None => Box::new(fresh),
        }
    }

    /// Forgets the connection of a packet that was dropped, if it was not in the table.
    pub fn forget(&mut self, flow: Flow) {
        /// More are never on their way at once, but for bursts that hold on to their flows.
        const POOL: usize = 64;
        if let Flow::Unconfirmed(conn) = flow {
            self.forget_announced(&conn);
            if self.pool.len() < POOL {
                self.pool.push(conn);
            }
        }
    }

    /// What a connection gets from the settings at its birth.
    fn equip(&mut self, conn: &mut Unconfirmed) {
        if self.sysctls.acct {
            conn.entry.flags.set(Flags::ACCOUNTING);
        }
        if self.sysctls.timestamp {
            conn.extra_mut().timestamps = Some(Timestamps::default());
        }
        let reports = match self.sysctls.events {
            EventMode::Off => false,
            EventMode::Always => true,
            EventMode::Listened => self.listening,
        };
        if reports {
            conn.entry.flags.set(Flags::EVENTS);
        }
    }

    /// Room for one more: at the limit, connections near the new one's place that are not ASSURED
    /// give way. The work is bounded by a few buckets.
    fn make_room(&mut self, place: Place) -> bool {
        let max = Tracker::capacity(self.sysctls.max);
        if self.table.count() < max {
            return true;
        }
        for n in 0..EARLY_DROP_BUCKETS {
            let mut dropped = 0;
            for slot in self.table.neighbours(place, n) {
                let Some(entry) = self.table.entry(slot) else { continue };
                if !entry.is_free() && !entry.status.has(Status::ASSURED) {
                    self.unlink(slot, self.now);
                    dropped += 1;
                }
            }
            if dropped > 0 {
                self.statistics.early_drop += dropped;
                return self.table.count() < max;
            }
        }
        false
    }

    /// Ends the way of a packet that nothing dropped: a new connection enters the table, and
    /// collected events are told. On an error the packet must be dropped.
    #[inline]
    pub fn confirm(&mut self, flow: &mut Flow) -> Result<(), DropReason> {
        match flow {
            Flow::None => Ok(()),
            Flow::Confirmed(id) => {
                if self.table.live(*id).is_some_and(|entry| entry.pending != 0) {
                    self.deliver(id.slot);
                }
                Ok(())
            }
            Flow::Unconfirmed(_) => self.confirm_new(flow),
        }
    }

    #[inline(never)]
    fn confirm_new(&mut self, flow: &mut Flow) -> Result<(), DropReason> {
        let Flow::Unconfirmed(mut conn) = core::mem::take(flow) else { return Ok(()) };
        let entered = match self.insert(&mut conn) {
            Ok(id) => Ok(id),
            Err(InsertError::Taken(slot, direction)) => {
                self.resolve_clash(&conn, slot, direction).ok_or(DropReason::Clash)
            }
            Err(InsertError::Full) => Err(DropReason::TableFull),
            Err(InsertError::ChainTooLong) => {
                self.statistics.chaintoolong += 1;
                Err(DropReason::ChainTooLong)
            }
        };
        self.forget(Flow::Unconfirmed(conn));
        match entered {
            Ok(id) => {
                *flow = Flow::Confirmed(id);
                Ok(())
            }
            Err(reason) => {
                self.statistics.insert_failed += 1;
                self.statistics.count_drop(reason);
                Err(reason)
            }
        }
    }

    fn insert(&mut self, conn: &mut Unconfirmed) -> Result<ConnId, InsertError> {
        let timeout = Span(conn.entry.deadline);
        conn.entry.deadline = (self.now + timeout).0;
        conn.entry.status.set(Status::CONFIRMED);
        if let Some(Extra { timestamps: Some(timestamps), .. }) = conn.extra.as_deref_mut() {
            timestamps.start = self.now;
        }
        let expected = conn.entry.status.has(Status::EXPECTED);
        conn.entry.cache_event(if expected { EventMask::RELATED } else { EventMask::NEW });
        let inserted = self.table.insert(conn, self.now);
        match inserted {
            Ok(id) => {
                self.deliver(id.slot);
                self.keep_announced(conn, id);
            }
            Err(_) => conn.entry.deadline = timeout.0,
        }
        inserted
    }

    /// Two packets began the same flow before either was confirmed. Where the protocol has no state
    /// to lose, the second joins the connection of the first.
    fn resolve_clash(
        &mut self,
        conn: &Unconfirmed,
        winner: u32,
        direction: Direction,
    ) -> Option<ConnId> {
        let joins = matches!(
            conn.entry.original.protocol,
            protocol::UDP | protocol::UDPLITE | protocol::GRE
        ) || !has_tracker(conn.entry.original.protocol);
        if !joins {
            return None;
        }
        let same = self.table.tuple(winner, direction) == Some(conn.tuple(Direction::Original))
            && self.table.tuple(winner, !direction) == Some(conn.tuple(Direction::Reply));
        if !same {
            return None;
        }
        let PerDir([counter, _]) = conn.counters;
        self.account(winner, direction, counter.bytes as usize);
        self.statistics.clash_resolve += 1;
        self.table.id_of(winner)
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

    /// Tells what a connection has collected.
    #[inline(never)]
    fn deliver(&mut self, slot: u32) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        if entry.pending == 0 {
            return;
        }
        let causes = EventMask(core::mem::take(&mut entry.pending));
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

    /// Ends a connection, whatever the cause: out of the table, and told.
    #[inline(never)]
    fn unlink(&mut self, slot: u32, at: Instant) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let id = ConnId { slot, generation: entry.generation };
        if entry.flags.has(Flags::EVENTS) {
            entry.status.set(Status::DYING);
            let message = Telling::Event(EventKind::Destroy, EventMask::DESTROY);
            let record = tell::record(&self.table, slot, message, at);
            if let Some(record) = record {
                let subject = Subject::Connection(record);
                self.events.push(Event { kind: EventKind::Destroy, at, subject });
            }
        }
        self.table.unlink(slot);
        if !self.expectations.is_empty() {
            self.expectations.remove_of(id, Log { at, events: &mut self.events });
        }
    }
}

/// Hands a packet to its protocol.
#[inline]
fn l4_packet(entry: &mut Entry, context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    match entry.original.protocol {
        protocol::TCP => tcp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::UDP => udp::packet(transmute_mut!(&mut entry.l4), context, packet),
        _ => other_l4_packet(entry, context, packet),
    }
}

/// As [`l4_packet`] for the protocols that are not most of the traffic: apart, so that those that
/// are have the registers.
#[inline(never)]
fn other_l4_packet(entry: &mut Entry, context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    match entry.original.protocol {
        protocol::ICMP => icmp::packet(context, packet),
        protocol::ICMPV6 => icmpv6::packet(context, packet),
        protocol::SCTP => sctp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::GRE => gre::packet(transmute_mut!(&mut entry.l4), context),
        protocol::UDPLITE => udp::lite_packet(context, packet),
        // Whatever has no tracker: one flow for each pair of addresses, and a long timeout.
        _ => L4Decision::Accept(Accept::refresh(span(context.sysctls.generic_timeout))),
    }
}

/// Whether the protocol has a tracker of its own.
const fn has_tracker(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::TCP
            | protocol::UDP
            | protocol::UDPLITE
            | protocol::ICMP
            | protocol::ICMPV6
            | protocol::SCTP
            | protocol::GRE
    )
}

/// What rules see of a packet of a connection, from the status it had before the packet.
#[inline]
fn state_of(status: Status, direction: Direction) -> CtState {
    if direction == Direction::Reply || status.has(Status::SEEN_REPLY) {
        CtState::Established
    } else if status.has(Status::EXPECTED) {
        CtState::Related
    } else {
        CtState::New
    }
}

/// Why a packet has no tuple.
fn no_tuple(protocol: u8) -> Reason {
    match protocol {
        protocol::GRE => Reason::GreNotPpp,
        protocol => Reason::ShortHeader { protocol },
    }
}

/// A pass over a table that is too full: when it goes on, and at which slot.
#[derive(Clone, Copy)]
struct Pressure {
    next: Instant,
    cursor: u32,
}

/// Whether a lookup led to a connection that is the packet's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookup {
    Done,
    Missed,
}

/// Where a packet's connection would be: worked out from the packet's bytes alone, and good for as
/// long as these stay the same.
#[derive(Clone, Copy, Debug)]
pub struct Approach {
    tuple: Tuple,
    place: Place,
}
