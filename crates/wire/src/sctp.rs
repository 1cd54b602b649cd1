//! The SCTP common header (RFC 9260) and the walk over a packet's chunks.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The SCTP common header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SctpHeader {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// The receiver's tag, chosen by it in INIT.
    pub verification_tag: U32,
    /// CRC32c of the packet with this field zero. Its bytes are in little-endian order.
    pub checksum: [u8; 4],
}
views!(SctpHeader);

/// The header of a chunk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChunkHeader {
    /// Chunk type, see [`chunk`].
    pub kind: u8,
    /// Flags, by type.
    pub flags: u8,
    /// Header and value in bytes, padding not counted.
    pub length: U16,
}
views!(ChunkHeader);

/// Chunk types.
pub mod chunk {
    /// Payload data.
    pub const DATA: u8 = 0;
    /// Initiation.
    pub const INIT: u8 = 1;
    /// Initiation acknowledgment.
    pub const INIT_ACK: u8 = 2;
    /// Selective acknowledgment.
    pub const SACK: u8 = 3;
    /// Heartbeat request.
    pub const HEARTBEAT: u8 = 4;
    /// Heartbeat acknowledgment.
    pub const HEARTBEAT_ACK: u8 = 5;
    /// Abort.
    pub const ABORT: u8 = 6;
    /// Shutdown.
    pub const SHUTDOWN: u8 = 7;
    /// Shutdown acknowledgment.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Operation error.
    pub const ERROR: u8 = 9;
    /// State cookie.
    pub const COOKIE_ECHO: u8 = 10;
    /// State cookie acknowledgment.
    pub const COOKIE_ACK: u8 = 11;
    /// Explicit congestion notification echo.
    pub const ECN_ECHO: u8 = 12;
    /// Congestion window reduced.
    pub const CWR: u8 = 13;
    /// Shutdown complete.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    /// Authentication.
    pub const AUTH: u8 = 15;
    /// Interleaved payload data (RFC 8260).
    pub const I_DATA: u8 = 64;
    /// Address configuration acknowledgment.
    pub const ASCONF_ACK: u8 = 0x80;
    /// Re-configuration (RFC 6525).
    pub const RECONF: u8 = 0x82;
    /// Forward cumulative TSN.
    pub const FORWARD_TSN: u8 = 0xc0;
    /// Address configuration change.
    pub const ASCONF: u8 = 0xc1;

    /// The T bit of ABORT and SHUTDOWN_COMPLETE: the tag is the peer's own, reflected.
    pub const TAG_REFLECTED: u8 = 1;
}

/// One chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Chunk type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stated length, header included.
    pub length: u16,
    /// Bytes from the start of the SCTP header.
    pub offset: usize,
    /// What follows the chunk's header, as far as its length says and bytes are there.
    pub value: &'a [u8],
}

/// The fixed part of an INIT or INIT_ACK chunk's value.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InitValue {
    /// The tag the receiver of this chunk must put into its packets.
    pub initiate_tag: U32,
    /// Receive window.
    pub window: U32,
    /// Streams the sender wants.
    pub outbound_streams: U16,
    /// Streams the sender takes.
    pub inbound_streams: U16,
    /// First transmission sequence number.
    pub initial_tsn: U32,
}
views!(InitValue);

/// The chunks of the SCTP packet `l4`.
#[inline]
pub fn chunks(l4: &[u8]) -> Chunks<'_> {
    Chunks { l4, at: size_of::<SctpHeader>(), illegal: false }
}

/// Iterator over chunks. It stops at the first chunk whose length is below four or goes beyond the
/// end; [`Chunks::is_illegal`] tells that from a proper end.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    l4: &'a [u8],
    at: usize,
    illegal: bool,
}

impl Chunks<'_> {
    /// Whether the walk stopped at an illegal chunk or at less than a chunk header.
    pub fn is_illegal(&self) -> bool {
        self.illegal
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        const HEADER: usize = size_of::<ChunkHeader>();
        if self.illegal {
            return None;
        }
        let offset = self.at;
        let rest = self.l4.get(offset..).filter(|rest| !rest.is_empty())?;
        let value = ChunkHeader::view(rest).and_then(|header| {
            let value = rest.get(HEADER..usize::from(header.length.get()))?;
            Some((header, value))
        });
        let Some((header, value)) = value else {
            self.illegal = true;
            return None;
        };
        self.at += (HEADER + value.len()).next_multiple_of(4);
        let ChunkHeader { kind, flags, length } = *header;
        Some(Chunk { kind, flags, length: length.get(), offset, value })
    }
}
