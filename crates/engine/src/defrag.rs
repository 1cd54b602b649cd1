//! Puts fragments together before conntrack, and says how to cut the whole again on the way out.
//!
//! Linux does this at priority −400 (`nf_defrag_ipv4`, `nf_defrag_ipv6`), so that no rule and no
//! tracker ever sees a later fragment. This module is that hook, sans-IO: fragments and their time
//! go in, whole packets and deadlines come out. It sends nothing: a queue whose time is over comes
//! back as [`Expired`], and whether an ICMP error answers it is the engine's routing question.
//!
//! Life of a queue: the first fragment of any offset opens it and starts its only timer, which no
//! later fragment restarts; it ends whole ([`Outcome::Complete`]), out of time, or discarded with
//! all it had, which a single overlapping fragment brings about. `queue` holds what the families
//! share, `ipv4` and `ipv6` their own rules, which differ in surprising places, [`mod@cut`] the way
//! out.
//!
//! What is asked of the bytes is what Linux 6.18 asks, found by reading and then by running it,
//! down to what looks like a mistake there. Two things are ours: the cost of a fragment against
//! the memory threshold is that of a packet written to a TUN device (drivers differ), and a
//! fragment cut short by a capture counts with its stated length, its missing bytes as zeros.
//!
//! Bounds: memory by [`Limits::high_threshold`], plus one packet; a queue has at most 8,192 pieces;
//! all work is logarithmic in both. Queues are kept in ordered trees, so there is no hash to flood.

use core::net::IpAddr;
use std::collections::BTreeMap;

use stateward_conntrack::{Instant, Span};
use stateward_wire::{Family, Network as Header, Packet, protocol};

pub mod cut;
mod ipv4;
mod ipv6;
mod queue;
#[cfg(test)]
mod tests;

pub use cut::{Cut, Origins, cut};

use queue::{Peer, Queue};

/// On which side of the machine a fragment turned up. The sides never share a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Received: the hook is PREROUTING.
    Incoming,
    /// Made by this machine: the hook is OUTPUT.
    Outgoing,
}

/// Where a fragment turned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Received or made here.
    pub side: Side,
    /// Index of the interface it came by. Queues do not care, except for IPv6 to multicast and
    /// link-local destinations.
    pub interface: u32,
    /// Conntrack zone given before this hook, which a rule cannot do: 0 but for odd drivers.
    pub zone: u16,
}

/// The sysctls of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a queue waits, counted from its first fragment: `net.ipv4.ipfrag_time`,
    /// `net.netfilter.nf_conntrack_frag6_timeout`.
    pub timeout: Span,
    /// While more than this many bytes are held, every fragment is dropped, and with 0 always:
    /// `net.ipv4.ipfrag_high_thresh`, `net.netfilter.nf_conntrack_frag6_high_thresh`.
    pub high_threshold: u64,
    /// A queue that was passed over by more than this many fragments of the same source starts
    /// afresh; 0 is never: `net.ipv4.ipfrag_max_dist`. IPv6 has no such thing.
    pub max_distance: u32,
}

impl Limits {
    /// Linux's defaults for IPv4.
    pub const IPV4: Self =
        Self { timeout: Span::secs(30), high_threshold: 4 << 20, max_distance: 64 };
    /// Linux's defaults for IPv6.
    pub const IPV6: Self =
        Self { timeout: Span::secs(60), high_threshold: 4 << 20, max_distance: 0 };
}

/// What became of a packet.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on as it is: not a fragment, or an IPv6 one that Linux lets through.
    Whole,
    /// It waits for the others.
    Held,
    /// It was the last one missing: this goes on in its stead.
    Complete(Reassembled),
    /// It is gone.
    Dropped(DropReason),
}

/// A packet put together from fragments.
#[derive(Debug)]
pub struct Reassembled {
    /// The packet: the first fragment's headers, lengths and IPv4 header checksum made right.
    pub bytes: Vec<u8>,
    /// What it was made from, for [`cut()`].
    pub origins: Origins,
    /// Some fragment was cut by a capture: missing bytes are zeros, no checksum can be judged.
    pub incomplete: bool,
}

impl Reassembled {
    /// Receiving, Linux itself moves two headers into one piece: TCP's, to look for a socket before
    /// it routes (IPv4; with IPv6 it is in one piece already, or else behind extension headers,
    /// where nobody looks for one), and SCTP's, to test the checksum.
    fn received(mut self, checksums: bool) -> Self {
        let packet = Packet::parse_trusted(&self.bytes).ok();
        let wanted = packet.and_then(|packet| Some((packet, packet.upper()?)));
        let wanted = wanted.and_then(|(packet, upper)| match upper.protocol {
            protocol::TCP => match packet.network() {
                Header::V6(header) if header.next_header != protocol::TCP => None,
                _ => Some(upper.offset + 20),
            },
            protocol::SCTP if checksums => Some(upper.offset + 12),
            _ => None,
        });
        if let Some(wanted) = wanted {
            self.origins.gather(wanted);
        }
        self
    }
}

