//! The UDP header (RFC 768) and its twin of UDP-Lite (RFC 3828).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A UDP header; also UDP-Lite's, whose `length` is the checksum's coverage.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// UDP: header and payload in bytes. UDP-Lite: bytes under the checksum, 0 for all.
    pub length: U16,
    /// Checksum over pseudo-header, header and payload; UDP: 0 for none.
    pub checksum: U16,
}
views!(UdpHeader);

impl UdpHeader {
    /// UDP-Lite: how many of the datagram's `length` bytes the checksum covers; none if the field
    /// is illegal.
    pub fn coverage(&self, length: usize) -> Option<usize> {
        match usize::from(self.length.get()) {
            0 => Some(length),
            covered if covered >= size_of::<Self>() && covered <= length => Some(covered),
            _ => None,
        }
    }
}
