//! The GRE header: version 0 (RFC 2784, 2890) and PPTP's version 1 (RFC 2637).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The four bytes common to both versions.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GreHeader {
    /// Which optional fields follow, and the version (low three bits).
    pub flags: U16,
    /// EtherType of the payload.
    pub protocol: U16,
}
views!(GreHeader);

/// Flag: a checksum (and two reserved bytes) follows.
pub const CHECKSUM: u16 = 0x8000;
/// Flag: routing (obsolete); its fields are not read.
pub const ROUTING: u16 = 0x4000;
/// Flag: a key follows.
pub const KEY: u16 = 0x2000;
/// Flag: a sequence number follows.
pub const SEQUENCE: u16 = 0x1000;
/// Flag of version 1: an acknowledgment number follows.
pub const ACKNOWLEDGMENT: u16 = 0x0080;
/// EtherType of PPP, which PPTP carries.
pub const PPP: u16 = 0x880b;

impl GreHeader {
    /// The version: 0, or 1 for PPTP.
    #[inline]
    pub fn version(&self) -> u16 {
        self.flags.get() & 0x0007
    }

    /// Whether all bits of `flag` are set.
    #[inline]
    pub fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag == flag
    }
}

/// The optional fields of a version 0 header, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GreOptions {
    /// Checksum of header and payload.
    pub checksum: Option<u16>,
    /// Key.
    pub key: Option<u32>,
    /// Sequence number.
    pub sequence: Option<u32>,
    /// Where the payload starts, from the start of the GRE header.
    pub payload_offset: usize,
}

/// Reads the optional fields of the version 0 header at the start of `l4`; none if it is of another
/// version, is cut, or has the obsolete routing field.
pub fn options(l4: &[u8]) -> Option<GreOptions> {
    let header = GreHeader::view(l4)?;
    if header.version() != 0 || header.has(ROUTING) {
        return None;
    }
    let mut options =
        GreOptions { payload_offset: size_of::<GreHeader>(), ..GreOptions::default() };
    if header.has(CHECKSUM) {
        options.checksum = Some((options.take(l4)? >> 16) as u16);
    }
    if header.has(KEY) {
        options.key = Some(options.take(l4)?);
    }
    if header.has(SEQUENCE) {
        options.sequence = Some(options.take(l4)?);
    }
    Some(options)
}

impl GreOptions {
    fn take(&mut self, l4: &[u8]) -> Option<u32> {
        let word = l4.get(self.payload_offset..)?.first_chunk::<4>()?;
        self.payload_offset += 4;
        Some(u32::from_be_bytes(*word))
    }
}

/// PPTP's GRE header: version 1, up to the optional sequence and acknowledgment numbers.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PptpHeader {
    /// Flags and version.
    pub flags: U16,
    /// [`PPP`].
    pub protocol: U16,
    /// Bytes of payload.
    pub payload_length: U16,
    /// The receiver's identifier of the call.
    pub call_id: U16,
}
views!(PptpHeader);

impl PptpHeader {
    /// The header as the generic four bytes.
    #[inline]
    pub fn generic(&self) -> GreHeader {
        GreHeader { flags: self.flags, protocol: self.protocol }
    }

    /// The optional sequence and acknowledgment numbers of the version 1 header at the start of
    /// `l4`.
    pub fn numbers(l4: &[u8]) -> Option<(Option<U32>, Option<U32>)> {
        let header = Self::view(l4)?.generic();
        let mut rest = l4.get(size_of::<Self>()..)?;
        let mut take = |present: bool| -> Option<Option<U32>> {
            if !present {
                return Some(None);
            }
            let (word, after) = U32::read_from_prefix(rest).ok()?;
            rest = after;
            Some(Some(word))
        };
        let sequence = take(header.has(SEQUENCE))?;
        let acknowledgment = take(header.has(ACKNOWLEDGMENT))?;
        Some((sequence, acknowledgment))
    }
}
