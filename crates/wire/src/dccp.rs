//! The part of the DCCP header (RFC 4340) that a firewall reads. Linux 6.18 does not track DCCP;
//! iptables still matches its ports and types.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first twelve bytes of every DCCP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DccpHeader {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// Where the payload starts, in 4-byte words.
    pub data_offset: u8,
    /// CCVal (4 bits), checksum coverage (4).
    pub ccval_coverage: u8,
    /// Checksum.
    pub checksum: U16,
    /// Reserved (3 bits), type (4), extended sequence numbers (1).
    pub type_extended: u8,
    /// High or reserved bits of the sequence number.
    pub sequence_high: u8,
    /// Sequence number, or its middle bits.
    pub sequence: U16,
}
views!(DccpHeader);

impl DccpHeader {
    /// Packet type, 0 (REQUEST) to 15.
    #[inline]
    pub const fn kind(&self) -> u8 {
        (self.type_extended >> 1) & 0x0f
    }

    /// Whether sequence numbers have 48 bits.
    #[inline]
    pub const fn extended(&self) -> bool {
        self.type_extended & 1 != 0
    }

    /// Stated header length in bytes, options included.
    #[inline]
    pub const fn header_length(&self) -> usize {
        self.data_offset as usize * 4
    }
}
