//! The tracker: what the kernel's conntrack does to a packet, from the first hook to the last.
//!
//! [`Tracker::track`] (the kernel's `nf_conntrack_in`) classifies a packet where it enters:
//!
//! 1. timers that are due by the packet's time run ([`timeout`]);
//! 2. ICMP errors are looked up by what they quote ([`icmp_error`]);
//! 3. the tuple is looked up in both directions; on a miss the packet may begin a connection
//!    ([`begin`], in a full table after [`room`] was made), which then belongs to the packet
//!    ([`Unconfirmed`](crate::Unconfirmed));
//! 4. the protocol ([`protocols`]) answers with an [`L4Decision`], and [`Tracker::existing`] turns
//!    it into timeout, counters, status and collected events ([`refresh`]);
//! 5. the first answer sets SEEN_REPLY, after the protocol has seen the packet without it.
//!
//! [`Tracker::confirm`] (`nf_conntrack_confirm`, in [`confirm`]) ends the way of a packet that
//! nothing dropped: a new connection enters the table, collected events are told ([`events`]). A
//! packet dropped in between leaves its connection's events collected, and a new connection is
//! forgotten.
//!
//! A table may also start from what another tracker had ([`load`]). What NAT asks in between is
//! [`nat`]'s.
//!
//! Nothing here reads a clock: `now` comes with each call, and a time that goes backwards counts as
//! the latest one seen.

mod announce;
mod assign;
mod begin;
mod calls;
mod confirm;
mod events;
mod help;
mod icmp_error;
mod load;
mod nat;
mod protocols;
mod refresh;
mod room;
mod template;
mod timeout;
mod tracked;

use stateward_wire::{Family, Packet, protocol};

use crate::calls::Calls;
use crate::decision::{Accept, L4Decision};
use crate::entry::{ConnId, Flags, NONE};
use crate::event::{Event, EventMask};
use crate::expect::Expectations;
use crate::index::{Place, Seed};
use crate::memory::Arena;
use crate::reason::Reason;
use crate::statistics::Statistics;
use crate::status::{CtState, Direction, PerDir, Status};
use crate::sysctl::Sysctls;
use crate::table::{Table, Unconfirmed};
use crate::time::Instant;
use crate::tuple::{Key, Tuple, Zone};
pub use assign::Assigned;
pub use help::HelperMemory;
pub use load::{Given, GivenState, LoadError};
pub(crate) use protocols::has_tracker;
use protocols::l4_packet;
pub(crate) use protocols::{Circumstances, L4Context};
use room::Pressure;
pub use template::{Reports, Template};
use timeout::timeouts_of;
use tracked::Last;
pub use tracked::{Flow, Glimpse, Life, Standing, Tracked};

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

/// One network namespace's connection tracking.
pub struct Tracker {
    table: Table,
    sysctls: Sysctls,
    /// The sysctls, but for the timeouts of each policy.
    policies: Vec<Sysctls>,
    expectations: Expectations,
    calls: Calls,
    statistics: Statistics,
    events: Vec<Event>,
    /// Boxes of connections that were confirmed or forgotten, for the next ones.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is used again")]
    pool: Vec<Box<Unconfirmed>>,
    listening: bool,
    /// The table was full and early drop found nothing.
    pressure: Option<Pressure>,
    /// Connections that begin get room for labels.
    labels: bool,
    /// Some connection has got a helper.
    helping: bool,
    /// By which ports connections get helpers.
    assigned: Vec<Assigned>,
    /// Connections that announced another one with their first packet.
    masters: u32,
    unfinished: Unfinished,
    now: Instant,
    /// The connection that a packet ended last: the packet's rules see it still.
    ended: Option<Last>,
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
            policies: Vec::new(),
            expectations: Expectations::new(),
            calls: Calls::default(),
            statistics: Statistics::default(),
            events: Vec::new(),
            pool: Vec::new(),
            listening: false,
            pressure: None,
            labels: false,
            helping: false,
            assigned: Vec::new(),
            masters: 0,
            unfinished,
            now: Instant::default(),
            ended: None,
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

    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Connections in the table.
    pub fn count(&self) -> usize {
        self.table.count()
    }

