//! The TCP header (RFC 9293) and its options.
//!
//! Options are read by the rules of `tcp_parse_options` and conntrack's own readers: END ends the
//! list, NOP is one byte, a length below two or beyond the end ends the list silently. An option of
//! a known kind with the wrong length is [`TcpOption::Unknown`].

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The fixed 20 bytes of a TCP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// Sequence number of the first byte (of the SYN).
    pub sequence: U32,
    /// Next sequence number expected, if ACK is set.
    pub acknowledgment: U32,
    /// Header length in 4-byte words (4 bits), reserved (4).
    pub offset_reserved: u8,
    /// Flags, FIN in the lowest bit.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: U16,
    /// Checksum over pseudo-header, header and payload.
    pub checksum: U16,
    /// End of urgent data, if URG is set.
    pub urgent: U16,
}
views!(TcpHeader);

impl TcpHeader {
    /// Stated header length in bytes, 0 to 60; a legal header has at least 20.
    #[inline]
    pub const fn header_length(&self) -> usize {
        (self.offset_reserved >> 4) as usize * 4
    }

    /// The flags.
    #[inline]
    pub const fn flags(&self) -> TcpFlags {
        TcpFlags(self.flags)
    }
}

/// The eight flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent field counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether all of `others` are set.
    #[inline]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of `others` is set.
    #[inline]
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// These flags and `others`.
    #[inline]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These flags without `others`.
    #[inline]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Whether FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Whether RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }
}

impl core::ops::BitOr for TcpFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, others: Self) -> Self {
        self.union(others)
    }
}

/// The kinds of TCP options.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgment is understood.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgment.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
}

/// One TCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Padding.
    Nop,
    /// Largest segment the sender of the option takes.
    Mss(u16),
    /// Shift of the sender's window field, as sent (RFC 7323 allows at most 14).
    WindowScale(u8),
    /// The sender understands SACK.
    SackPermitted,
    /// Blocks received out of order.
    Sack(SackBlocks<'a>),
    /// The sender's clock and the echo of the peer's.
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The latest of the peer's, if ACK is set.
        echo: u32,
    },
    /// Anything else.
    Unknown {
        /// The option's kind.
        kind: u8,
        /// What follows the length byte.
        data: &'a [u8],
    },
}

/// The blocks of a SACK option; a remainder of less than eight bytes is not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks<'a>(&'a [u8]);

impl<'a> SackBlocks<'a> {
    /// The blocks as `(left, right)`: first sequence number in it, first after it.
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.0.as_chunks::<8>().0.iter().map(|&[a, b, c, d, e, f, g, h]| {
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        })
    }
}

/// The bytes of the options of the segment `l4`, as far as they are there: none if the stated
/// header length is below 20.
#[inline]
pub fn option_bytes(l4: &[u8]) -> &[u8] {
    const FIXED: usize = size_of::<TcpHeader>();
    let Some(header) = TcpHeader::view(l4) else { return &[] };
    let end = header.header_length().min(l4.len());
    l4.get(FIXED..end).unwrap_or_default()
}

/// The options of the segment `l4`.
#[inline]
pub fn options(l4: &[u8]) -> Options<'_> {
    Options::new(option_bytes(l4))
}

/// What follows the header in the segment `l4`; empty if the stated header length is beyond the
/// bytes or below 20.
#[inline]
pub fn payload(l4: &[u8]) -> &[u8] {
    match TcpHeader::view(l4) {
        Some(header) if header.header_length() >= size_of::<TcpHeader>() => {
            l4.get(header.header_length()..).unwrap_or_default()
        }
        _ => &[],
    }
}

/// Iterator over TCP options.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in `bytes`, those after the fixed header.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self) -> Option<TcpOption<'a>> {
        let (&kind, after) = self.rest.split_first()?;
        match kind {
            option::END => None,
            option::NOP => {
                self.rest = after;
                Some(TcpOption::Nop)
            }
            _ => {
                let length = usize::from(*after.first()?);
                let data = self.rest.get(2..length)?;
                self.rest = self.rest.get(length..)?;
                Some(typed(kind, data))
            }
        }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    #[inline]
    fn next(&mut self) -> Option<TcpOption<'a>> {
        let next = self.take();
        if next.is_none() {
            self.rest = &[];
        }
        next
    }
}

fn typed(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (option::MSS, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
        (option::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (option::SACK_PERMITTED, []) => TcpOption::SackPermitted,
        (option::SACK, blocks) if blocks.len() >= 8 => TcpOption::Sack(SackBlocks(blocks)),
        (option::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
            value: u32::from_be_bytes([a, b, c, d]),
            echo: u32::from_be_bytes([e, f, g, h]),
        },
        _ => TcpOption::Unknown { kind, data },
    }
}
