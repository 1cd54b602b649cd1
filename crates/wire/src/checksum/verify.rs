//! Is a packet's transport checksum right?
//!
//! The answer follows conntrack's own check (`nf_checksum`), which sums the whole IP payload,
//! whatever UDP's length field says, and it adds what captures need: a packet made by the capturing
//! host still has only the pseudo-header's sum in the field, and a cut packet cannot be checked.

use super::{Sum, pseudo_header};
use crate::gre::{self, GreHeader};
use crate::{Family, IcmpHeader, Packet, SctpHeader, TcpHeader, UdpHeader, protocol};

/// What was found about a transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verification {
    /// It is right, or the protocol has none.
    Good,
    /// UDP without a checksum.
    Zero,
    /// Left to the sending host's network card: the field holds the pseudo-header's sum (SCTP:
    /// zero).
    Unfinished,
    /// It is wrong, or the header is too short to have one.
    Bad,
    /// The packet is cut, or a fragment other than the first.
    Unverifiable,
}

/// Whether the checksum of a whole TCP segment or UDP datagram sums up: nearly every one does.
/// Where it does not, [`verify_transport`] says what there is to be said.
pub fn is_good(packet: &Packet<'_>, protocol: u8) -> bool {
    let l4 = packet.l4();
    l4.len() == packet.l4_length()
        && sums_up(pseudo_header(packet.network(), protocol, l4.len()).bytes(l4))
}

/// Checks the transport checksum of `packet`.
///
/// `protocol` is the one that goes into the pseudo-header: the packet's own. UDP-Lite may be given
/// [`protocol::UDP`] instead, to be judged as Linux 6.18's conntrack does: it sums that protocol,
/// and over IPv4 only the low eight bits of the length (found by running it).
pub fn verify_transport(packet: &Packet<'_>, protocol: u8) -> Verification {
    // A later fragment has no upper layer; a first one is taken as it is, as the kernel does with
    // those that its reassembly lets pass.
    let Some(upper) = packet.upper() else { return Verification::Unverifiable };
    if packet.is_cut() {
        return Verification::Unverifiable;
    }
    let l4 = packet.l4();
    let pseudo = |length| pseudo_header(packet.network(), protocol, length);
    match upper.protocol {
        protocol::TCP => match TcpHeader::view(l4) {
            Some(header) => internet(l4, header.checksum.get(), pseudo),
            None => Verification::Bad,
        },
        protocol::UDP => match UdpHeader::view(l4) {
            Some(header) if header.checksum.get() == 0 => Verification::Zero,
            Some(header) => internet(l4, header.checksum.get(), pseudo),
            None => Verification::Bad,
        },
        protocol::UDPLITE => udp_lite(l4, pseudo(udp_lite_length(packet, protocol))),
        protocol::ICMPV6 => match IcmpHeader::view(l4) {
            Some(header) => internet(l4, header.checksum.get(), pseudo),
            None => Verification::Bad,
        },
        // Linux sums the IP header along, which is neither here nor there but for a message of
        // zeroes.
        protocol::ICMP => {
            let sum = Sum::of(l4);
            good_if(l4.len() >= size_of::<IcmpHeader>() && (sums_up(sum) || sum.fold() == 0))
        }
        protocol::SCTP => sctp(l4),
        protocol::GRE => gre(l4),
        _ => Verification::Good,
    }
}

#[inline]
fn good_if(good: bool) -> Verification {
    if good { Verification::Good } else { Verification::Bad }
}

#[inline]
fn sums_up(sum: Sum) -> bool {
    sum.fold() == 0xffff
}

/// A checksum over a pseudo-header and all of `l4`. Network cards that cut superpackets take the
/// pseudo-header's sum without the length, so that is "unfinished" as well.
#[inline]
fn internet(l4: &[u8], field: u16, pseudo: impl Fn(usize) -> Sum) -> Verification {
    if sums_up(pseudo(l4.len()).bytes(l4)) {
        return Verification::Good;
    }
    unfinished(l4, field, pseudo)
}

#[inline(never)]
fn unfinished(l4: &[u8], field: u16, pseudo: impl Fn(usize) -> Sum) -> Verification {
    if field == pseudo(l4.len()).fold() || field == pseudo(0).fold() {
        return Verification::Unfinished;
    }
    Verification::Bad
}

/// UDP-Lite: the sum ends where the header says; there is no datagram without one.
fn udp_lite(l4: &[u8], pseudo: Sum) -> Verification {
    let covered = UdpHeader::view(l4)
        .filter(|header| header.checksum.get() != 0)
        .and_then(|header| header.coverage(l4.len()))
        .and_then(|covered| l4.get(..covered));
    match covered {
        Some(covered) => good_if(sums_up(pseudo.bytes(covered))),
        None => Verification::Bad,
    }
}

/// The length that UDP-Lite's pseudo-header is summed with: see [`verify_transport`].
fn udp_lite_length(packet: &Packet<'_>, protocol: u8) -> usize {
    match (packet.family(), protocol) {
        (Family::V4, protocol::UDP) => packet.l4_length() & 0xff,
        _ => packet.l4_length(),
    }
}

fn sctp(l4: &[u8]) -> Verification {
    match SctpHeader::view(l4) {
        Some(header) if header.checksum == super::sctp(l4) => Verification::Good,
        Some(header) if header.checksum == [0; 4] => Verification::Unfinished,
        _ => Verification::Bad,
    }
}

fn gre(l4: &[u8]) -> Verification {
    match GreHeader::view(l4) {
        Some(header) if header.version() == 0 && header.has(gre::CHECKSUM) => {
            good_if(sums_up(Sum::of(l4)))
        }
        Some(_) => Verification::Good,
        None => Verification::Bad,
    }
}
