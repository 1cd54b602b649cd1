//! Packet headers as views over bytes: parse, edit in place with checksums kept. Knows no state.
//!
//! A packet enters here once: [`Packet::parse`] accepts or refuses what Linux's `ip_rcv` and
//! `ipv6_rcv` accept or refuse and remembers where the upper-layer header starts; everything else
//! reads through that. The quotation inside an ICMP error, judged by far laxer rules, is
//! [`Embedded`].
//!
//! One file per header family; a header is a `#[repr(C)]` struct laid over the bytes (`X::view`),
//! never a copy. Reading cannot fail but by absence: no function here panics, allocates or formats
//! on packet bytes, except the builders in [`compose`], which make packets for tests and for the
//! host's own ICMP errors.
//!
//! - [`checksum`]: the Internet checksum, whole and by increments, and the verdict on a packet's
//!   transport checksum.
//! - [`edit`]: the few rewrites that NAT and forwarding need, each of which keeps the checksums
//!   right.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// Gives a header struct its views over bytes.
macro_rules! views {
    ($header:ty) => {
        impl $header {
            /// The header at the start of `bytes`, if they hold all of its fixed part.
            #[inline]
            pub fn view(bytes: &[u8]) -> Option<&Self> {
                zerocopy::FromBytes::ref_from_prefix(bytes).ok().map(|(header, _)| header)
            }

            /// The header at the start of `bytes`, to write to. No checksum follows the writes.
            #[inline]
            pub fn view_mut(bytes: &mut [u8]) -> Option<&mut Self> {
                zerocopy::FromBytes::mut_from_prefix(bytes).ok().map(|(header, _)| header)
            }
        }
    };
}

pub mod checksum;
pub mod compose;
pub mod dccp;
pub mod edit;
mod embedded;
pub mod ethernet;
mod family;
pub mod gre;
pub mod icmp;
pub mod ipsec;
pub mod ipv4;
pub mod ipv6;
mod malformed;
mod packet;
pub mod protocol;
pub mod sctp;
pub mod tcp;
pub mod udp;

pub use dccp::DccpHeader;
pub use embedded::Embedded;
pub use ethernet::EthernetHeader;
pub use family::Family;
pub use icmp::{IcmpHeader, Icmpv6Header};
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use malformed::Malformed;
pub use packet::{Fragment, Layout, Network, Packet, Upper};
pub use sctp::SctpHeader;
pub use tcp::{TcpFlags, TcpHeader};
pub use udp::UdpHeader;
pub use zerocopy::network_endian::{U16, U32};
