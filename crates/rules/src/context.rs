//! What rules may ask of a packet and its surroundings, and what they may do to them.
//!
//! Whoever runs rules implements [`Context`]; the engine does. Everything that one rule changes is
//! seen by the next. [`View`] is the packet as the matches see it until a target changes it: its
//! fields are read once, not once a rule.

use core::cell::RefCell;
use core::net::IpAddr;
use std::sync::Arc;

use stateward_conntrack::{
    Counter, CtState, Direction, Instant, Labels, PerDir, PolicyId, Reports, Standing, Status,
    Tuple, Zone,
};
use stateward_wire::edit::Edit;
use stateward_wire::ipv6::{ExtensionHeader, extension_length, is_extension};
use stateward_wire::{Family, Ipv6Header, Network as Header, Packet, protocol};

use crate::evaluate::ChainVerdict;
use crate::known::Assigned;
use crate::matches::pkttype::To;
use crate::ruleset::TableName;
use crate::shared::Shared;
use crate::targets::nat::Translation;
use crate::targets::reject::Reject;
use crate::tried::Tried;

/// A packet in a hook, and what is around it.
pub trait Context {
    /// The packet as it is now; `None` if its bytes are gone.
    fn packet(&self) -> Option<Packet<'_>>;

    /// The packet, to change it in place with its checksums.
    fn edit(&mut self) -> Edit<'_>;