/// Why a fragment is gone. All but [`Self::Duplicate`], [`Self::Memory`] and [`Self::Header`], and
/// for IPv6 [`Self::Empty`], [`Self::End`] and [`Self::TooFar`], took its queue with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The fragments held are over the memory threshold.
    Memory,
    /// All its bytes are there already.
    Duplicate,
    /// Some of its bytes are there already.
    Overlap,
    /// It carries no data.
    Empty,
    /// It ends beyond the last fragment, or it is a last fragment that ends elsewhere.
    End,
    /// It ends beyond the longest packet there is (IPv6; IPv4 sees that when all is there).
    TooFar,
    /// The packet would be longer than 65,535 bytes.
    TooLong,
    /// The fragments disagree about ECN: some claim it and some do not.
    MixedEcn,
    /// Its IPv6 fragment header is cut.
    Header,
}

impl DropReason {
    /// Every reason, for counters and their names.
    pub const ALL: [Self; 9] = [
        Self::Memory,
        Self::Duplicate,
        Self::Overlap,
        Self::Empty,
        Self::End,
        Self::TooFar,
        Self::TooLong,
        Self::MixedEcn,
        Self::Header,
    ];

    /// The stable word of this reason.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Memory => "fragment_memory",
            Self::Duplicate => "fragment_duplicate",
            Self::Overlap => "fragment_overlap",
            Self::Empty => "fragment_empty",
            Self::End => "fragment_end",
            Self::TooFar => "fragment_too_far",
            Self::TooLong => "fragment_too_long",
            Self::MixedEcn => "fragment_mixed_ecn",
            Self::Header => "fragment_header",
        }
    }

    /// The fixed sentence for this reason.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Memory => "the memory for fragments is used up",
            Self::Duplicate => "the fragment is a duplicate",
            Self::Overlap => "the fragment overlaps another: all of its packet is dropped",
            Self::Empty => "the fragment carries no data",
            Self::End => "the fragment contradicts the packet's end",
            Self::TooFar => "the fragment ends beyond the longest packet",
            Self::TooLong => "the fragments make a packet longer than 65535 bytes",
            Self::MixedEcn => "the fragments disagree about ECN",
            Self::Header => "the fragment header is cut",
        }
    }
}

/// A packet that did not come together in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Expired {
    /// The family.
    pub family: Family,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Received or made here.
    pub side: Side,
    /// The interface by which its latest fragment came.
    pub interface: u32,
    /// The first fragment as it came, if it did. Then Linux sends "fragment reassembly time
    /// exceeded" to its source: for IPv6 always, for IPv4 if the destination is the machine itself.
    pub first_fragment: Option<Vec<u8>>,
}

/// Counts of one family, named as SNMP names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fragments seen (`ReasmReqds`).
    pub required: u64,
    /// Packets put together (`ReasmOKs`).
    pub complete: u64,
    /// Failures of any kind (`ReasmFails`).
    pub failed: u64,
    /// Packets that ran out of time (`ReasmTimeout`).
    pub timeouts: u64,
    /// Packets discarded for an overlap (`ReasmOverlaps`).
    pub overlaps: u64,
}

/// What fragments must have in common to belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// 0 for IPv6, whose fragments may disagree about it: the first one's word counts.
    protocol: u8,
    side: Side,
    zone: u16,
    /// 0 where the interface does not matter.
    interface: u32,
}

/// The queues of one family.
#[derive(Debug)]
struct Pool {
    limits: Limits,
    /// What an empty queue counts against the memory threshold.
    queue_cost: u64,
    queues: BTreeMap<Key, Queue>,
    /// The queues by deadline; the number tells those of one instant apart, in order of opening.
    deadlines: BTreeMap<(Instant, u64), Key>,
    opened: u64,
    /// Sources of IPv4 fragments, as long as they have a queue.
    peers: BTreeMap<IpAddr, Peer>,
    memory: u64,
    counters: Counters,
}

/// Fragments waiting for each other.
#[derive(Debug)]
pub struct Defrag {
    ipv4: Pool,
    ipv6: Pool,
    checksums: bool,
}

impl Default for Defrag {
    fn default() -> Self {
        Self::new(Limits::IPV4, Limits::IPV6)
    }
}

impl Defrag {
    /// No fragments, and these limits.
    pub fn new(ipv4: Limits, ipv6: Limits) -> Self {
        let (ipv4, ipv6) = (Pool::new(ipv4, queue::IPV4_COST), Pool::new(ipv6, queue::IPV6_COST));
        Self { ipv4, ipv6, checksums: true }
    }

