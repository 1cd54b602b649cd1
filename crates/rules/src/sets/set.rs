//! One set: its type, its elements, and how a packet finds them.
//!
//! Besides the elements a set keeps which were added first and which end first, so that adding to a
//! full set walks none of the others.

use std::collections::{BTreeMap, BTreeSet};

use stateward_wire::{Family, protocol};

use super::Asked;
use super::element::{Element, End, Except, Fresh, Key, SkbInfo};
use crate::context::View;
use crate::matches::set::End as Side;
use crate::shared::{Address, address_bytes, masked, ticks};

/// See the module's essay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Set {
    pub(crate) kind: Kind,
    /// None takes packets of both.
    pub(crate) family: Option<Family>,
    /// What `create` said that only printing needs.
    pub(crate) header: Header,
    /// The usual seconds of an element; without, no element ends.
    pub(crate) timeout: Option<u32>,
    pub(crate) has_counters: bool,
    pub(crate) has_comments: bool,
    pub(crate) has_info: bool,
    pub(crate) elements: BTreeMap<Key, Element>,
    /// How many elements have each length of a network.
    prefixes: BTreeMap<u8, usize>,
    /// The elements by [`Element::turn`], if a full set loses its oldest one.
    order: BTreeMap<u64, Key>,
    /// The elements that end at a tick, by it.
    ends: BTreeSet<(u64, Key)>,
    turn: u64,
}

/// A set's type, and what belongs to it alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Ip(Mask),
    Net,
    IpPort(Mask),
    NetPort,
    /// From and to.
    Ports(u16, u16),
    /// Names of sets, in their order.
    List {
        members: Members,
    },
}

/// The sets of a list.
pub(crate) type Members = Vec<(String, Element)>;

/// Which bits of an address count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mask {
    #[default]
    Whole,
    Length(u8),
    Bits(Address),
}

/// What is printed and means nothing to packets, but for the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) hash_size: u32,
    /// Elements at most.
    pub(crate) most: u32,
    pub(crate) bucket_size: u8,
    pub(crate) seed: u32,
    /// Of a list.
    pub(crate) size: u32,
    /// A full set loses its oldest element.
    pub(crate) makes_room: bool,
}

/// What looking for a packet has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    No,
    Except,
    Yes(SkbInfo),
}

/// Why an element is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    There,
    Full,
}

impl Mask {
    pub(crate) fn of(self, address: Address) -> Address {
        match self {
            Self::Whole => address,
            Self::Length(length) => masked(address, length),
            Self::Bits(mask) => {
                let mut address = address;
                address.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
                address
            }
        }
    }
}

impl Set {
    pub(crate) fn new(kind: Kind, family: Option<Family>, header: Header) -> Self {
        Self {
            kind,
            family,
            header,
            timeout: None,
            has_counters: false,
            has_comments: false,
            has_info: false,
            elements: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            order: BTreeMap::new(),
            ends: BTreeSet::new(),
            turn: 0,
        }
    }

    /// Whether a rule with so many ends asks for enough, of the right family.
    pub(super) fn takes(&self, ends: &[Side], family: Family) -> bool {
        let needed = match self.kind {
            Kind::IpPort(_) | Kind::NetPort => 2,
            Kind::Ip(_) | Kind::Net | Kind::Ports(..) | Kind::List { .. } => 1,
        };
        ends.len() >= needed && self.family.is_none_or(|of_set| of_set == family)
    }

    pub(super) fn members(&self) -> Option<&[(String, Element)]> {
        match &self.kind {
            Kind::List { members } => Some(members),
            _ => None,
        }
    }

    pub(super) fn members_mut(&mut self) -> Option<&mut Members> {
        match &mut self.kind {
            Kind::List { members } => Some(members),
            _ => None,
        }
    }

    pub(super) fn begin(&mut self, now: u64) {
        for (key, element) in &mut self.elements {
            element.end.begin(now);
            self.ends.extend(element.end.tick().map(|tick| (tick, *key)));
        }
        if let Kind::List { members } = &mut self.kind {
            members.iter_mut().for_each(|(_, element)| element.end.begin(now));
        }
    }

    /// The longest network's bits.
    fn longest(&self) -> Option<u8> {
        self.prefixes.last_key_value().map(|(prefix, _)| *prefix)
    }

    fn whole(&self) -> u8 {
        if self.family == Some(Family::V6) { 128 } else { 32 }
    }

    /// What a packet is looked for by, but for the length of networks.
    fn key(&self, ends: &[Side], view: &View<'_>) -> Option<Key> {
        let (first, second) = (ends.first().copied()?, ends.get(1).copied());
        let address = address_bytes(match first {
            Side::Source => view.source,
            Side::Destination => view.destination,
        });
        let is_zero = |address: &Address| address.iter().all(|byte| *byte == 0);
        match &self.kind {
            Kind::Ip(mask) => {
                let address = mask.of(address);
                (!is_zero(&address)).then(|| Key { address, ..Key::default() })
            }
            Kind::IpPort(mask) => {
                let address = mask.of(address);
                let (protocol, port) = port(second?, view)?;
                (!is_zero(&address)).then(|| Key { address, protocol, port, ..Key::default() })
            }
            Kind::Net => Some(Key { address, ..Key::default() }),
            Kind::NetPort => {
                let (protocol, port) = port(second?, view)?;
                Some(Key { address, protocol, port, ..Key::default() })
            }
            Kind::Ports(from, to) => {
                let (protocol, port) = port(first, view)?;
                let fits = matches!(protocol, protocol::TCP | protocol::UDP)
                    && (*from..=*to).contains(&port);
                fits.then(|| Key { port, ..Key::default() })
            }
            Kind::List { .. } => None,
        }
    }

