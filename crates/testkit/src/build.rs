//! Packets, right or deliberately broken.
//!
//! A [`Packet`] is a description: addresses and IP fields, then a [`Transport`]. [`Packet::bytes`]
//! lays it out with right lengths and checksums, except where a field says otherwise: every
//! [`Checksum`] and every `Option` that is named after a wire field breaks it on purpose. Plain
//! public fields, so that a random generator can fill or change any of them.
//!
//! This module decides nothing about what is sensible; a packet may be any nonsense that still has
//! an IP version.

mod checksum;
mod fragment;
mod transport;

use std::net::{IpAddr, SocketAddr};

pub use checksum::{crc32c, internet_checksum};
pub use fragment::fragments;
pub use transport::{
    Chunk, Gre, Icmp, Sctp, TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG,
    Tcp, TcpOption, Transport, Udp,
};

use checksum::Sum;

/// What a checksum field holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The right value.
    #[default]
    Right,
    /// The right value with its lowest bit flipped; never zero.
    Wrong,
    /// Zero.
    Zero,
    /// Just the pseudo-header's sum, as a sending host leaves it to its network card.
    Offloaded,
}

/// An IPv4 or IPv6 packet; the family is that of its source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address; must be of the source's family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4: identification.
    pub id: u16,
    /// IPv4: the fragment field's three flag bits and offset, verbatim.
    pub fragment: u16,
    /// IPv4: options, padded with zeroes to a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// IPv6: flow label.
    pub flow_label: u32,
    /// IPv6: extension headers, in order, from their second byte on (the length byte); padded with
    /// zeroes to a multiple of 8 bytes.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// IPv4: the header's checksum.
    pub checksum: Checksum,
    /// Total (IPv4) or payload (IPv6) length, if not the right one.
    pub length: Option<u16>,
    /// IPv4: header length in words, if not the right one.
    pub header_words: Option<u8>,
    /// The protocol number, if not that of the transport.
    pub protocol: Option<u8>,
    /// What it carries.
    pub transport: Transport,
    /// How many bytes of the laid out packet are kept; the lengths in it stay.
    pub cut: Option<usize>,
}

/// IPv4: don't fragment, in [`Packet::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// IPv4: more fragments, in [`Packet::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;

const TTL: u8 = 64;

impl Packet {
    /// A packet with nothing special about it.
    pub fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self {
            source,
            destination,
            ttl: TTL,
            tos: 0,
            id: 0x1234,
            fragment: 0,
            options: Vec::new(),
            flow_label: 0,
            extensions: Vec::new(),
            checksum: Checksum::Right,
            length: None,
            header_words: None,
            protocol: None,
            transport,
            cut: None,
        }
    }

    /// A TCP segment; `flags` of the `TCP_` constants.
    pub fn tcp(from: SocketAddr, to: SocketAddr, flags: u8, sequence: u32, ack: u32) -> Self {
        let (source_port, destination_port) = (from.port(), to.port());
        let tcp = Tcp { source_port, destination_port, flags, sequence, ack, ..Tcp::default() };
        Self::new(from.ip(), to.ip(), Transport::Tcp(tcp))
    }

    /// A UDP datagram.
    pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Self {
        let (source_port, destination_port) = (from.port(), to.port());
        let payload = payload.to_vec();
        let udp = Udp { source_port, destination_port, payload, ..Udp::default() };
        Self::new(from.ip(), to.ip(), Transport::Udp(udp))
    }

    /// An ICMP or, between IPv6 addresses, ICMPv6 message with identifier and sequence number.
    pub fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, id: u16, sequence: u16) -> Self {
        let rest = u32::from(id) << 16 | u32::from(sequence);
        let icmp = Icmp { kind, code, rest, ..Icmp::default() };
        Self::new(from, to, Transport::Icmp(icmp))
    }

    /// An ICMP echo request of the addresses' family.
    pub fn echo_request(from: IpAddr, to: IpAddr, id: u16, sequence: u16) -> Self {
        Self::icmp(from, to, if from.is_ipv6() { 128 } else { 8 }, 0, id, sequence)
    }

    /// An ICMP echo reply of the addresses' family.
    pub fn echo_reply(from: IpAddr, to: IpAddr, id: u16, sequence: u16) -> Self {
        Self::icmp(from, to, if from.is_ipv6() { 129 } else { 0 }, 0, id, sequence)
    }

    /// An ICMP error about `quoted`, the offending packet or its beginning.
    pub fn icmp_error(from: IpAddr, to: IpAddr, kind: u8, code: u8, quoted: &[u8]) -> Self {
        let icmp = Icmp { kind, code, body: quoted.to_vec(), ..Icmp::default() };
        Self::new(from, to, Transport::Icmp(icmp))
    }

    /// The same packet with its transport's payload replaced.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.transport.set_payload(payload);
        self
    }

    /// The same packet with its TCP part changed; anything else is left alone.
    pub fn with_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            change(tcp);
        }
        self
    }

    /// Lays the packet out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4(source.octets(), destination.octets())
            }
            (source, destination) => self.v6(octets(source), octets(destination)),
        };
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
        }
        bytes
    }

    fn v4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let protocol = self.transport.protocol(false);
        let body = self.transport.bytes(&|length| match self.transport {
            // Only ICMPv6 covers the addresses.
            Transport::Icmp(_) => Sum::new(),
            _ => Sum::new().add(&source).add(&destination).word(u16::from(protocol)).length(length),
        });
        let options = padded(&self.options, 4);
        let header = 20 + options.len();
        let words = self.header_words.unwrap_or((header / 4).to_le_bytes()[0]);
        let length = self.length.unwrap_or_else(|| clamp(header + body.len()));
        let mut bytes = vec![0x40 | words & 0xf, self.tos];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.fragment.to_be_bytes());
        bytes.extend_from_slice(&[self.ttl, self.protocol.unwrap_or(protocol), 0, 0]);
        bytes.extend_from_slice(&source);
        bytes.extend_from_slice(&destination);
        bytes.extend_from_slice(&options);
        let sum = Sum::new().add(&bytes);
        checksum::place(&mut bytes, 10, self.checksum, sum, Sum::new());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn v6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let protocol = self.transport.protocol(true);
        let body = self.transport.bytes(&|length| {
            Sum::new().add(&source).add(&destination).word(u16::from(protocol)).length(length)
        });
        let last = self.protocol.unwrap_or(protocol);
        let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([last]).collect();
        let mut chain = Vec::new();
        for ((_, header), next) in self.extensions.iter().zip(kinds.iter().skip(1)) {
            let mut bytes = vec![*next];
            bytes.extend_from_slice(header);
            chain.extend_from_slice(&padded(&bytes, 8));
        }
        let length = self.length.unwrap_or_else(|| clamp(chain.len() + body.len()));
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.flow_label & 0xf_ffff;
        let mut bytes = first.to_be_bytes().to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[kinds.first().copied().unwrap_or(last), self.ttl]);
        bytes.extend_from_slice(&source);
        bytes.extend_from_slice(&destination);
        bytes.extend_from_slice(&chain);
        bytes.extend_from_slice(&body);
        bytes
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn padded(bytes: &[u8], to: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(to), 0);
    padded
}

/// A length as its 16-bit field holds it; what is longer cannot be said there.
fn clamp(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
