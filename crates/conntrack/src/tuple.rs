//! Tuples: what makes two packets belong together.
//!
//! A tuple is one direction of a connection: addresses, protocol, what the protocol tells flows
//! apart by (ports, an ICMP id with type and code, GRE keys, or nothing), and the zone. A
//! connection has two, the second being the inverse of the first unless NAT changed it.
//!
//! A [`Key`] is the part of a tuple that has a fixed 16 bytes: all of it for IPv4, all but the
//! addresses for IPv6. Entries keep keys; IPv6 addresses lie beside the entry. What a packet's
//! bytes must hold for a tuple to exist follows the kernel: four bytes of ports are enough, an ICMP
//! header must be whole, GRE version 1 must carry PPP.

mod ends;

pub use ends::Endpoint;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stateward_wire::{Embedded, Family, Network, Packet, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{icmp, icmpv6};

/// A conntrack zone: a table of its own within the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Zone(pub u16);

impl Zone {
    /// The zone of packets that no rule put into another one.
    pub const DEFAULT: Zone = Zone(0);
}

/// What a protocol tells its flows apart by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum L4Key {
    /// TCP, UDP, UDP-Lite and SCTP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP and ICMPv6 queries.
    Icmp {
        /// The message's type.
        kind: u8,
        /// The message's code.
        code: u8,
        /// The identifier.
        id: u16,
    },
    /// GRE; both keys are 0 but for PPTP's version 1, whose destination key is the call id.
    Gre {
        /// Source key.
        source: u16,
        /// Destination key.
        destination: u16,
    },
    /// Any other protocol: one flow for each pair of addresses.
    None,
}

/// The fixed part of a tuple, in the form entries store and the index hashes.
#[derive(Clone, Copy, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Key {
    /// IPv4 addresses as numbers; 0 for IPv6, whose addresses are an [`AddressPair`].
    pub(crate) source: u32,
    pub(crate) destination: u32,
    /// Ports; an ICMP id and type·256 + code; GRE keys; 0.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) zone: u16,
    pub(crate) protocol: u8,
    /// 4 or 6; 0 marks a free entry.
    pub(crate) version: u8,
}

/// The addresses of an IPv6 tuple: source, destination.
pub(crate) type AddressPair = [[u8; 16]; 2];

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    pub(crate) key: Key,
    /// Zero for IPv4.
    pub(crate) pair: AddressPair,
}