    /// What unfinished checksums are.
    pub fn unfinished(&self) -> Unfinished {
        self.unfinished
    }

    /// The expectations.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// The latest time seen.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Works out where the connection of a packet would be, from the packet alone, and starts
    /// fetching that line of the index. Nothing in the table is looked at.
    #[inline(always)]
    pub fn approach(&self, packet: &Packet<'_>) -> Option<Approach> {
        // A call's other key may be told until then.
        let tuple =
            Tuple::of(packet, Zone::DEFAULT).filter(|tuple| tuple.key.protocol != protocol::GRE)?;
        let place = self.table.place(&tuple);
        self.table.prefetch(place);
        Some(Approach { key: tuple.key, place, fetched: NONE })
    }

    /// As [`Tracker::approach`] for TCP and UDP over IPv4; `None` for what is not that.
    #[inline(always)]
    pub fn approach_plain(&self, packet: &Packet<'_>) -> Option<Approach> {
        let key = Key::of_ports(packet)?;
        let place = self.table.place_of_ports(&key);
        self.table.prefetch(place);
        Some(Approach { key, place, fetched: NONE })
    }

    /// Second step of [`Tracker::approach`]: the entry itself.
    #[inline]
    pub fn approach_entry(&self, approach: &mut Approach) {
        let Some(slot) = self.table.prefetch_entry(approach.place) else { return };
        approach.fetched = slot;
        if self.sysctls.acct {
            self.table.prefetch_counters(slot);
        }
    }

    /// Classifies a packet: see the module's essay.
    pub fn track(
        &mut self,
        packet: &Packet<'_>,
        hook: Hook,
        template: impl Into<Template>,
        now: Instant,
    ) -> Tracked {
        let mut tracked = Tracked::untracked();
        self.handle_timeout(now);
        self.track_at(packet, hook, &template.into(), None, &mut tracked);
        tracked
    }

    /// As [`Tracker::track`] in the default zone, for a packet that may have been
    /// [approached](Tracker::approach) and has not changed since. The answer is written over
    /// `tracked`, which must be [`Tracked::untracked`]: handed up by value it is copied from call
    /// to call, and each copy waits for the stores before it.
    #[inline(never)]
    pub fn track_from(
        &mut self,
        approach: Option<&Approach>,
        packet: &Packet<'_>,
        hook: Hook,
        now: Instant,
        tracked: &mut Tracked,
    ) {
        self.handle_timeout(now);
        if let Some(known) = approach
            && let Some(found) = self.table.find_fetched(known.fetched, &known.key, packet)
            && self.is_steady(found, packet, hook, tracked)
        {
            return;
        }
        self.track_at(packet, hook, &Template::default(), approach, tracked);
    }

    #[inline(never)]
    fn track_at(
        &mut self,
        packet: &Packet<'_>,
        hook: Hook,
        template: &Template,
        known: Option<&Approach>,
        tracked: &mut Tracked,
    ) {
        self.classify(packet, hook, template, known, tracked);
        if let Some(reason) = &tracked.reason {
            self.statistics.count_reason(reason);
        }
    }

    /// Whether a packet of a connection in the table is what most are ([`protocols::steady`]); what
    /// follows from that is done then, and else nothing.
    #[inline(always)]
    fn is_steady(
        &mut self,
        (slot, direction): (u32, Direction),
        packet: &Packet<'_>,
        hook: Hook,
        tracked: &mut Tracked,
    ) -> bool {
        let Some(entry) = self.table.entry_mut(slot) else { return false };
        let (now, sysctls) = (self.now, &self.sysctls);
        let verify = hook == Hook::Prerouting && sysctls.checksum;
        let circumstances = Circumstances { sysctls, now, direction, verify };
        let Some(timeout) = protocols::steady(entry, circumstances, packet) else { return false };
        tracked.state = CtState::Established;
        tracked.direction = Some(direction);
        tracked.flow = Flow::Confirmed(ConnId { slot, generation: entry.generation });
        let counts = entry.flags.has(Flags::ACCOUNTING);
        self.table.set_deadline(slot, now + timeout);
        if counts {
            self.table.account(slot, direction, packet.length());
        }
        true
    }

