//! What a rule asks of the fields before it asks anything else.

use core::net::IpAddr;

use stateward_wire::Family;

use super::key::{
    DESTINATION, DESTINATION_PORT, INPUT, OUTPUT, SOURCE, SOURCE_PORT, address_value, name_value,
    port_value,
};
use crate::address::{self, Network};
use crate::matches::Match;
use crate::matches::iprange::Range;
use crate::matches::multiport::Side;
use crate::matches::udp::PortRange;
use crate::rule::{Header, Interface, RuleSpec, Test};

/// How many fields there are.
pub(super) const FIELDS: usize = 6;

/// Values whose first bits are these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    /// The bits, the rest 0.
    pub(super) value: u128,
    /// How many count.
    pub(super) length: u32,
}

impl Prefix {
    fn new(value: u128, length: u32) -> Self {
        Self { value: value & mask(length), length }
    }

    pub(super) fn covers(self, value: u128) -> bool {
        value & mask(self.length) == self.value
    }

    /// The highest value.
    pub(super) fn last(self) -> u128 {
        self.value | !mask(self.length)
    }
}

/// The first `length` bits.
pub(super) fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(length)).unwrap_or(0)
}

/// The prefixes that a rule asks of each field; a field with none may have any value.
#[derive(Debug, Default)]
pub(super) struct Asked([Vec<Prefix>; FIELDS]);

impl Asked {
    pub(super) fn of(&self, field: usize) -> impl Iterator<Item = Prefix> {
        self.0.get(field).into_iter().flatten().copied()
    }

    /// How likely a packet is to have what is asked of a field, roughly: half of all packets are of
    /// the rule's protocol, a quarter of its interface, and other bits are as likely as not. Out of
    /// 2³².
    pub(super) fn likelihood(&self, field: usize) -> u64 {
        let bits = |length: u32| (1u64 << 32) >> length.min(32);
        let of = |prefix: Prefix| match field {
            SOURCE | DESTINATION => bits(prefix.length),
            INPUT | OUTPUT => bits(2),
            _ => bits(prefix.length.saturating_sub(PROTOCOL) + 1),
        };
        self.of(field).map(of).sum()
    }

    /// The first that is said of a field holds.
    fn say(&mut self, field: usize, prefixes: Vec<Prefix>) {
        match self.0.get_mut(field) {
            Some(said) if said.iter().all(|one| one.length == PROTOCOL) => *said = prefixes,
            _ => {}
        }
    }
}

/// The length of a prefix that is a protocol and no port: a port says more.
const PROTOCOL: u32 = 8;
const PORT: u32 = PROTOCOL + 16;

/// What a rule asks for.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) asked: Asked,
}

impl Conditions {
    pub(super) fn of(rule: &RuleSpec) -> Self {
        let mut asked = Asked::default();
        let Header { source, destination, input, output, protocol, .. } = &rule.header;
        for (field, network) in [(SOURCE, source), (DESTINATION, destination)] {
            if let Some(prefix) = network_prefix(network) {
                asked.say(field, vec![prefix]);
            }
        }
        for (field, interface) in [(INPUT, input), (OUTPUT, output)] {
            if let Some(prefix) = interface.as_ref().and_then(name_prefix) {
                asked.say(field, vec![prefix]);
            }
        }
        let protocol = (protocol.value != 0 && !protocol.inverted).then_some(protocol.value);
        if let Some(protocol) = protocol {
            asked.say(DESTINATION_PORT, vec![Prefix::new(port_value(protocol, 0), PROTOCOL)]);
        }
        for one in &rule.matches {
            if let Some(protocol) = protocol {
                ask_ports(one, protocol, &mut asked);
            }
            ask_addresses(one, &mut asked);
            if !lets_on(one) {
                break;
            }
        }
        Self { asked }
    }

    /// Which fields are asked for, a bit each.
    pub(super) fn shape(&self) -> u8 {
        let bits = (0u8..).zip(&self.asked.0).filter(|(_, prefixes)| !prefixes.is_empty());
        bits.fold(0, |shape, (field, _)| shape | 1 << field)
    }
}