    /// Whether checksums are tested where packets come in (`nf_conntrack_checksum`): reading SCTP's
    /// gathers its header.
    pub fn set_checksums(&mut self, tested: bool) {
        self.checksums = tested;
    }

    /// Changes the limits of a family. Running timers keep their end, as in Linux.
    pub fn set_limits(&mut self, family: Family, limits: Limits) {
        self.pool_mut(family).limits = limits;
    }

    /// Takes a packet. Timers due at `now` must have run: see [`Self::handle_timeout`].
    #[inline]
    pub fn push(&mut self, packet: &Packet<'_>, place: Place, now: Instant) -> Outcome {
        let outcome = match packet.family() {
            Family::V4 => match packet.fragment() {
                None => return Outcome::Whole,
                Some(fragment) => ipv4::push(&mut self.ipv4, packet, fragment, place, now),
            },
            Family::V6 => match packet.fragment_header() {
                None => return Outcome::Whole,
                Some(offset) => ipv6::push(&mut self.ipv6, packet, offset, place, now),
            },
        };
        match outcome {
            Outcome::Complete(whole) if place.side == Side::Incoming => {
                Outcome::Complete(whole.received(self.checksums))
            }
            outcome => outcome,
        }
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = |pool: &Pool| pool.deadlines.keys().next().map(|&(deadline, _)| deadline);
        [first(&self.ipv4), first(&self.ipv6)].into_iter().flatten().min()
    }

    /// Gives up one packet whose time is over, if there is one: call it until there is none.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Expired> {
        self.ipv4.expire(now).or_else(|| self.ipv6.expire(now))
    }

    /// Bytes held for a family, as the memory threshold counts them.
    pub fn memory(&self, family: Family) -> u64 {
        self.pool(family).memory
    }

    /// Packets of a family that are waiting for fragments.
    pub fn waiting(&self, family: Family) -> usize {
        self.pool(family).queues.len()
    }

    /// The counts of a family.
    pub fn counters(&self, family: Family) -> Counters {
        self.pool(family).counters
    }

    fn pool(&self, family: Family) -> &Pool {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
        }
    }

    fn pool_mut(&mut self, family: Family) -> &mut Pool {
        match family {
            Family::V4 => &mut self.ipv4,
            Family::V6 => &mut self.ipv6,
        }
    }
}

impl Pool {
    fn new(limits: Limits, queue_cost: u64) -> Self {
        Self {
            limits,
            queue_cost,
            queues: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            opened: 0,
            peers: BTreeMap::new(),
            memory: 0,
            counters: Counters::default(),
        }
    }

    /// The queue of `key`, taken out for work on it; it goes back by [`Self::keep`] or is gone. A
    /// new one is opened if there is none. None if the memory is used up, even for a queue there
    /// is.
    fn take(&mut self, key: &Key, now: Instant) -> Option<Queue> {
        let threshold = self.limits.high_threshold;
        if threshold == 0 || self.memory > threshold {
            return None;
        }
        if let Some(queue) = self.queues.remove(key) {
            return Some(queue);
        }
        self.opened += 1;
        let queue = Queue::new((now + self.limits.timeout, self.opened), self.queue_cost);
        self.deadlines.insert(queue.timer, *key);
        self.memory += queue.memory;
        if matches!(key.source, IpAddr::V4(_)) {
            self.peers.entry(key.source).or_default().queues += 1;
        }
        Some(queue)
    }

    /// Puts a queue back. What it grew by while it was out is the caller's to add.
    fn keep(&mut self, key: Key, queue: Queue) {
        self.queues.insert(key, queue);
    }

    /// Ends a queue that was taken out: the one way out for each.
    fn discard(&mut self, key: &Key, queue: &Queue) {
        self.deadlines.remove(&queue.timer);
        self.memory = self.memory.saturating_sub(queue.memory);
        if let Some(peer) = self.peers.get_mut(&key.source) {
            peer.queues = peer.queues.saturating_sub(1);
            if peer.queues == 0 {
                self.peers.remove(&key.source);
            }
        }
    }

    fn expire(&mut self, now: Instant) -> Option<Expired> {
        let (&(deadline, _), &key) = self.deadlines.first_key_value()?;
        if deadline > now {
            return None;
        }
        let queue = self.queues.remove(&key)?;
        self.discard(&key, &queue);
        self.counters.timeouts += 1;
        self.counters.failed += 1;
        Some(Expired {
            family: Family::of(key.source),
            source: key.source,
            destination: key.destination,
            side: key.side,
            interface: queue.interface,
            first_fragment: queue.first_fragment(),
        })
    }
}
