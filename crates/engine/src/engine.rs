//! The engine's types, and its door: single packets and bursts.

use core::cell::RefCell;
use core::fmt;

use stateward_conntrack::{
    Arena, ConnId, CtState, Direction, DropReason, Event, Instant, Reason, Span, Tracker,
};
use stateward_helpers::Doubt;
use stateward_nat::{Chance, Wish};
use stateward_rules::Shared;
use stateward_wire::{Malformed, Packet};

use crate::defrag::{self, Defrag, Limits};
use crate::help::Helpers;
use crate::link::LinkHeader;
use crate::nat::NatDrop;
use crate::route::{InterfaceId, Network, RoutingDrop};
use crate::rules::{Notes, Rules};
use crate::walk::Prepared;

/// Where a packet enters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Port {
    /// It came in here.
    Interface(InterfaceId),
    /// This host made it.
    Local,
}

/// How far a packet's bytes can be trusted to be what the machine saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// A wire: header checksum and lengths must be right.
    Wire,
    /// A capture: bytes may be missing at the end, superpackets may state no length.
    Capture,
}

/// A packet on its way in. Its bytes are edited in place (TTL).
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Where it enters.
    pub port: Port,
    /// The IP packet; link-layer padding may follow.
    pub bytes: &'a mut [u8],
    /// When.
    pub now: Instant,
    /// What the link told of it, if it has such a header.
    pub link: Option<&'a LinkHeader>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Left towards another host; the interface is known when routing is on.
    Forward(Option<InterfaceId>),
    /// Delivered to this host.
    Input,
    /// Sent by this host.
    Output(Option<InterfaceId>),
    /// Dropped, and where; [`Outcome::why`] says why.
    Drop(At),
    /// Dropped by a rule that tells the sender.
    Reject,
    /// To user space: to this queue of it.
    Queue(u16),
    /// A fragment that waits for the rest.
    Held,
    /// Not an IP packet that the kernel would let in.
    Malformed,
}

/// Where a packet ended other than by a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Reassembly.
    Defrag,
    /// The tracker had no room.
    Conntrack,
    /// Routing.
    Routing,
    /// NAT.
    Nat,
    /// The end of its way: the tracker could not enter it into the table, or it is too big for the
    /// link it was to leave by.
    Confirm,
    /// Its helper, before confirmation.
    Helper,
    /// A rule or a policy: [`Notes::decided`](crate::rules::Notes::decided).
    Rule,
}

impl At {
    /// The trace's word.
    pub const fn name(self) -> &'static str {
        match self {
            At::Defrag => "defrag",
            At::Conntrack => "conntrack",
            At::Routing => "routing",
            At::Nat => "nat",
            At::Confirm => "confirm",
            At::Helper => "helper",
            At::Rule => "rule",
        }
    }
}

/// Why a packet is INVALID, was let pass with a doubt, or ended: one of the reasons of the parts it
/// walks through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It cannot be parsed.
    Malformed(Malformed),
    /// The tracker's doubt.
    Track(Reason),
    /// The tracker's refusal.
    Drop(DropReason),
    /// Routing's.
    Routing(RoutingDrop),
    /// NAT's.
    Nat(NatDrop),
    /// Reassembly's.
    Defrag(defrag::DropReason),
    /// The helper's.
    Helper(Doubt),
}

impl Why {
    /// The stable word of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Why::Malformed(_) => "malformed",
            Why::Track(reason) => reason.code(),
            Why::Drop(reason) => reason.code(),
            Why::Routing(reason) => reason.code(),
            Why::Nat(reason) => reason.code(),
            Why::Defrag(reason) => reason.code(),
            Why::Helper(doubt) => doubt.code(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Malformed(malformed) => f.write_str(malformed.describe()),
            Why::Track(reason) => reason.fmt(f),
            Why::Drop(reason) => reason.fmt(f),
            Why::Routing(reason) => reason.fmt(f),
            Why::Nat(reason) => reason.fmt(f),
            Why::Defrag(reason) => f.write_str(reason.describe()),
            Why::Helper(doubt) => doubt.fmt(f),
        }
    }
}

/// What a packet is to which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The entry, if the packet's connection is in the table when the packet has passed.
    pub id: Option<ConnId>,
    /// The packet's direction in it.
    pub direction: Direction,
    /// The packet began it.
    pub began: bool,
}

