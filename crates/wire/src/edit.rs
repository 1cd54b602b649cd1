//! Rewrites in place, each of which keeps the checksums it touches.
//!
//! A rewrite never makes a wrong checksum right: it moves the field by the difference, as NAT must,
//! so that damage done before is still seen at the end. Where the field is absent (a quotation of
//! eight bytes in an ICMP error), only what is there changes.

use core::net::IpAddr;
use core::ops::Range;

use crate::checksum::{self, Delta};
use crate::{
    Family, IcmpHeader, Ipv4Header, Ipv6Header, Layout, Packet, SctpHeader, TcpHeader, U16,
    UdpHeader, Upper, icmp, protocol,
};

/// What the transport checksum field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Field {
    /// A checksum, right or wrong.
    #[default]
    Finished,
    /// The sum of the pseudo-header only: the network card does the rest. See
    /// [`crate::checksum::Verification::Unfinished`].
    Unfinished,
}

/// One of the two ends a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Source.
    Source,
    /// Destination.
    Destination,
}

impl core::ops::Not for End {
    type Output = End;

    #[inline]
    fn not(self) -> End {
        match self {
            End::Source => End::Destination,
            End::Destination => End::Source,
        }
    }
}

/// A packet to rewrite.
#[derive(Debug)]
pub struct Edit<'a> {
    bytes: &'a mut [u8],
    layout: Layout,
    field: Field,
}

impl<'a> Edit<'a> {
    /// The packet `bytes`, whose layout was found by [`crate::Packet::layout`] or
    /// [`crate::Embedded::layout`].
    pub fn new(bytes: &'a mut [u8], layout: Layout) -> Self {
        Self { bytes, layout, field: Field::Finished }
    }

    /// Says what the transport checksum field holds; [`Field::Finished`] if never said.
    pub fn with_field(mut self, field: Field) -> Self {
        self.field = field;
        self
    }

    /// Rewrites an address, with the IPv4 header's checksum and the transport's. False, and nothing
    /// done, if the address is of the other family or the header is not there.
    pub fn set_address(&mut self, end: End, address: IpAddr) -> bool {
        let delta = match (self.layout.family(), address) {
            (Family::V4, IpAddr::V4(address)) => {
                let Some(header) = Ipv4Header::view_mut(self.bytes) else { return false };
                let slot = match end {
                    End::Source => &mut header.source,
                    End::Destination => &mut header.destination,
                };
                let delta = Delta::NONE.bytes(slot, &address.octets());
                *slot = address.octets();
                header.checksum = U16::new(delta.apply(header.checksum.get()));
                delta
            }
            (Family::V6, IpAddr::V6(address)) => {
                let Some(header) = Ipv6Header::view_mut(self.bytes) else { return false };
                let slot = match end {
                    End::Source => &mut header.source,
                    End::Destination => &mut header.destination,
                };
                let delta = Delta::NONE.bytes(slot, &address.octets());
                *slot = address.octets();
                delta
            }
            _ => return false,
        };
        self.adjust_transport(delta, Covers::PseudoHeader);
        true
    }

    /// Rewrites a port of TCP, UDP, UDP-Lite, SCTP or DCCP, or with either end the identifier of
    /// ICMP and ICMPv6 messages that have one, with the transport's checksum. False, and nothing
    /// done, if there is none.
    pub fn set_port(&mut self, end: End, port: u16) -> bool {
        let Some(upper) = self.layout.upper() else { return false };
        let within = match (upper.protocol, end) {
            (protocol::ICMP | protocol::ICMPV6, _) if self.has_identifier(upper) => 4,
            (_, End::Source) if has_ports(upper.protocol) => 0,
            (_, End::Destination) if has_ports(upper.protocol) => 2,
            _ => return false,
        };
        let Some(delta) = self.replace(upper.offset + within, port) else { return false };
        self.adjust_transport(delta, Covers::Payload);
        true
    }

    /// Sets the TTL or hop limit. False if the header is not there.
    pub fn set_ttl(&mut self, ttl: u8) -> bool {
        match self.layout.family() {
            Family::V4 => {
                let Some(header) = Ipv4Header::view_mut(self.bytes) else { return false };
                let word = |ttl| u16::from_be_bytes([ttl, header.protocol]);
                let delta = Delta::NONE.u16(word(header.ttl), word(ttl));
                header.ttl = ttl;
                header.checksum = U16::new(delta.apply(header.checksum.get()));
            }
            Family::V6 => {
                let Some(header) = Ipv6Header::view_mut(self.bytes) else { return false };
                header.hop_limit = ttl;
            }
        }
        true
    }