impl Tuple {
    /// A tuple from its parts; `None` when the addresses are of two families.
    pub fn new(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        l4: L4Key,
        zone: Zone,
    ) -> Option<Tuple> {
        let (source_port, destination_port) = match l4 {
            L4Key::Ports { source, destination } | L4Key::Gre { source, destination } => {
                (source, destination)
            }
            L4Key::Icmp { kind, code, id } => (id, u16::from_be_bytes([kind, code])),
            L4Key::None => (0, 0),
        };
        let mut key =
            Key { source_port, destination_port, zone: zone.0, protocol, ..Key::default() };
        let mut pair = AddressPair::default();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                key.version = 4;
                key.source = source.to_bits();
                key.destination = destination.to_bits();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                key.version = 6;
                pair = [source.octets(), destination.octets()];
            }
            _ => return None,
        }
        Some(Tuple { key, pair })
    }

    /// The tuple of a packet; `None` when its bytes do not hold one (see the module's essay).
    #[inline]
    pub fn of(packet: &Packet<'_>, zone: Zone) -> Option<Tuple> {
        let upper = packet.upper()?;
        let mut tuple = Tuple::with_addresses(packet.network());
        tuple.key.zone = zone.0;
        tuple.set_l4(upper.protocol, packet.l4())?;
        Some(tuple)
    }

    /// The tuple of the packet that an ICMP error quotes.
    pub fn of_embedded(embedded: &Embedded<'_>, zone: Zone) -> Option<Tuple> {
        let mut tuple = Tuple::with_addresses(embedded.network());
        tuple.key.zone = zone.0;
        tuple.set_l4(embedded.protocol(), embedded.l4())?;
        Some(tuple)
    }

    #[inline]
    fn with_addresses(network: Network<'_>) -> Tuple {
        let mut key = Key::default();
        let mut pair = AddressPair::default();
        match network {
            Network::V4(header) => {
                key.version = 4;
                key.source = u32::from_be_bytes(header.source);
                key.destination = u32::from_be_bytes(header.destination);
            }
            Network::V6(header) => {
                key.version = 6;
                pair = [header.source, header.destination];
            }
        }
        Tuple { key, pair }
    }

    #[inline]
    fn set_l4(&mut self, protocol: u8, l4: &[u8]) -> Option<()> {
        let key = &mut self.key;
        key.protocol = protocol;
        match protocol {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
                let ports = l4.first_chunk::<4>()?;
                key.source_port = u16::from_be_bytes([ports[0], ports[1]]);
                key.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let header = l4.first_chunk::<8>()?;
                key.source_port = u16::from_be_bytes([header[4], header[5]]);
                key.destination_port = u16::from_be_bytes([header[0], header[1]]);
            }
            protocol::GRE => key.destination_port = crate::gre::destination_key(l4)?,
            _ => {}
        }
        Some(())
    }

    /// The tuple of the answers; `None` for ICMP messages that have none.
    #[inline]
    pub fn inverse(&self) -> Option<Tuple> {
        Some(Tuple { key: self.key.inverse()?, pair: [self.pair[1], self.pair[0]] })
    }

    /// Address family.
    pub fn family(&self) -> Family {
        if self.key.version == 6 { Family::V6 } else { Family::V4 }
    }

    /// Source address.
    pub fn source(&self) -> IpAddr {
        self.address(self.key.source, self.pair[0])
    }

    /// Destination address.
    pub fn destination(&self) -> IpAddr {
        self.address(self.key.destination, self.pair[1])
    }

    fn address(&self, v4: u32, v6: [u8; 16]) -> IpAddr {
        match self.family() {
            Family::V4 => Ipv4Addr::from_bits(v4).into(),
            Family::V6 => Ipv6Addr::from(v6).into(),
        }
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.key.protocol
    }

    /// The zone this direction is looked up in.
    pub fn zone(&self) -> Zone {
        Zone(self.key.zone)
    }

    /// Ports, ICMP id or GRE keys.
    pub fn l4(&self) -> L4Key {
        let Key { source_port: source, destination_port: destination, .. } = self.key;
        match self.key.protocol {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
                L4Key::Ports { source, destination }
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let [kind, code] = destination.to_be_bytes();
                L4Key::Icmp { kind, code, id: source }
            }
            protocol::GRE => L4Key::Gre { source, destination },
            _ => L4Key::None,
        }
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        self.differs(other) == 0
    }
}

impl Key {
    /// 0 if the keys are the same. Two comparisons; field by field they would be seven.
    #[inline(always)]
    pub(crate) fn differs(&self, other: &Key) -> u64 {
        let [a, b]: [u64; 2] = transmute!(*self);
        let [c, d]: [u64; 2] = transmute!(*other);
        (a ^ c) | (b ^ d)
    }

    /// The key of a TCP or UDP packet over IPv4, in the default zone; `None` for what is not that.
    #[inline(always)]
    pub(crate) fn of_ports(packet: &Packet<'_>) -> Option<Key> {
        let Network::V4(header) = packet.network() else { return None };
        let protocol = packet.upper()?.protocol;
        if !matches!(protocol, protocol::TCP | protocol::UDP) {
            return None;
        }
        let ports = u32::from_be_bytes(*packet.l4().first_chunk::<4>()?);
        let (source, destination) = (header.source, header.destination);
        // The key as it lies in memory, in two words: put together from its fields it costs a store
        // for each.
        let [a, b, c, d] = source;
        let [e, f, g, h] = destination;
        let addresses = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let words: [u64; 2] = if cfg!(target_endian = "little") {
            let protocol = u64::from(u16::from_le_bytes([protocol, 4])) << 48;
            [addresses.rotate_left(32), u64::from(ports.rotate_left(16)) | protocol]
        } else {
            let protocol = u64::from(u16::from_be_bytes([protocol, 4]));
            [addresses, u64::from(ports) << 32 | protocol]
        };
        Some(transmute!(words))
    }

