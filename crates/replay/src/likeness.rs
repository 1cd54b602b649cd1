//! What of a packet a gateway leaves as it is, so that the same packet is known again behind it.
//!
//! NAT changes addresses, ports and identifiers and the checksums over them; routing takes one from
//! the TTL; rules change the type of service, marks of congestion and the options of TCP. What
//! stays (sequence numbers, lengths, payload, for most packets the IP identification) says nearly
//! always which packet it was. It is a hint for people and for wishes, never a proof.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use stateward_nat::Wish;
use stateward_wire::{Ipv6Header, Network, Packet, icmp, protocol};

use crate::sighting::Maker;

/// The ends of a packet: addresses, and ports or an identifier in the place of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: (IpAddr, Option<u16>),
    pub(crate) destination: (IpAddr, Option<u16>),
}

/// A number that packets share which may be one packet on both sides of a gateway.
pub(crate) fn of(bytes: &[u8], maker: Maker) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Ok(packet) = Packet::parse_cut(bytes) else {
        hasher.write(bytes);
        return hasher.finish();
    };
    match packet.network() {
        // This host names what it makes at random.
        Network::V4(header) if maker == Maker::Other => {
            hasher.write_u16(header.identification.get());
        }
        Network::V4(_) | Network::V6(_) => {}
    }
    hasher.write_u8(maker as u8);
    let Some(upper) = packet.upper() else {
        // A later fragment: its data.
        let header = match packet.network() {
            Network::V4(header) => header.header_length(),
            Network::V6(_) => size_of::<Ipv6Header>(),
        };
        hasher.write(packet.bytes().get(header..).unwrap_or_default());
        return hasher.finish();
    };
    hasher.write_u8(upper.protocol);
    let l4 = packet.l4();
    for part in kept(upper.protocol, l4) {
        hasher.write(l4.get(part).unwrap_or_default());
    }
    hasher.finish()
}

/// The parts of an upper layer that NAT leaves alone.
fn kept(protocol: u8, l4: &[u8]) -> [core::ops::Range<usize>; 3] {
    let end = l4.len();
    match protocol {
        // Sequence numbers, flags, payload.
        protocol::TCP => {
            let payload = l4.get(12).map_or(end, |offset| usize::from(offset >> 4) * 4);
            [4..12, 13..14, payload.min(end)..end]
        }
        // Length, payload.
        protocol::UDP | protocol::UDPLITE => [4..6, 8.min(end)..end, 0..0],
        protocol::SCTP => [4..8, 12.min(end)..end, 0..0],
        // Of queries all but the identifier; an error quotes what was translated.
        protocol::ICMP | protocol::ICMPV6 => match is_query(protocol, l4) {
            true => [0..2, 6.min(end)..end, 0..0],
            false => [0..2, 4.min(end)..8.min(end), 0..0],
        },
        protocol::GRE => [0..4, 8.min(end)..end, 0..0],
        _ => [0..end, 0..0, 0..0],
    }
}

fn is_query(protocol: u8, l4: &[u8]) -> bool {
    let kind = l4.first().copied().unwrap_or_default();
    match protocol {
        protocol::ICMP => icmp::v4::has_identifier(kind),
        _ => icmp::v6::has_identifier(kind),
    }
}

impl Ends {
    /// That a packet may leave with these ends.
    pub(crate) fn wish(&self) -> Wish {
        Wish { source: self.source.1, destination: self.destination.1, ..Wish::NONE }
    }

    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let packet = Packet::parse_cut(bytes).ok()?;
        let l4 = packet.l4();
        let word = |at: usize| l4.get(at..)?.first_chunk().copied().map(u16::from_be_bytes);
        let (source, destination) = match packet.upper()?.protocol {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP => {
                (word(0), word(2))
            }
            of @ (protocol::ICMP | protocol::ICMPV6) if is_query(of, l4) => (word(4), word(4)),
            protocol::GRE => (word(6), word(6)),
            _ => (None, None),
        };
        Some(Self {
            source: (packet.source(), source),
            destination: (packet.destination(), destination),
        })
    }
}