    /// Sets the IPv4 type of service or IPv6 traffic class. False if the header is not there.
    pub fn set_tos(&mut self, tos: u8) -> bool {
        match self.layout.family() {
            Family::V4 => {
                let Some(header) = Ipv4Header::view_mut(self.bytes) else { return false };
                let word = |tos| u16::from_be_bytes([header.version_ihl, tos]);
                let delta = Delta::NONE.u16(word(header.tos), word(tos));
                header.tos = tos;
                header.checksum = U16::new(delta.apply(header.checksum.get()));
            }
            Family::V6 => {
                const CLASS: u32 = 0x0ff0_0000;
                let Some(header) = Ipv6Header::view_mut(self.bytes) else { return false };
                let others = header.version_class_flow.get() & !CLASS;
                header.version_class_flow.set(others | u32::from(tos) << 20);
            }
        }
        true
    }

    /// Rewrites 16 bits of the upper layer, with its checksum. False, and nothing done, if they are
    /// not there. At an odd offset the checksum becomes wrong, as Linux's does where it sets a
    /// segment size that stands there.
    pub fn set_upper(&mut self, within: usize, value: u16) -> bool {
        let Some(upper) = self.layout.upper() else { return false };
        let Some(delta) = self.replace(upper.offset + within, value) else { return false };
        self.adjust_transport(delta, Covers::Payload);
        true
    }

    /// Rewrites a byte of the upper layer, with its checksum. False, and nothing done, if it is not
    /// there.
    pub fn set_upper_byte(&mut self, within: usize, value: u8) -> bool {
        let Some(upper) = self.layout.upper() else { return false };
        let Some(slot) = self.bytes.get_mut(upper.offset + within) else { return false };
        let word = |byte| {
            if within.is_multiple_of(2) { u16::from_be_bytes([byte, 0]) } else { byte.into() }
        };
        let delta = Delta::NONE.u16(word(*slot), word(value));
        *slot = value;
        self.adjust_transport(delta, Covers::Payload);
        true
    }

    /// Puts four bytes of options before those that a TCP header has, with all lengths and
    /// checksums. The packet becomes longer by as much: it has the returned layout. `None`, and
    /// nothing done, if there is no room behind the packet or in the header.
    pub fn insert_tcp_option(&mut self, option: [u8; 4]) -> Option<Layout> {
        const FIXED: usize = size_of::<TcpHeader>();
        const OFFSET: usize = 12;
        const ONE_WORD: u16 = 0x1000;
        let upper = self.layout.upper().filter(|upper| upper.protocol == protocol::TCP)?;
        let (options, end) = (upper.offset + FIXED, self.layout.length());
        let old = TcpHeader::view(self.bytes.get(upper.offset..end)?)?;
        let first = u16::from_be_bytes([old.offset_reserved, old.flags]).checked_add(ONE_WORD)?;
        let longer = self.layout.longer(option.len())?;
        self.bytes.get_mut(options..longer.length())?.copy_within(..end - options, option.len());
        *self.bytes.get_mut(options..)?.first_chunk_mut()? = option;
        let length = (end - upper.offset) as u32;
        let pseudo = Delta::NONE.u32(length, length + option.len() as u32);
        self.adjust_transport(pseudo, Covers::PseudoHeader);
        self.adjust_transport(Delta::NONE.bytes(&[0; 4], &option), Covers::Payload);
        self.set_upper(OFFSET, first);
        self.set_length(longer.length());
        self.layout = longer;
        Some(longer)
    }

    /// Puts other bytes in place of some of the packet's, counted from its beginning, within the
    /// payload of TCP or UDP. All lengths follow, and the transport's checksum is computed anew. The
    /// packet has the returned layout then. `None`, and nothing done, if a byte of the packet is
    /// missing, or there is no room behind it for a longer one.
    pub fn replace_payload(&mut self, place: Range<usize>, with: &[u8]) -> Option<Layout> {
        const UDP_LENGTH: usize = 4;
        let upper = self.layout.upper()?;
        let end = self.layout.length();
        if place.start > place.end || place.end > end || end > self.bytes.len() {
            return None;
        }
        let resized = self.layout.resized(end - place.len() + with.len())?;
        let behind = place.start + with.len();
        self.bytes.get(..resized.length())?;
        self.bytes.copy_within(place.end..end, behind);
        self.bytes.get_mut(place.start..behind)?.copy_from_slice(with);
        self.layout = resized;
        self.set_length(resized.length());
        let (old, new) = (end - upper.offset, resized.length() - upper.offset);
        if upper.protocol == protocol::UDP {
            self.replace(upper.offset + UDP_LENGTH, new as u16);
        }
        match self.field {
            Field::Unfinished => {
                let length = Delta::NONE.u32(old as u32, new as u32);
                self.adjust_transport(length, Covers::PseudoHeader);
            }
            Field::Finished if !self.has_no_checksum(upper) => {
                self.field = Field::Unfinished;
                self.finish();
            }
            Field::Finished => {}
        }
        Some(resized)
    }