    /// The element that a packet adds or takes out: of networks the longest there is.
    pub(super) fn key_to_change(&self, ends: &[Side], view: &View<'_>) -> Option<Key> {
        let key = self.key(ends, view)?;
        match self.kind {
            Kind::Net | Kind::NetPort => {
                let prefix = self.longest().unwrap_or(self.whole());
                Some(Key { address: masked(key.address, prefix), prefix, ..key })
            }
            _ => Some(key),
        }
    }

    /// Whether a packet is in the set, which is no list; if so, what the set holds for it.
    pub(super) fn ask(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Option<SkbInfo> {
        let key = self.key(asked.ends, view)?;
        let has_networks = matches!(self.kind, Kind::Net | Kind::NetPort);
        let mut found = Found::No;
        if has_networks {
            let Self { elements, prefixes, has_counters, .. } = self;
            for prefix in prefixes.keys().rev().copied() {
                let key = Key { address: masked(key.address, prefix), prefix, ..key };
                found = looked_at(elements.get_mut(&key), *has_counters, asked, view);
                if found != Found::No {
                    break;
                }
            }
        } else {
            found = looked_at(self.elements.get_mut(&key), self.has_counters, asked, view);
        }
        match (found, has_networks && asked.exceptions) {
            (Found::Yes(info), false) => Some(info),
            (Found::Except, true) => Some(SkbInfo::default()),
            _ => None,
        }
    }

    /// Adds what a packet is; whether it did.
    pub(super) fn add_from_packet(&mut self, key: Key, fresh: &Fresh, view: &View<'_>) -> bool {
        let now = ticks(view.context.now());
        let seconds = fresh.timeout.or(self.timeout).filter(|_| self.timeout.is_some());
        let end = seconds.map_or(End::Never, |seconds| End::after(seconds, now));
        let (packets, bytes) = if self.has_counters { (1, fresh.length) } else { (0, 0) };
        let element = Element { end, packets, bytes, ..Element::default() };
        if fresh.renew {
            self.take_out(&key);
        }
        self.add(key, element, now).is_ok()
    }

    /// Adds an element that is not there.
    pub(crate) fn add(&mut self, key: Key, element: Element, now: u64) -> Result<(), NotAdded> {
        if let Some(there) = self.elements.get(&key) {
            if !there.end.is_over(now) {
                return Err(NotAdded::There);
            }
            self.take_out(&key);
        }
        if self.elements.len() >= self.header.most as usize {
            self.forget(now);
        }
        if self.elements.len() >= self.header.most as usize {
            let oldest = self.order.first_key_value().map(|(_, key)| *key);
            self.take_out(&oldest.ok_or(NotAdded::Full)?);
        }
        self.turn += 1;
        if self.header.makes_room {
            self.order.insert(self.turn, key);
        }
        self.ends.extend(element.end.tick().map(|tick| (tick, key)));
        self.elements.insert(key, Element { turn: self.turn, ..element });
        if matches!(self.kind, Kind::Net | Kind::NetPort) {
            *self.prefixes.entry(key.prefix).or_default() += 1;
        }
        Ok(())
    }

    /// Takes an element out; whether it was there.
    pub(super) fn remove(&mut self, key: &Key, now: u64) -> bool {
        self.take_out(key).is_some_and(|element| !element.end.is_over(now))
    }

    fn take_out(&mut self, key: &Key) -> Option<Element> {
        let element = self.elements.remove(key)?;
        self.order.remove(&element.turn);
        if let Some(tick) = element.end.tick() {
            self.ends.remove(&(tick, *key));
        }
        if let Some(count) = self.prefixes.get_mut(&key.prefix) {
            *count -= 1;
            if *count == 0 {
                self.prefixes.remove(&key.prefix);
            }
        }
        Some(element)
    }

    /// Takes out all that is over.
    fn forget(&mut self, now: u64) {
        while let Some((tick, key)) = self.ends.first().copied() {
            if !End::At(tick).is_over(now) {
                break;
            }
            self.take_out(&key);
        }
    }
}

/// An element that may not be there, or not any more.
pub(super) fn looked_at(
    element: Option<&mut Element>,
    has_counters: bool,
    asked: &Asked<'_>,
    view: &View<'_>,
) -> Found {
    let now = ticks(view.context.now());
    let Some(element) = element.filter(|element| !element.end.is_over(now)) else {
        return Found::No;
    };
    if has_counters && !element.count(view.packet.length() as u64, asked) {
        return Found::No;
    }
    match element.except {
        Except::Yes => Found::Except,
        Except::No => Found::Yes(element.info),
    }
}

/// Protocol and port of one end; of ICMP type and code. None if the fixed header is not whole.
fn port(side: Side, view: &View<'_>) -> Option<(u8, u16)> {
    let upper = view.packet.upper()?;
    let header: &[u8] = view.packet.l4();
    let place = match side {
        Side::Source => 0,
        Side::Destination => 2,
    };
    let (length, place) = match upper.protocol {
        protocol::TCP => (20, place),
        protocol::SCTP => (12, place),
        protocol::UDP | protocol::UDPLITE => (8, place),
        // Either in either family.
        protocol::ICMP | protocol::ICMPV6 => (8, 0),
        _ => return Some((upper.protocol, 0)),
    };
    let &[high, low] = header.get(..length)?.get(place..)?.first_chunk()?;
    Some((upper.protocol, u16::from_be_bytes([high, low])))
}
