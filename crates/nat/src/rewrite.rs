//! One end of a packet becomes what a tuple says, with every checksum moved along.
//!
//! A hook rewrites one end: the source or the destination. Which values it takes is decided long
//! before, when the connection is bound; here is only how they get into the bytes (kernel
//! `nf_nat_proto.c`). The upper layer is first, because its checksum needs the address that is
//! still there; then the address.
//!
//! What holds:
//! - checksums are moved by the difference, so that a wrong one stays wrong by as much. SCTP's CRC
//!   is the exception: it is computed anew, and right afterwards;
//! - a field that the network card is to finish follows the addresses only; an SCTP packet whose
//!   CRC the card computes keeps its field;
//! - a UDP datagram without checksum stays without, and none gets lost: 0 is sent as 0xffff;
//! - a packet too short for what is to be changed is refused untouched, and the kernel drops it;
//! - of a packet that a capture cut, what is there is rewritten. Its length is the stated one.
//!
//! Protocols without a key (and DCCP, which Linux 6.18 no longer knows) change their address alone,
//! whatever checksums they may have over it. [`icmp_error`] translates an ICMP error about a
//! connection, with what it quotes.

use core::fmt;
use core::net::IpAddr;

use stateward_conntrack::Endpoint;
use stateward_wire::checksum::Delta;
use stateward_wire::edit::{End, Field};
use stateward_wire::{Family, Ipv4Header, Ipv6Header, Layout, TcpHeader, U16, Upper, protocol};

mod icmp_error;
mod upper;

pub use icmp_error::{Related, icmp_error};

/// Why a packet cannot be translated. The kernel drops such packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Its header ends before what is to be changed.
    Short,
    /// GRE of a version above 1.
    GreVersion,
    /// An ICMP error with a wrong checksum.
    IcmpChecksum,
    /// An ICMP redirect about a connection that is translated, or may be yet.
    Redirect,
    /// There is no IP header, or the tuple is of the other family.
    Network,
    /// TCP options that cannot be walked, where numbers in them would have to be moved.
    Options,
}

impl Refusal {
    /// Every code, in the order of [`Refusal::index`].
    pub const CODES: [&'static str; 6] = [
        "nat_short",
        "nat_gre_version",
        "nat_icmp_checksum",
        "nat_redirect",
        "nat_network",
        "nat_tcp_options",
    ];

    /// The stable word of this reason.
    pub fn code(self) -> &'static str {
        Refusal::CODES.get(self.index()).copied().unwrap_or_default()
    }

    /// Its number, for counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Short => "the header ends before what NAT has to change",
            Refusal::GreVersion => "NAT knows GRE of versions 0 and 1 only",
            Refusal::IcmpChecksum => "NAT drops ICMP errors with a wrong checksum",
            Refusal::Redirect => "NAT drops redirects about what is translated",
            Refusal::Options => "TCP options that cannot be walked, of moved sequence numbers",
            Refusal::Network => "the packet is not of the connection's family",
        })
    }
}

/// Rewrites one end of the packet `bytes`, whose parts are where `layout` says; `field` says what
/// its transport checksum field holds.
///
/// # Errors
/// When the packet cannot be translated; nothing has been done then.
#[inline]
pub fn rewrite(
    bytes: &mut [u8],
    layout: Layout,
    field: Field,
    end: End,
    to: Endpoint,
) -> Result<(), Refusal> {
    if plain(bytes, layout, field, end, to).is_some() {
        return Ok(());
    }
    Piece { length: layout.length(), upper: layout.upper(), family: layout.family(), field, bytes }
        .rewrite(end, to)
}

/// As [`Piece::rewrite`] for what most packets are, TCP over IPv4 with nothing missing: both
/// headers are found at once, and no question is asked twice. `None`, and nothing done, for what is
/// not that.
#[inline(always)]
fn plain(
    bytes: &mut [u8],
    layout: Layout,
    field: Field,
    end: End,
    Endpoint { address, port }: Endpoint,
) -> Option<()> {
    let upper = layout.upper().filter(|upper| upper.protocol == protocol::TCP)?;
    let (IpAddr::V4(address), Family::V4, Field::Finished) = (address, layout.family(), field)
    else {
        return None;
    };
    let (head, l4) = bytes.split_at_mut_checked(upper.offset)?;
    let ip = Ipv4Header::view_mut(head)?;
    let l4_length = layout.length().checked_sub(upper.offset)?;
    let tcp = TcpHeader::view_mut(l4).filter(|_| l4_length >= size_of::<TcpHeader>())?;
    let (address_slot, port_slot) = match end {
        End::Source => (&mut ip.source, &mut tcp.source_port),
        End::Destination => (&mut ip.destination, &mut tcp.destination_port),
    };
    let moved = Delta::NONE.bytes(address_slot, &address.octets());
    let both = moved.u16(port_slot.get(), port);
    *address_slot = address.octets();
    port_slot.set(port);
    ip.checksum.set(moved.apply(ip.checksum.get()));
    tcp.checksum.set(both.apply(tcp.checksum.get()));
    Some(())
}

/// A packet, or one quoted in an ICMP error.
struct Piece<'a> {
    /// From the network header on.
    bytes: &'a mut [u8],
    /// Stated length, which may be more than there are bytes.
    length: usize,
    upper: Option<Upper>,
    family: Family,
    field: Field,
}

impl Piece<'_> {
    #[inline]
    fn rewrite(&mut self, end: End, to: Endpoint) -> Result<(), Refusal> {
        let Endpoint { address, port } = to;
        let moved = self.moved(end, address).ok_or(Refusal::Network)?;
        if let Some(upper) = self.upper {
            self.rewrite_upper(upper, end, upper::Change { port, address: moved })?;
        }
        self.set_address(end, address).ok_or(Refusal::Network)
    }

    /// By how much a new address moves a checksum over the pseudo-header; none if it is of another
    /// family than the packet.
    #[inline]
    fn moved(&self, end: End, address: IpAddr) -> Option<Delta> {
        match (self.family, address) {
            (Family::V4, IpAddr::V4(address)) => {
                let header = Ipv4Header::view(self.bytes)?;
                let old = match end {
                    End::Source => &header.source,
                    End::Destination => &header.destination,
                };
                Some(Delta::NONE.bytes(old, &address.octets()))
            }
            (Family::V6, IpAddr::V6(address)) => {
                let header = Ipv6Header::view(self.bytes)?;
                let old = match end {
                    End::Source => &header.source,
                    End::Destination => &header.destination,
                };
                Some(Delta::NONE.bytes(old, &address.octets()))
            }
            _ => None,
        }
    }

    #[inline]
    fn set_address(&mut self, end: End, address: IpAddr) -> Option<()> {
        match address {
            IpAddr::V4(address) => {
                let header = Ipv4Header::view_mut(self.bytes)?;
                let slot = match end {
                    End::Source => &mut header.source,
                    End::Destination => &mut header.destination,
                };
                let moved = Delta::NONE.bytes(slot, &address.octets());
                *slot = address.octets();
                header.checksum = U16::new(moved.apply(header.checksum.get()));
            }
            IpAddr::V6(address) => {
                let header = Ipv6Header::view_mut(self.bytes)?;
                let slot = match end {
                    End::Source => &mut header.source,
                    End::Destination => &mut header.destination,
                };
                *slot = address.octets();
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