    /// UDP without.
    fn has_no_checksum(&self, upper: Upper) -> bool {
        let header = self.bytes.get(upper.offset..).and_then(UdpHeader::view);
        upper.protocol == protocol::UDP && header.is_some_and(|header| header.checksum.get() == 0)
    }

    fn set_length(&mut self, length: usize) {
        match self.layout.family() {
            Family::V4 => {
                let Some(header) = Ipv4Header::view_mut(self.bytes) else { return };
                let delta = Delta::NONE.u16(header.total_length.get(), length as u16);
                header.total_length = U16::new(length as u16);
                header.checksum = U16::new(delta.apply(header.checksum.get()));
            }
            Family::V6 => {
                let Some(header) = Ipv6Header::view_mut(self.bytes) else { return };
                let payload = length.saturating_sub(size_of::<Ipv6Header>());
                header.payload_length = U16::new(payload as u16);
            }
        }
    }

    /// Sums up what was left to the network card, if the field is said to be unfinished.
    pub fn finish(&mut self) {
        let Some(upper) = self.layout.upper().filter(|_| self.field == Field::Unfinished) else {
            return;
        };
        let slot = |bytes: &mut [u8], value: u16| {
            let l4 = bytes.get_mut(upper.offset..).unwrap_or_default();
            checksum_field(l4, upper.protocol).map(|slot| slot.set(value)).is_some()
        };
        if !slot(self.bytes, 0) {
            return;
        }
        let Some(packet) = Packet::with_layout(self.bytes, self.layout) else { return };
        let sum = checksum::transport(&packet, upper.protocol, packet.l4());
        slot(self.bytes, if upper.protocol == protocol::UDP { checksum::udp(sum) } else { sum });
        self.field = Field::Finished;
    }

    /// Takes one from the TTL or hop limit; none, and nothing done, if it is 0 already.
    pub fn decrement_ttl(&mut self) -> Option<u8> {
        let ttl = match self.layout.family() {
            Family::V4 => Ipv4Header::view(self.bytes)?.ttl,
            Family::V6 => Ipv6Header::view(self.bytes)?.hop_limit,
        };
        let less = ttl.checked_sub(1)?;
        self.set_ttl(less).then_some(less)
    }

    fn replace(&mut self, offset: usize, value: u16) -> Option<Delta> {
        let slot = self.bytes.get_mut(offset..)?.first_chunk_mut::<2>()?;
        let delta = Delta::NONE.bytes(slot, &value.to_be_bytes());
        *slot = value.to_be_bytes();
        Some(delta)
    }

    fn has_identifier(&self, upper: Upper) -> bool {
        let Some(kind) = self.bytes.get(upper.offset) else { return false };
        match upper.protocol {
            protocol::ICMP => icmp::v4::has_identifier(*kind),
            _ => icmp::v6::has_identifier(*kind),
        }
    }

    /// Moves the transport checksum by `delta`, if it covers what changed and is there.
    fn adjust_transport(&mut self, delta: Delta, change: Covers) {
        let Some(upper) = self.layout.upper() else { return };
        let Some(l4) = self.bytes.get_mut(upper.offset..) else { return };
        if upper.protocol == protocol::SCTP {
            if change == Covers::Payload {
                refresh_sctp(l4);
            }
            return;
        }
        if upper.protocol == protocol::ICMP && change == Covers::PseudoHeader {
            return;
        }
        let Some(slot) = checksum_field(l4, upper.protocol) else { return };
        let udp = matches!(upper.protocol, protocol::UDP);
        let updated = match (self.field, change) {
            (Field::Unfinished, Covers::PseudoHeader) => delta.apply_unfinished(slot.get()),
            (Field::Unfinished, Covers::Payload) => return,
            (Field::Finished, _) if udp && slot.get() == 0 => return,
            (Field::Finished, _) => delta.apply(slot.get()),
        };
        slot.set(if udp { checksum::udp(updated) } else { updated });
    }
}

/// What part of a checksum's cover a change lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Covers {
    PseudoHeader,
    Payload,
}

const fn has_ports(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP
    )
}

fn checksum_field(l4: &mut [u8], protocol: u8) -> Option<&mut U16> {
    match protocol {
        protocol::TCP => TcpHeader::view_mut(l4).map(|header| &mut header.checksum),
        protocol::UDP | protocol::UDPLITE => {
            UdpHeader::view_mut(l4).map(|header| &mut header.checksum)
        }
        protocol::ICMP | protocol::ICMPV6 => {
            IcmpHeader::view_mut(l4).map(|header| &mut header.checksum)
        }
        protocol::DCCP => crate::DccpHeader::view_mut(l4).map(|header| &mut header.checksum),
        _ => None,
    }
}

/// A CRC has no increments worth having: compute it anew.
fn refresh_sctp(l4: &mut [u8]) {
    let crc = checksum::sctp(l4);
    if let Some(header) = SctpHeader::view_mut(l4) {
        header.checksum = crc;
    }
}

#[cfg(test)]
mod tests;
