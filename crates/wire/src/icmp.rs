//! The headers of ICMP (RFC 792) and ICMPv6 (RFC 4443): the same eight bytes with other numbers.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An ICMP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcmpHeader {
    /// Message type.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum of the message (ICMPv6: and of a pseudo-header).
    pub checksum: U16,
    /// Depends on the type: identifier and sequence number, gateway, MTU, pointer.
    pub rest: [u8; 4],
}
views!(IcmpHeader);

/// An ICMPv6 header.
pub type Icmpv6Header = IcmpHeader;

impl IcmpHeader {
    /// The identifier of echo and similar messages.
    #[inline]
    pub const fn identifier(&self) -> u16 {
        let [high, low, _, _] = self.rest;
        u16::from_be_bytes([high, low])
    }

    /// The sequence number of echo and similar messages.
    #[inline]
    pub const fn sequence(&self) -> u16 {
        let [_, _, high, low] = self.rest;
        u16::from_be_bytes([high, low])
    }

    /// The MTU of "fragmentation needed" (the low 16 bits of [`Self::word`]).
    #[inline]
    pub const fn mtu(&self) -> u16 {
        self.sequence()
    }

    /// The last four bytes as one number: ICMPv6's MTU and pointer.
    #[inline]
    pub const fn word(&self) -> u32 {
        u32::from_be_bytes(self.rest)
    }
}

/// What follows the ICMP header in `l4`: of an error, the quoted packet.
#[inline]
pub fn body(l4: &[u8]) -> &[u8] {
    l4.get(size_of::<IcmpHeader>()..).unwrap_or_default()
}

/// Message types of ICMP.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable (error).
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (error).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect (error).
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded (error).
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem (error).
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Information request.
    pub const INFO: u8 = 15;
    /// Information reply.
    pub const INFO_REPLY: u8 = 16;
    /// Address mask request.
    pub const ADDRESS_MASK: u8 = 17;
    /// Address mask reply.
    pub const ADDRESS_MASK_REPLY: u8 = 18;
    /// The highest type Linux knows.
    pub const HIGHEST: u8 = 18;

    /// Whether messages of this type quote the packet they are about.
    #[inline]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }

    /// Whether messages of this type are questions and answers, told apart by an identifier.
    #[inline]
    pub const fn has_identifier(kind: u8) -> bool {
        matches!(kind, ECHO | ECHO_REPLY | TIMESTAMP..=ADDRESS_MASK_REPLY)
    }
}

/// Message types of ICMPv6.
pub mod v6 {
    /// Destination unreachable (error).
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big (error).
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded (error).
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem (error).
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query.
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast listener report.
    pub const LISTENER_REPORT: u8 = 131;
    /// Multicast listener done.
    pub const LISTENER_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Node information query.
    pub const NODE_QUERY: u8 = 139;
    /// Node information reply.
    pub const NODE_REPLY: u8 = 140;
    /// Multicast listener report, version 2.
    pub const LISTENER_REPORT_V2: u8 = 143;

    /// Whether messages of this type quote the packet they are about: all below 128.
    #[inline]
    pub const fn is_error(kind: u8) -> bool {
        kind < ECHO
    }

    /// Whether messages of this type are questions and answers, told apart by an identifier.
    #[inline]
    pub const fn has_identifier(kind: u8) -> bool {
        matches!(kind, ECHO | ECHO_REPLY)
    }
}

/// The eight bytes of an ICMP header as its `rest` in one number: for messages with an MTU or a
/// pointer.
#[inline]
pub const fn word(value: u32) -> [u8; 4] {
    U32::new(value).to_bytes()
}