    #[inline(always)]
    fn classify(
        &mut self,
        packet: &Packet<'_>,
        hook: Hook,
        template: &Template,
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
            && let Some(error) = self.track_icmp(packet, upper.protocol, verify, template)
        {
            *tracked = error;
            return;
        }
        let tuple = match known {
            Some(known) => Some(known.key.with_addresses_of(packet)),
            None => Tuple::of(packet, template.zone())
                .map(|tuple| self.with_source_key(tuple, packet.l4())),
        };
        let Some(tuple) = tuple else {
            *tracked = self.invalid(no_tuple(upper.protocol));
            return;
        };
        let place = known.map_or_else(|| self.table.place(&tuple), |known| known.place);
        let lookup = match self.find_in(place, &tuple, template) {
            Some((slot, direction)) => self.existing(slot, direction, packet, verify, tracked),
            None => Lookup::Missed,
        };
        if lookup == Lookup::Missed {
            *tracked = self.begin((&tuple, place), template, packet, verify);
        }
    }

    /// The connection that has the tuple, which is of the original direction's zone. Where each
    /// direction has a zone of its own, a packet is of the one whose zone it was found in.
    #[inline(always)]
    fn find_in(
        &self,
        place: Place,
        tuple: &Tuple,
        template: &Template,
    ) -> Option<(u32, Direction)> {
        let PerDir([original, reply]) = template.zones;
        if original == reply {
            return self.table.find_at(place, tuple);
        }
        let mut answer = *tuple;
        answer.key.zone = reply.0;
        let found = |tuple, direction| self.table.find_one(tuple, direction);
        found(tuple, Direction::Original).or_else(|| found(&answer, Direction::Reply))
    }

    /// A packet of a connection in the table, which it may end to begin the next.
    #[inline(never)]
    fn existing(
        &mut self,
        slot: u32,
        direction: Direction,
        packet: &Packet<'_>,
        verify: Option<Unfinished>,
        tracked: &mut Tracked,
    ) -> Lookup {
        let now = self.now;
        let moved = self.moved(slot, direction);
        let timeouts = timeouts_of(&self.policies, &self.sysctls, self.policy_of(slot));
        let Some(entry) = self.table.entry_mut(slot) else { return Lookup::Missed };
        let status = entry.status;
        let context = L4Context::of(entry, &self.sysctls, direction, now, verify);
        let context = L4Context { moved, timeouts, ..context };
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
                self.remember_last(id, direction, &tracked.flow);
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
        if direction == Direction::Reply && !status.has(Status::SEEN_REPLY) {
            self.see_reply(slot);
        }
        Lookup::Done
    }

    /// Keeps what rules may still ask of a connection that its packet ends.
    #[cold]
    fn remember_last(&mut self, id: ConnId, direction: Direction, flow: &Flow) {
        self.ended = self.glimpse(flow).map(|mut seen| {
            if direction == Direction::Reply {
                seen.status.set(Status::SEEN_REPLY);
            }
            Last { id, seen, counters: self.table.counters(id.slot), labels: self.labels(flow) }
        });
    }

    /// The first answer has come.
    fn see_reply(&mut self, slot: u32) {
        if let Some(entry) = self.table.entry_mut(slot) {
            entry.status.set(Status::SEEN_REPLY);
            entry.cache_event(EventMask::REPLY);
        }
    }

    fn invalid(&mut self, reason: Reason) -> Tracked {
        self.statistics.invalid += 1;
        Tracked::invalid(reason)
    }
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
    key: Key,
    place: Place,
    /// The slot whose entry was fetched. It is looked at first; what it holds by then decides.
    fetched: u32,
}
