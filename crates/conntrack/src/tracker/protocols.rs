//! What the tracker hands a protocol, and which protocol: one table for all of them.
//!
//! A protocol is a function from its 56 bytes of an entry, an [`L4Context`] and a packet to an
//! [`L4Decision`]. Who adds one enters it in [`l4_packet`] and [`has_tracker`]. Kernel counterpart:
//! `nf_conntrack_handle_packet` and, for the checksum, `nf_checksum`.

use stateward_wire::checksum::{Verification, verify_transport};
use stateward_wire::{Packet, protocol};
use zerocopy::transmute_mut;

use super::Unfinished;
use crate::decision::{Accept, L4Decision};
use crate::entry::Entry;
use crate::reason::Reason;
use crate::status::{Direction, Status};
use crate::sysctl::{Sysctls, span};
use crate::time::{Instant, Span};
use crate::{gre, icmp, icmpv6, sctp, tcp, udp};

/// What a protocol may know of the connection and the packet's circumstances.
pub(crate) struct L4Context<'a> {
    pub(crate) sysctls: &'a Sysctls,
    pub(crate) direction: Direction,
    pub(crate) status: Status,
    /// The packet begins the connection.
    pub(crate) is_new: bool,
    pub(crate) now: Instant,
    /// What is left of the connection's timeout.
    pub(crate) remaining: Span,
    /// `None`: checksums are not verified.
    pub(super) verify: Option<Unfinished>,
}

impl L4Context<'_> {
    /// Verifies a packet's checksum, if that is asked for.
    #[inline]
    pub(crate) fn verify_checksum(&self, packet: &Packet<'_>, protocol: u8) -> Result<(), Reason> {
        match self.verify {
            None => Ok(()),
            Some(unfinished) => verify(packet, protocol, unfinished),
        }
    }
}

fn verify(packet: &Packet<'_>, protocol: u8, unfinished: Unfinished) -> Result<(), Reason> {
    // Linux 6.18 sums UDP-Lite's pseudo-header with UDP's number.
    let summed = if protocol == protocol::UDPLITE { protocol::UDP } else { protocol };
    match verify_transport(packet, summed) {
        Verification::Good | Verification::Zero | Verification::Unverifiable => Ok(()),
        Verification::Unfinished if unfinished == Unfinished::Good => Ok(()),
        Verification::Unfinished | Verification::Bad => Err(Reason::BadChecksum { protocol }),
    }
}

/// Hands a packet to its protocol.
#[inline]
pub(super) fn l4_packet(
    entry: &mut Entry,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    match entry.original.protocol {
        protocol::TCP => tcp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::UDP => udp::packet(transmute_mut!(&mut entry.l4), context, packet),
        _ => other_l4_packet(entry, context, packet),
    }
}

/// As [`l4_packet`] for the protocols that are not most of the traffic: apart, so that those that
/// are have the registers.
#[inline(never)]
fn other_l4_packet(entry: &mut Entry, context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    match entry.original.protocol {
        protocol::ICMP => icmp::packet(context, packet),
        protocol::ICMPV6 => icmpv6::packet(context, packet),
        protocol::SCTP => sctp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::GRE => gre::packet(transmute_mut!(&mut entry.l4), context),
        protocol::UDPLITE => udp::lite_packet(context, packet),
        // Whatever has no tracker: one flow for each pair of addresses, and a long timeout.
        _ => L4Decision::Accept(Accept::refresh(span(context.sysctls.generic_timeout))),
    }
}

/// Whether the protocol has a tracker of its own.
pub(super) const fn has_tracker(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::TCP
            | protocol::UDP
            | protocol::UDPLITE
            | protocol::ICMP
            | protocol::ICMPV6
            | protocol::SCTP
            | protocol::GRE
    )
}