/// What happened to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The state that rules see; `None` if it never got to the tracker.
    pub state: Option<CtState>,
    /// Its connection, if it has one.
    pub connection: Option<Connection>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, where there is something to say.
    pub why: Option<Why>,
    /// IP length; that of the whole for the fragment that completes a packet.
    pub length: usize,
    /// It left in pieces, which are among what the engine emitted; the arrival's own bytes did not
    /// leave.
    pub in_pieces: bool,
}

impl Outcome {
    pub(crate) fn malformed(malformed: Malformed, length: usize) -> Outcome {
        Outcome::unseen(Verdict::Malformed, Why::Malformed(malformed), length)
    }

    /// Of a packet that ended before the first hook.
    pub(crate) fn unseen(verdict: Verdict, why: Why, length: usize) -> Outcome {
        Outcome { state: None, connection: None, verdict, why: Some(why), length, in_pieces: false }
    }
}

/// Who made a packet that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// It is the packet that came in, or a piece of it.
    Packet,
    /// This host: an ICMP error.
    Host(CtState),
}

/// A packet that leaves besides the one in the arrival's buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emitted {
    /// Where to; `None` when routing is off.
    pub interface: Option<InterfaceId>,
    /// Who made it.
    pub by: By,
    /// The IP packet.
    pub bytes: Vec<u8>,
}

/// How an engine is made.
#[derive(Default)]
pub struct Config {
    /// The tracker's settings.
    pub tracker: stateward_conntrack::Config,
    /// Interfaces, addresses and routes.
    pub network: Network,
    /// Limits of IPv4 reassembly (`net.ipv4.ipfrag_*`); those of IPv6 are among the tracker's
    /// settings.
    pub ipv4_fragments: Option<Limits>,
}

/// See the crate's essay.
pub struct Engine {
    pub(crate) tracker: Tracker,
    pub(crate) network: Network,
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) defrag: Defrag,
    pub(crate) rules: Rules,
    pub(crate) helpers: Helpers,
    /// There are rules of either family, or an account is kept.
    pub(crate) has_rules: bool,
    /// Rules read and change it while the packet is only looked at: each for its own work.
    pub(crate) shared: RefCell<Shared>,
    pub(crate) notes: Notes,
    /// Where NAT is random.
    pub(crate) chance: Chance,
    /// The mark that packets come with.
    pub(crate) arrival_mark: u32,
    /// State of the generator that names the fragments of IPv6 packets.
    pub(crate) random: u64,
    /// What is known of a burst's packets before their turn: [`BURST`] places, used again and
    /// again.
    prepared: Vec<Option<Prepared>>,
}

/// The largest burst that is prepared as one; longer ones are cut.
pub const BURST: usize = 64;

/// How many packets ahead of its turn an entry is fetched: enough to hide a read of memory behind
/// the work on those before it, few enough for the processor to have them all under way.
const AHEAD: usize = 8;

impl Engine {
    /// An engine with memory of its own.
    pub fn new(config: Config) -> Engine {
        Engine::with_memory(config, Arena::none())
    }

    /// An engine whose table lies in the caller's memory; `Tracker::bytes_for` says how much.
    pub fn with_memory(config: Config, arena: Arena) -> Engine {
        let sysctls = &config.tracker.sysctls;
        let ipv6 = Limits {
            timeout: Span::secs(sysctls.frag6_timeout),
            high_threshold: sysctls.frag6_high_thresh,
            ..Limits::IPV6
        };
        Engine {
            defrag: Defrag::new(config.ipv4_fragments.unwrap_or(Limits::IPV4), ipv6),
            random: config.tracker.seed.iter().fold(1, |all, half| all ^ half.rotate_left(17)) | 1,
            chance: Chance::new(
                config.tracker.seed.iter().fold(0, |all, half| all ^ half.rotate_left(29)),
            ),
            tracker: Tracker::with_memory(config.tracker, arena),
            network: config.network,
            emitted: Vec::new(),
            rules: Rules::default(),
            helpers: Helpers::default(),
            has_rules: false,
            shared: RefCell::default(),
            notes: Notes::default(),
            arrival_mark: 0,
            prepared: vec![None; BURST],
        }
    }