/// Whether what stands behind a match may be looked at before it: it remembers nothing, is
/// evaluated, and finds no packet broken whose headers are whole.
fn lets_on(one: &Match) -> bool {
    match one {
        Match::Tcp(tcp) => tcp.option.value == 0,
        Match::Addrtype(_)
        | Match::Comment(_)
        | Match::Connmark(_)
        | Match::Conntrack(_)
        | Match::Iprange(_)
        | Match::Length(_)
        | Match::Mark(_)
        | Match::Multiport(_)
        | Match::State(_)
        | Match::Udp(_) => true,
        _ => false,
    }
}

fn network_prefix(network: &Test<Network>) -> Option<Prefix> {
    let Network { address, mask } = network.value;
    let ones = address_value(mask).leading_ones();
    (!network.inverted && ones > 0).then(|| Prefix::new(address_value(address), ones))
}

fn name_prefix(interface: &Test<Interface>) -> Option<Prefix> {
    const ROOM: usize = 16;
    let name = interface.value.to_string();
    let (beginning, length) = match name.strip_suffix('+') {
        Some(beginning) => (beginning, 8 * u32::try_from(beginning.len()).ok()?),
        None => (name.as_str(), 128),
    };
    let is_known = !interface.inverted && beginning.len() < ROOM && length > 0;
    is_known.then(|| Prefix::new(name_value(beginning), length))
}

fn ask_ports(one: &Match, protocol: u8, asked: &mut Asked) {
    let mut say = |field, ranges: &[PortRange], inverted: bool| {
        if !inverted && ranges.iter().all(|range| *range != PortRange::ANY) {
            let ranges = ranges.iter().flat_map(|range| port_prefixes(protocol, *range));
            asked.say(field, ranges.collect());
        }
    };
    match one {
        Match::Tcp(tcp) => {
            say(SOURCE_PORT, &[tcp.source.value], tcp.source.inverted);
            say(DESTINATION_PORT, &[tcp.destination.value], tcp.destination.inverted);
        }
        Match::Udp(udp) => {
            say(SOURCE_PORT, &[udp.source.value], udp.source.inverted);
            say(DESTINATION_PORT, &[udp.destination.value], udp.destination.inverted);
        }
        Match::Multiport(multiport) => {
            let field = match multiport.side {
                Side::Source => SOURCE_PORT,
                Side::Destination => DESTINATION_PORT,
                Side::Either => return,
            };
            say(field, &multiport.ports.value, multiport.ports.inverted);
        }
        _ => {}
    }
}

fn ask_addresses(one: &Match, asked: &mut Asked) {
    let Match::Iprange(iprange) = one else { return };
    for (field, range) in [(SOURCE, iprange.source), (DESTINATION, iprange.destination)] {
        if let Some(Test { value: Range { first, last }, inverted: false }) = range {
            asked.say(field, address_prefixes(first, last));
        }
    }
}

fn port_prefixes(protocol: u8, range: PortRange) -> Vec<Prefix> {
    let (first, last) = (range.first.into(), range.last.into());
    let prefix = |(value, length): (u128, u32)| {
        let port = u16::try_from(value).unwrap_or_default();
        Prefix::new(port_value(protocol, port), PORT - (16 - length))
    };
    blocks(first, last, 16).into_iter().map(prefix).collect()
}

fn address_prefixes(first: IpAddr, last: IpAddr) -> Vec<Prefix> {
    let width = match Family::of(first) {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let found = blocks(address::bits(first), address::bits(last), width);
    let prefix = |(value, length)| Prefix::new(value << (128 - width), length);
    found.into_iter().map(prefix).collect()
}

/// The fewest aligned blocks that make up `first..=last` of numbers of `width` bits: each one's
/// first number and the length of its prefix. None if the range is empty.
fn blocks(first: u128, last: u128, width: u32) -> Vec<(u128, u32)> {
    let mut blocks = Vec::new();
    let mut next = (first <= last).then_some(first);
    while let Some(value) = next {
        let mut free = value.trailing_zeros().min(width);
        let end = |free: u32| value | !u128::MAX.checked_shl(free).unwrap_or(0);
        while free > 0 && end(free) > last {
            free -= 1;
        }
        blocks.push((value, width - free));
        next = end(free).checked_add(1).filter(|value| *value <= last);
    }
    blocks
}
