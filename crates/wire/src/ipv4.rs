//! The IPv4 header (RFC 791) and its options.

use core::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bit of [`Ipv4Header::fragmentation`]: do not fragment.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// Bit of [`Ipv4Header::fragmentation`]: more fragments follow.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Mask of [`Ipv4Header::fragmentation`]: the offset, in units of eight bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// The fixed 20 bytes of an IPv4 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high four bits) and header length in 4-byte words.
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Header and payload, in bytes.
    pub total_length: U16,
    /// Identification, common to the fragments of one datagram.
    pub identification: U16,
    /// Flags and fragment offset.
    pub fragmentation: U16,
    /// Time to live.
    pub ttl: u8,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header, options included.
    pub checksum: U16,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}
views!(Ipv4Header);

impl Ipv4Header {
    /// The version field.
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Stated header length in bytes, 0 to 60; a legal header has at least 20.
    #[inline]
    pub const fn header_length(&self) -> usize {
        ((self.version_ihl & 0x0f) as usize) * 4
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.source)
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.destination)
    }

    /// Fragment offset in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.fragmentation.get() & OFFSET_MASK) * 8
    }

    /// Whether more fragments follow.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.fragmentation.get() & MORE_FRAGMENTS != 0
    }

    /// Whether routers must not fragment.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragmentation.get() & DONT_FRAGMENT != 0
    }
}

/// The options of the header at the start of `packet`; empty if it has none or is cut before their
/// end.
pub fn options(packet: &[u8]) -> Options<'_> {
    let rest = Ipv4Header::view(packet)
        .and_then(|header| packet.get(size_of::<Ipv4Header>()..header.header_length()))
        .unwrap_or_default();
    Options { rest }
}

/// Option kinds that Linux or an iptables match names.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Security.
    pub const SECURITY: u8 = 130;
    /// Loose source route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert.
    pub const ROUTER_ALERT: u8 = 148;
}

/// One IPv4 option. `data` is what follows the length byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Option<'a> {
    /// Copied flag, class and number.
    pub kind: u8,
    /// The option's data.
    pub data: &'a [u8],
}

/// Iterator over IPv4 options: NOPs are passed over, END or an illegal length ends it.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Ipv4Option<'a>;

    fn next(&mut self) -> Option<Ipv4Option<'a>> {
        loop {
            let (&kind, after) = self.rest.split_first()?;
            match kind {
                option::END => {
                    self.rest = &[];
                    return None;
                }
                option::NOP => self.rest = after,
                _ => {
                    let length = usize::from(*after.first()?);
                    let data = self.rest.get(2..length);
                    self.rest = self.rest.get(length..).unwrap_or_default();
                    if data.is_none() {
                        self.rest = &[];
                    }
                    return data.map(|data| Ipv4Option { kind, data });
                }
            }
        }
    }
}