    /// The packet, to change its network header alone: no checksum but that is looked at.
    fn edit_header(&mut self) -> Edit<'_> {
        self.edit()
    }

    /// Puts four bytes of options into its TCP header, before the others.
    fn insert_tcp_option(&mut self, option: [u8; 4]);

    /// Needs its first `length` bytes in one piece, to write to them: if it came in fragments, they
    /// will not leave as they came.
    fn gather(&mut self, length: usize);

    /// The largest packet that the ways to its destination and back to its source take; `None`
    /// where the way out is not known.
    fn path_mtu(&self) -> Option<u32>;

    /// The interface it came in by; empty if it came from this host.
    fn input(&self) -> &str;

    /// The interface it leaves by; empty if that is not known yet, or never will be.
    fn output(&self) -> &str;

    /// The Ethernet header it came in with, if it had one.
    fn link_header(&self) -> Option<&[u8; 14]>;

    /// The Ethernet station it came from; `None` if that is no link of stations.
    fn station(&self) -> Option<[u8; 6]>;

    /// To whom the link sent it; what this host sends is to itself.
    fn sent_to(&self) -> To;

    /// When.
    fn now(&self) -> Instant;

    /// What the tracker said of it; `None` before the tracker.
    fn state(&self) -> Option<CtState>;

    /// Its connection, if it has one.
    fn connection(&self) -> Option<Connection>;

    /// What its connection has counted, this packet included; `None` without one, or if it does
    /// not count.
    fn counters(&self) -> Option<PerDir<Counter>>;

    /// The labels of its connection; `None` without one, or if that has no room for labels.
    fn labels(&self) -> Option<Labels>;

    /// Gives its connection a label. A match may do that: [`Context::labels`] has it at once.
    fn add_label(&self, label: u16);

    /// The helper of the connection that announced its connection.
    fn announcing_helper(&self) -> Option<&'static str>;

    /// Changes the mark of its connection, if it has one.
    fn set_connection_mark(&mut self, mark: u32);
    /// The connection in the table that has a tuple in either direction.
    fn standing(&self, tuple: &Tuple) -> Option<Standing>;

    /// Its mark.
    fn mark(&self) -> u32;

    /// What rules share. A match or a target borrows it for its own work only, so that no two do at
    /// once.
    fn shared(&self) -> &RefCell<Shared>;

    /// The tracker shall not look at it. Without effect if that has been said otherwise already,
    /// or if it has looked.
    fn untrack(&mut self);

    /// How the tracker shall see it. Without effect as [`Context::untrack`].
    fn track_as(&mut self, tracking: Tracking);

    /// Changes its mark.
    fn set_mark(&mut self, mark: u32);

    /// The same by a match: [`Context::mark`] has it at once.
    fn restore_mark(&self, mark: u32);

    /// What `address` is to this host: one bit, `1 << RTN_…`; for IPv6 LOCAL and ANYCAST may both
    /// be set, and UNREACHABLE is set if no route leads there. With `device` that interface alone
    /// is asked.
    fn address_types(&self, address: IpAddr, device: Option<&str>) -> u16;

    /// Notes a line of the log: its syslog level and its text as the kernel prints it.
    fn log(&mut self, level: u8, text: String);

    /// Notes that its first `length` bytes are copied to the listeners of a group.
    fn copy(&mut self, copied: Copied);

    /// Binds an end of its connection, and says what becomes of the packet; `None` where nobody
    /// knows the address that it should get.
    fn translate(&mut self, to: Translation<'_>) -> Option<ChainVerdict>;

    /// Answers the packet, which ends here.
    fn reject(&mut self, how: &Reject);

    /// Notes that the packet met a match or a target that is not evaluated: the match does not
    /// match, the target does nothing.
    fn not_evaluated(&mut self, extension: &'static str);

    /// Notes that a match has been answered by what is assumed of a packet of which nothing else is
    /// known.
    fn assume(&self, extension: &'static str) {
        self.shared().borrow_mut().assume(extension);
    }

    /// Notes that a match has been answered by what is given, in words.
    fn give(&self, extension: &'static str, words: Arc<str>) {
        self.shared().borrow_mut().give(extension, words);
    }

    /// Who makes it.
    fn origin(&self) -> Origin {
        match self.input() {
            "" => Origin::Process,
            _ => Origin::Elsewhere,
        }
    }

    /// The interface it came in by, wherever it is by now.
    fn ingress(&self) -> &str {
        self.input()
    }

    /// Whether the routes lead back to its source by the interface it came in by; `None` if there
    /// are no routes.
    fn leads_back(&self, _: ReversePath) -> Option<bool> {
        None
    }

    /// The groups of the interfaces it came in by and leaves by.
    fn groups(&self) -> [u32; 2] {
        [0; 2]
    }

    /// The address that this host speaks from on the interface it came in by: the family's first.
    fn address_of_input(&self) -> Option<IpAddr> {
        None
    }

    /// Hands it to a socket, whatever its destination.
    fn assign(&mut self, _: Assigned) {}

    /// The socket that it has been handed to.
    fn assigned(&self) -> Option<Assigned> {
        None
    }

    /// Rules and chains' ends that the packet met, as the kernel's TRACE tells them.
    fn passed(&mut self, steps: &[Step]);

    /// Whether somebody wants to be told of every rule that is tried, by [`Context::tried`].
    fn explains(&self) -> bool {
        false
    }

    /// A rule that was tried, in the walk's order: told of whether it was met or not, before it has
    /// passed and before what follows from it.
    fn tried(&mut self, _: Step, _: Tried) {}
}

/// What NFLOG's listeners get of a packet, besides what they get of every one: hook, interfaces,
/// mark, link header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Whose listeners.
    pub group: u16,
    /// The rule's word for it.
    pub prefix: Arc<str>,
    /// How many of its bytes, if the listeners ask for as many.
    pub length: usize,
}

/// How the tracker shall see a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// The zone of each direction.
    pub zones: PerDir<ZoneOf>,
    /// The events that its connection reports if it begins one; `None` is all.
    pub reports: Option<Reports>,
    /// The helper of a connection that the packet begins.
    pub helper: Option<&'static str>,
    /// Its policy of timeouts.
    pub timeouts: Option<PolicyId>,
}

/// Where a zone comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneOf {
    /// The rule.
    Rule(Zone),
    /// The packet's mark, when the tracker looks at it.
    Mark,
}

impl Default for ZoneOf {
    fn default() -> Self {
        Self::Rule(Zone::DEFAULT)
    }
}

/// Who makes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It comes from elsewhere.
    Elsewhere,
    /// A process of this host.
    Process,
    /// This host itself, to answer a packet.
    Host,
}

/// How `rpfilter` asks the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReversePath {
    /// They may lead back by any interface.
    pub loose: bool,
    /// This host's own addresses are as good as others.
    pub local: bool,
}

/// What rules see of a packet's connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The packet's direction in it.
    pub direction: Direction,
    /// ASSURED and so on.
    pub status: Status,
    /// The tuple of the direction that began it.
    pub original: Tuple,
    /// The tuple of the answers.
    pub reply: Tuple,
    /// Whole seconds until it ends.
    pub expires: u32,
    /// Its mark.
    pub mark: u32,
}

