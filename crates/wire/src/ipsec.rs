//! The headers of IPsec: ESP (RFC 4303) and AH (RFC 4302), as far as they can be read without keys.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An ESP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EspHeader {
    /// Security parameters index.
    pub spi: U32,
    /// Sequence number.
    pub sequence: U32,
}
views!(EspHeader);

/// The fixed part of an authentication header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AhHeader {
    /// What follows this header.
    pub next_header: u8,
    /// Length in 4-byte words, less two.
    pub length: u8,
    /// Reserved.
    pub reserved: U16,
    /// Security parameters index.
    pub spi: U32,
    /// Sequence number.
    pub sequence: U32,
}
views!(AhHeader);
