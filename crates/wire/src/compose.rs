//! Makes packets: for tests, and for the answers a host gives by itself (ICMP errors, resets).
//!
//! Every function returns a whole, valid packet or segment with right checksums. Lengths that do
//! not fit their field are truncated by it: callers keep payloads below 65,000 bytes. Nothing here
//! is on a packet's way through a gateway.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::IntoBytes;

use crate::checksum::{self, Sum};
use crate::{
    IcmpHeader, Ipv4Header, Ipv6Header, SctpHeader, TcpFlags, TcpHeader, U16, U32, UdpHeader,
    protocol,
};

/// An IPv4 packet: TTL 64, no options, identification 0, do not fragment.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        tos: 0,
        total_length: U16::new((size_of::<Ipv4Header>() + payload.len()) as u16),
        identification: U16::ZERO,
        fragmentation: U16::new(crate::ipv4::DONT_FRAGMENT),
        ttl: 64,
        protocol,
        checksum: U16::ZERO,
        source: source.octets(),
        destination: destination.octets(),
    };
    header.checksum = U16::new(checksum::of(header.as_bytes()));
    join(header.as_bytes(), payload)
}

/// An IPv6 packet: hop limit 64, no flow label.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        version_class_flow: U32::new(6 << 28),
        payload_length: U16::new(payload.len() as u16),
        next_header: protocol,
        hop_limit: 64,
        source: source.octets(),
        destination: destination.octets(),
    };
    join(header.as_bytes(), payload)
}

/// A packet of either family around `payload`, whose checksums must be right already. Addresses of
/// two families give the source's family, with the destination's address unspecified.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4(source, destination, protocol, payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6(source, destination, protocol, payload)
        }
        (IpAddr::V4(source), _) => ipv4(source, Ipv4Addr::UNSPECIFIED, protocol, payload),
        (IpAddr::V6(source), _) => ipv6(source, Ipv6Addr::UNSPECIFIED, protocol, payload),
    }
}

/// A TCP packet to compose.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Source address and port.
    pub source: (IpAddr, u16),
    /// Destination address and port.
    pub destination: (IpAddr, u16),
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// Options; padded with END to a multiple of four, at most 40 bytes are taken.
    pub options: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

/// A timestamp option with the two bytes before it that all senders put there.
pub const TIMESTAMPS: &[u8] = &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];

impl Tcp<'_> {
    /// A segment with timestamps, a common window and no payload.
    pub fn stamped(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        flags: TcpFlags,
        [sequence, acknowledgment]: [u32; 2],
    ) -> Self {
        Tcp {
            source,
            destination,
            sequence,
            acknowledgment,
            flags,
            window: 64_240,
            options: TIMESTAMPS,
            payload: &[],
        }
    }
}

/// A TCP packet.
pub fn tcp(tcp: &Tcp<'_>) -> Vec<u8> {
    let options = tcp.options.get(..40).unwrap_or(tcp.options);
    let header_length = size_of::<TcpHeader>() + options.len().next_multiple_of(4);
    let header = TcpHeader {
        source_port: U16::new(tcp.source.1),
        destination_port: U16::new(tcp.destination.1),
        sequence: U32::new(tcp.sequence),
        acknowledgment: U32::new(tcp.acknowledgment),
        offset_reserved: ((header_length / 4) << 4) as u8,
        flags: tcp.flags.0,
        window: U16::new(tcp.window),
        checksum: U16::ZERO,
        urgent: U16::ZERO,
    };
    let mut l4 = join(header.as_bytes(), options);
    l4.resize(header_length, 0);
    l4.extend_from_slice(tcp.payload);
    let checksum = transport(tcp.source.0, tcp.destination.0, protocol::TCP, &l4);
    if let Some(header) = TcpHeader::view_mut(&mut l4) {
        header.checksum = U16::new(checksum);
    }
    ip(tcp.source.0, tcp.destination.0, protocol::TCP, &l4)
}

/// A UDP packet.
pub fn udp(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let header = UdpHeader {
        source_port: U16::new(source.1),
        destination_port: U16::new(destination.1),
        length: U16::new((size_of::<UdpHeader>() + payload.len()) as u16),
        checksum: U16::ZERO,
    };
    let mut l4 = join(header.as_bytes(), payload);
    let checksum = checksum::udp(transport(source.0, destination.0, protocol::UDP, &l4));
    if let Some(header) = UdpHeader::view_mut(&mut l4) {
        header.checksum = U16::new(checksum);
    }
    ip(source.0, destination.0, protocol::UDP, &l4)
}

/// An ICMP or ICMPv6 message to compose; the family is that of the addresses.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Message type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The last four bytes of the header.
    pub rest: [u8; 4],
    /// What follows the header: echo data, or the quoted packet.
    pub body: &'a [u8],
}

/// An ICMP or ICMPv6 packet.
pub fn icmp(icmp: &Icmp<'_>) -> Vec<u8> {
    let header =
        IcmpHeader { kind: icmp.kind, code: icmp.code, checksum: U16::ZERO, rest: icmp.rest };
    let mut l4 = join(header.as_bytes(), icmp.body);
    let (protocol, checksum) = match icmp.source {
        IpAddr::V4(_) => (protocol::ICMP, checksum::of(&l4)),
        IpAddr::V6(_) => {
            (protocol::ICMPV6, transport(icmp.source, icmp.destination, protocol::ICMPV6, &l4))
        }
    };
    if let Some(header) = IcmpHeader::view_mut(&mut l4) {
        header.checksum = U16::new(checksum);
    }
    ip(icmp.source, icmp.destination, protocol, &l4)
}

/// An ICMP or ICMPv6 echo request's or reply's `rest`.
pub const fn echo(identifier: u16, sequence: u16) -> [u8; 4] {
    let [a, b] = identifier.to_be_bytes();
    let [c, d] = sequence.to_be_bytes();
    [a, b, c, d]
}

/// An SCTP packet around `chunks`, which are padded already.
pub fn sctp(source: (IpAddr, u16), destination: (IpAddr, u16), tag: u32, chunks: &[u8]) -> Vec<u8> {
    let header = SctpHeader {
        source_port: U16::new(source.1),
        destination_port: U16::new(destination.1),
        verification_tag: U32::new(tag),
        checksum: [0; 4],
    };
    let mut l4 = join(header.as_bytes(), chunks);
    let crc = checksum::sctp(&l4);
    if let Some(header) = SctpHeader::view_mut(&mut l4) {
        header.checksum = crc;
    }
    ip(source.0, destination.0, protocol::SCTP, &l4)
}

fn transport(source: IpAddr, destination: IpAddr, protocol: u8, l4: &[u8]) -> u16 {
    let sum = [source, destination].iter().fold(Sum::ZERO, |sum, address| match address {
        IpAddr::V4(address) => sum.bytes(&address.octets()),
        IpAddr::V6(address) => sum.bytes(&address.octets()),
    });
    sum.u16(u16::from(protocol)).u32(l4.len() as u32).bytes(l4).checksum()
}

fn join(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(header.len() + payload.len());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    bytes
}