/// A rule, or the end of a chain, that a packet met.
/// [`CompiledRuleset::name`](crate::CompiledRuleset::name) says its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: TableName,
    /// Which of the table's chains.
    pub chain: u32,
    /// What of it.
    pub kind: StepKind,
    /// The rule's number in its chain, from 1; a chain's end is one after its last rule.
    pub number: u32,
}

/// What the kernel's TRACE calls a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A rule.
    Rule,
    /// The end of a user's chain, or an unconditional verdict in it.
    Return,
    /// The end of a built-in chain, or an unconditional verdict in it.
    Policy,
}

/// A step as TRACE writes it: `filter:FORWARD:rule:3`.
#[derive(Clone, Copy, Debug)]
pub struct StepName<'a> {
    pub(crate) step: Step,
    pub(crate) chain: &'a str,
}

impl core::fmt::Display for StepName<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Step { table, kind, number, .. } = self.step;
        let kind = match kind {
            StepKind::Rule => "rule",
            StepKind::Return => "return",
            StepKind::Policy => "policy",
        };
        write!(f, "{table}:{}:{kind}:{number}", self.chain)
    }
}

/// A packet as matches see it.
pub(crate) struct View<'a> {
    pub(crate) context: &'a dyn Context,
    pub(crate) packet: Packet<'a>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    protocol: Option<u8>,
}

impl<'a> View<'a> {
    pub(crate) fn new(context: &'a dyn Context) -> Option<Self> {
        let packet = context.packet()?;
        let (source, destination) = (packet.source(), packet.destination());
        let protocol = match packet.network() {
            Header::V4(header) => Some(header.protocol),
            Header::V6(header) if !is_extension(header.next_header) => Some(header.next_header),
            Header::V6(header) => last_header(packet.bytes(), header.next_header),
        };
        Some(Self { context, packet, source, destination, protocol })
    }

    /// The interface it came in by.
    pub(crate) fn input(&self) -> &'a str {
        self.context.input()
    }

    /// The interface it leaves by.
    pub(crate) fn output(&self) -> &'a str {
        self.context.output()
    }

    /// The protocol that `-p` compares. `None`: an IPv6 packet whose headers lead nowhere.
    pub(crate) fn protocol(&self) -> Option<u8> {
        self.protocol
    }

    /// A fragment other than the first: it has no upper header.
    pub(crate) fn is_later_fragment(&self) -> bool {
        self.packet.fragment().is_some_and(|fragment| fragment.offset > 0)
    }

    /// The first `N` bytes of the upper header; `None` if they are not all there.
    pub(crate) fn upper_header<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.packet.l4().first_chunk()
    }

    /// The upper header and what follows, for those matches that do not ask whether it is there: of
    /// a later fragment of IPv6 the kernel shows them the packet from its beginning.
    pub(crate) fn supposed_upper(&self) -> &'a [u8] {
        match self.packet.family() {
            Family::V6 if self.is_later_fragment() => self.packet.bytes(),
            _ => self.packet.l4(),
        }
    }
}

/// The last of an IPv6 packet's headers: the upper one, `NONE`, or what a later fragment belongs to.
/// `None` if a header before it is cut. Kernel counterpart: `ipv6_find_hdr`.
fn last_header(bytes: &[u8], first: u8) -> Option<u8> {
    const OFFSET: u16 = 0xfff8;
    /// Of a routing header so much must be there.
    const ROUTING_FIXED: usize = 4;
    let (mut next, mut at) = (first, size_of::<Ipv6Header>());
    while is_extension(next) && next != protocol::NONE {
        let rest = bytes.get(at..)?;
        let header = ExtensionHeader::view(rest)?;
        if next == protocol::ROUTING && rest.len() < ROUTING_FIXED {
            return None;
        }
        if next == protocol::FRAGMENT {
            let &[_, _, high, low] = rest.first_chunk()?;
            if u16::from_be_bytes([high, low]) & OFFSET != 0 {
                let upper = header.next_header;
                return (!is_extension(upper) || upper == protocol::NONE).then_some(upper);
            }
            at += 8;
        } else {
            at += extension_length(next, header.length);
        }
        next = header.next_header;
    }
    Some(next)
}