    /// The tuple of the packet whose key this is.
    #[inline]
    pub(crate) fn with_addresses_of(&self, packet: &Packet<'_>) -> Tuple {
        let pair = match packet.network() {
            Network::V4(_) => AddressPair::default(),
            Network::V6(header) => [header.source, header.destination],
        };
        Tuple { key: *self, pair }
    }

    #[inline]
    pub(crate) fn inverse(&self) -> Option<Key> {
        let mut key = Key { source: self.destination, destination: self.source, ..*self };
        match self.protocol {
            protocol::ICMP | protocol::ICMPV6 => {
                let [kind, code] = self.destination_port.to_be_bytes();
                let answer = match self.protocol {
                    protocol::ICMP => icmp::inverse_type(kind)?,
                    _ => icmpv6::inverse_type(kind)?,
                };
                key.destination_port = u16::from_be_bytes([answer, code]);
            }
            _ => {
                key.source_port = self.destination_port;
                key.destination_port = self.source_port;
            }
        }
        Some(key)
    }

    /// What tells the two ends of the flow apart, alike for a key and its inverse once ordered:
    /// the ports, or for ICMP twice the id, and what is left over of the ICMP type.
    #[inline]
    fn ends(&self) -> (u16, u16, u8) {
        match self.protocol {
            protocol::ICMP | protocol::ICMPV6 => {
                let [kind, _] = self.destination_port.to_be_bytes();
                let answer = match self.protocol {
                    protocol::ICMP => icmp::inverse_type(kind),
                    _ => icmpv6::inverse_type(kind),
                };
                (self.source_port, self.source_port, kind.min(answer.unwrap_or(kind)))
            }
            _ => (self.source_port, self.destination_port, 0),
        }
    }

    /// Two words for the hash, the same for a key and its inverse: each an address and its port,
    /// in order, with zone, protocol and ICMP type in what is left of the 64 bits.
    #[inline]
    pub(crate) fn words(&self) -> [u64; 2] {
        self.words_of(self.ends())
    }

    /// As [`Key::words`] for protocols with ports.
    #[inline(always)]
    pub(crate) fn words_of_ports(&self) -> [u64; 2] {
        self.words_of((self.source_port, self.destination_port, 0))
    }

    #[inline(always)]
    fn words_of(&self, (source_port, destination_port, icmp): (u16, u16, u8)) -> [u64; 2] {
        let a = u64::from(self.source) << 16 | u64::from(source_port);
        let b = u64::from(self.destination) << 16 | u64::from(destination_port);
        [
            a.min(b) | u64::from(self.zone) << 48,
            a.max(b) | u64::from(u16::from_be_bytes([self.protocol, icmp])) << 48,
        ]
    }

    /// As [`Key::words`] for IPv6: addresses with the lower end first, then ports and the rest.
    #[inline]
    pub(crate) fn words_v6(&self, pair: &AddressPair) -> [u64; 6] {
        let (source_port, destination_port, icmp) = self.ends();
        let a = (u128::from_be_bytes(pair[0]), source_port);
        let b = (u128::from_be_bytes(pair[1]), destination_port);
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let ports = u64::from(low.1) << 16 | u64::from(high.1);
        let rest = u64::from(u16::from_be_bytes([self.protocol, icmp])) << 16;
        [
            (low.0 >> 64) as u64,
            low.0 as u64,
            (high.0 >> 64) as u64,
            high.0 as u64,
            ports | u64::from(self.zone) << 32,
            rest | u64::from(self.version),
        ]
    }
}
