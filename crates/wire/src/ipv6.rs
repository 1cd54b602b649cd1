//! The IPv6 header (RFC 8200), its extension headers, and the walk over them.
//!
//! The walk ([`skip_extensions`]) is that of the kernel's `ipv6_skip_exthdr`, because conntrack,
//! the `-p` test and NAT all go by it: hop-by-hop, routing, fragment, authentication and
//! destination options headers are passed over in any order and number, nothing in them is
//! validated, ESP and the rest are upper-layer protocols.

use core::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::protocol;

/// Mask of [`FragmentHeader::offset_more`]: the offset, which so masked counts bytes.
pub const OFFSET_MASK: u16 = 0xfff8;

/// The fixed 40 bytes of an IPv6 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: U32,
    /// Bytes after this header.
    pub payload_length: U16,
    /// What follows this header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}
views!(Ipv6Header);

impl Ipv6Header {
    /// The version field.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// Traffic class: DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.source)
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.destination)
    }
}

/// The fragment header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    /// What follows the header in the whole packet.
    pub next_header: u8,
    /// Reserved.
    pub reserved: u8,
    /// Offset (13 bits, units of eight bytes), two reserved bits, more-fragments bit.
    pub offset_more: U16,
    /// Identification, common to the fragments of one packet.
    pub identification: U32,
}
views!(FragmentHeader);

impl FragmentHeader {
    /// Fragment offset in bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        usize::from(self.offset_more.get() & OFFSET_MASK)
    }

    /// Whether more fragments follow.
    #[inline]
    pub fn more(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }
}

/// The fixed part of a routing header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RoutingHeader {
    /// What follows this header.
    pub next_header: u8,
    /// Length in units of eight bytes beyond the first eight.
    pub length: u8,
    /// Routing type: 0 source route (deprecated), 2 mobility, 4 segment routing.
    pub kind: u8,
    /// Nodes still to be visited.
    pub segments_left: u8,
}
views!(RoutingHeader);

/// The first two bytes of every extension header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtensionHeader {
    /// What follows this header.
    pub next_header: u8,
    /// Length; its unit depends on the header.
    pub length: u8,
}
views!(ExtensionHeader);

/// Whether `next_header` is one that the walk passes over (or ends at: [`protocol::NONE`]).
#[inline]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AH
            | protocol::NONE
            | protocol::DEST
    )
}

/// Where the walk over extension headers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Upper-layer protocol and its offset; none if the chain is broken, ends in
    /// [`protocol::NONE`], or belongs to a fragment other than the first.
    ///
    /// The offset may lie past the end of the bytes: the kernel looks only where it reads.
    pub upper: Option<(u8, usize)>,
    /// The first fragment header, if one is announced. It may be cut, even to nothing.
    pub fragment: Option<FragmentPlace>,
}

/// Where a fragment header stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentPlace {
    /// Offset of the fragment header.
    pub offset: usize,
    /// Offset of the next-header byte, in the header before, that announces it.
    pub announced: usize,
}

/// Walks the extension headers of the IPv6 packet `bytes`, whose fixed header says that `first`
/// follows it.
///
/// Bounded by the length of `bytes`: every step advances by at least eight bytes.
#[inline(never)]
pub fn skip_extensions(bytes: &[u8], first: u8) -> Chain {
    const NEXT_HEADER: usize = 6;
    let mut chain = Chain { upper: None, fragment: None };
    let (mut next, mut at, mut announced) = (first, size_of::<Ipv6Header>(), NEXT_HEADER);
    while is_extension(next) {
        let rest = bytes.get(at..).unwrap_or_default();
        if next == protocol::FRAGMENT && chain.fragment.is_none() && at <= bytes.len() {
            chain.fragment = Some(FragmentPlace { offset: at, announced });
        }
        let Some(header) = ExtensionHeader::view(rest) else { return chain };
        let length = match next {
            protocol::NONE => return chain,
            protocol::FRAGMENT => {
                // Half a fragment header will do: the kernel reads no more than the offset here.
                let Some(&[_, _, high, low]) = rest.first_chunk() else { return chain };
                if u16::from_be_bytes([high, low]) & OFFSET_MASK != 0 {
                    return chain;
                }
                size_of::<FragmentHeader>()
            }
            _ => extension_length(next, header.length),
        };
        announced = at;
        next = header.next_header;
        at += length;
    }
    chain.upper = Some((next, at));
    chain
}

/// Bytes of an extension header (other than fragment) whose length byte is `length`: authentication
/// headers count in 4-byte words less two, the others in 8-byte words less one.
#[inline]
pub const fn extension_length(kind: u8, length: u8) -> usize {
    match kind {
        protocol::AH => (length as usize + 2) * 4,
        _ => (length as usize + 1) * 8,
    }
}
