//! Who speaks to whom: the part of a packet by which its answer is known, and where it lies.
//!
//! Read leniently, since what is quoted is cut and what is said may be broken.

use std::net::IpAddr;

use crate::build::internet_checksum;
use crate::dialogue;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;
pub(super) const UDP_LITE: u8 = 136;

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// The two ends of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends {
    /// The protocol.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source and destination port. Of ICMP the identifier and the question's type; of protocols
    /// without ports nothing.
    pub keys: [u16; 2],
}

impl Ends {
    /// Those of the answer.
    pub fn inverse(self) -> Self {
        let [source, destination] = self.keys;
        let keys = match self.protocol {
            ICMP | ICMPV6 => self.keys,
            _ => [destination, source],
        };
        Self { source: self.destination, destination: self.source, keys, ..self }
    }

    /// To another port, if the protocol has ports.
    pub(super) fn toward(mut self, port: u16) -> Self {
        if matches!(self.protocol, TCP | UDP | SCTP | UDP_LITE) {
            self.keys[1] = port;
        }
        self
    }

    /// With the next destination port, or identifier.
    pub(super) fn elsewhere(mut self) -> Self {
        let [first, second] = &mut self.keys;
        let key = match self.protocol {
            ICMP | ICMPV6 => first,
            _ => second,
        };
        *key = key.wrapping_add(1);
        self
    }
}

/// Where what matters lies in a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) is_v6: bool,
    pub(super) protocol: u8,
    /// Where the transport header would begin.
    pub(super) transport: usize,
    /// How much of the transport lies in pieces before this one.
    pub(super) offset: usize,
    /// Whether it is one of several pieces.
    pub(super) is_piece: bool,
}

impl Layout {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::of_v4(bytes),
            6 => Self::of_v6(bytes),
            _ => None,
        }
    }

    fn of_v4(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..V4_HEADER)?;
        let transport = usize::from(header.first()? & 0xf) * 4;
        if transport < V4_HEADER {
            return None;
        }
        let fragment = word(bytes, 6)?;
        Some(Self {
            is_v6: false,
            protocol: *header.get(9)?,
            transport,
            offset: usize::from(fragment & 0x1fff) * 8,
            is_piece: fragment & 0x3fff != 0,
        })
    }

    fn of_v6(bytes: &[u8]) -> Option<Self> {
        const AUTHENTICATION: u8 = 51;
        const FRAGMENT: u8 = 44;
        let mut layout = Self {
            is_v6: true,
            protocol: *bytes.get(6)?,
            transport: V6_HEADER,
            offset: 0,
            is_piece: false,
        };
        bytes.get(..V6_HEADER)?;
        while layout.offset == 0 {
            let units = match layout.protocol {
                // Hop by hop, routing, destination.
                0 | 43 | 60 => usize::from(*bytes.get(layout.transport + 1)?) + 1,
                FRAGMENT => {
                    let fragment = word(bytes, layout.transport + 2)?;
                    layout.offset = usize::from(fragment & 0xfff8);
                    layout.is_piece = fragment & 0xfff9 != 0;
                    1
                }
                AUTHENTICATION => return Some(layout),
                _ => return Some(layout),
            };
            layout.protocol = *bytes.get(layout.transport)?;
            layout.transport += units * 8;
        }
        Some(layout)
    }

    pub(super) fn addresses(&self, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
        if self.is_v6 {
            let at = |at: usize| bytes.get(at..)?.first_chunk::<16>().copied().map(IpAddr::from);
            return Some((at(8)?, at(24)?));
        }
        let at = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied().map(IpAddr::from);
        Some((at(12)?, at(16)?))
    }

    /// Whether the protocol has ports that NAT may change.
    pub(super) fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP | UDP_LITE)
    }

    /// The ends; none of a piece that does not show them, and none of what asks and answers nothing.
    pub(super) fn ends(&self, bytes: &[u8]) -> Option<Ends> {
        let (source, destination) = self.addresses(bytes)?;
        let at = |place: usize| word(bytes, self.transport + place);
        let keys = match self.protocol {
            _ if self.offset > 0 => return None,
            _ if self.has_ports() => [at(0)?, at(2)?],
            ICMP if !self.is_v6 => [at(4)?, question(*bytes.get(self.transport)?)?],
            ICMPV6 if self.is_v6 => [at(4)?, question_v6(*bytes.get(self.transport)?)?],
            _ => [0; 2],
        };
        Some(Ends { protocol: self.protocol, source, destination, keys })
    }

    /// The sequence number behind a whole TCP segment.
    pub(super) fn end(&self, bytes: &[u8]) -> Option<u32> {
        if self.protocol != TCP || self.is_piece {
            return None;
        }
        let sequence = bytes.get(self.transport + 4..)?.first_chunk().copied()?;
        let header = usize::from(bytes.get(self.transport + 12)? >> 4) * 4;
        let payload = bytes.len().checked_sub(self.transport + header)?;
        Some(u32::from_be_bytes(sequence).wrapping_add(payload as u32))
    }

    /// Where the packet that an ICMP error quotes begins.
    pub(super) fn quotes(&self, bytes: &[u8]) -> Option<usize> {
        let kind = *bytes.get(self.transport)?;
        let is_error = match (self.protocol, self.is_v6) {
            (ICMP, false) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (ICMPV6, true) => matches!(kind, 1..=4),
            _ => false,
        };
        (is_error && self.offset == 0).then_some(self.transport + 8)
    }

    /// Whether a socket would send the packet as it is: short, of its true length and sum, without
    /// options.
    pub(super) fn is_plain(&self, bytes: &[u8]) -> bool {
        let Some((_, destination)) = self.addresses(bytes) else { return false };
        let length = match self.is_v6 {
            true => word(bytes, 4).map(|length| usize::from(length) + V6_HEADER),
            false => word(bytes, 2).map(usize::from),
        };
        let header = if self.is_v6 { V6_HEADER } else { V4_HEADER };
        // A socket sums the header up itself.
        let sum = bytes.get(..header).map(internet_checksum);
        let is_summed = self.is_v6 || sum == Some(0);
        is_summed
            && !self.is_piece
            && self.transport == header
            && length == Some(bytes.len())
            && dialogue::is_sent_by_socket(bytes.len(), destination)
    }
}

/// The question to which an ICMP message belongs.
fn question(kind: u8) -> Option<u16> {
    match kind {
        0 | 8 => Some(8),
        13 | 14 => Some(13),
        15 | 16 => Some(15),
        17 | 18 => Some(17),
        _ => None,
    }
}

fn question_v6(kind: u8) -> Option<u16> {
    match kind {
        128 | 129 => Some(128),
        139 | 140 => Some(139),
        _ => None,
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}