    /// The tracker: settings, counters, entries.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The tracker, to change settings.
    pub fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// Interfaces, addresses and routes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Interfaces, addresses and routes, to change what interfaces carry.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// What the next packet's connection is to be bound to wherever the kernel's choice is random,
    /// if that is among what the kernel chooses from. It counts for one packet, and the answers to
    /// it; in a burst for the first.
    pub fn set_nat_wish(&mut self, wish: Wish) {
        self.chance.set_wish(wish);
    }

    /// One packet.
    #[inline(never)]
    pub fn process(&mut self, arrival: &mut Arrival<'_>, from: From) -> Outcome {
        let mut known = None;
        self.prepare(arrival, from, &mut known);
        if let Some(known) = &mut known {
            self.tracker.approach_entry(&mut known.approach);
        }
        let outcome = self.walk(arrival, from, known.as_ref());
        self.chance.set_wish(Wish::NONE);
        outcome
    }

    /// A burst of packets in order. The result is that of processing each by itself: the burst only
    /// lets the memory that all of them need come near while the first is processed. `each` is
    /// called after each packet with its position, while what it emitted and told can be drained.
    pub fn process_burst(
        &mut self,
        arrivals: &mut [Arrival<'_>],
        from: From,
        mut each: impl FnMut(&mut Engine, usize, Outcome),
    ) {
        for (n, burst) in arrivals.chunks_mut(BURST).enumerate() {
            let mut prepared = core::mem::take(&mut self.prepared);
            // Full but for a burst within a burst.
            prepared.resize(BURST, None);
            for (arrival, known) in burst.iter().zip(&mut prepared) {
                self.prepare(arrival, from, known);
            }
            for known in prepared.iter_mut().take(AHEAD.min(burst.len())).flatten() {
                self.tracker.approach_entry(&mut known.approach);
            }
            let last = burst.len();
            for (i, arrival) in burst.iter_mut().enumerate() {
                if i + AHEAD < last
                    && let Some(Some(known)) = prepared.get_mut(i + AHEAD)
                {
                    self.tracker.approach_entry(&mut known.approach);
                }
                let known = prepared.get(i).and_then(Option::as_ref);
                let outcome = self.walk(arrival, from, known);
                self.chance.set_wish(Wish::NONE);
                each(self, n * BURST + i, outcome);
            }
            self.prepared = prepared;
        }
    }

    /// Parses a packet and starts fetching its line of the index.
    #[inline(always)]
    fn prepare(&self, arrival: &Arrival<'_>, from: From, known: &mut Option<Prepared>) {
        if let Some(packet) = Packet::parse_plain(arrival.bytes)
            && let Some(approach) = self.tracker.approach_plain(&packet)
        {
            *known = Some(Prepared { layout: packet.layout(), approach });
        } else {
            *known = self.prepare_any(arrival, from);
        }
    }

    #[inline(never)]
    fn prepare_any(&self, arrival: &Arrival<'_>, from: From) -> Option<Prepared> {
        let packet = parse(arrival.bytes, arrival.port, from).ok()?;
        let approach = self.tracker.approach(&packet)?;
        Some(Prepared { layout: packet.layout(), approach })
    }

    /// Ends connections and forgets fragments whose time has come. The work is bounded by how many
    /// there are.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tracker.handle_timeout(now);
        // A clock that was set back counts as the latest time seen, here as in the tracker.
        let now = self.tracker.now();
        while let Some(expired) = self.defrag.handle_timeout(now) {
            self.give_up(&expired, now);
        }
    }

    /// When [`Engine::handle_timeout`] has something to do, at the earliest.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.tracker.next_timeout(), self.defrag.next_deadline()].into_iter().flatten().min()
    }

    /// Takes the packets that left besides those in the arrivals' buffers.
    pub fn take_emitted(&mut self, into: &mut Vec<Emitted>) {
        into.append(&mut self.emitted);
    }

    /// Takes the events told so far, oldest first.
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        self.tracker.take_events(into);
    }
}

/// Parses as the packet's origin asks for.
#[inline]
pub(crate) fn parse(bytes: &[u8], port: Port, from: From) -> Result<Packet<'_>, Malformed> {
    match (from, port) {
        (From::Capture, _) => Packet::parse_cut(bytes),
        (From::Wire, Port::Interface(_)) => Packet::parse(bytes),
        (From::Wire, Port::Local) => Packet::parse_trusted(bytes),
    }
}
