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
use crate::entry::{Entry, Flags};
use crate::reason::Reason;
use crate::seqadj::SeqAdjust;
use crate::status::{Direction, Status};
use crate::sysctl::{Sysctls, span};
use crate::time::{Instant, Span};
use crate::{gre, icmp, icmpv6, sctp, tcp, udp};

/// What a protocol may know of the connection and the packet's circumstances.
pub(crate) struct L4Context<'a> {
    pub(crate) sysctls: &'a Sysctls,
    /// Whose timeouts count: those of the connection's policy, if it has one.
    pub(crate) timeouts: &'a Sysctls,
    pub(crate) direction: Direction,
    pub(crate) status: Status,
    /// The packet begins the connection.
    pub(crate) is_new: bool,
    pub(crate) now: Instant,
    /// What is left of the connection's timeout.
    pub(crate) remaining: Span,
    /// `None`: checksums are not verified.
    pub(crate) verify: Option<Unfinished>,
    /// What has been added to the numbers that the packet acknowledges.
    pub(crate) moved: SeqAdjust,
}

/// What the steady ways of the protocols need to know: of an [`L4Context`] the part that differs.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) sysctls: &'a Sysctls,
    pub(crate) now: Instant,
    pub(crate) direction: Direction,
    /// Checksums are verified.
    pub(crate) verify: bool,
}

impl<'a> L4Context<'a> {
    /// Of a packet of a connection in the table.
    #[inline(always)]
    pub(super) fn of(
        entry: &Entry,
        sysctls: &'a Sysctls,
        direction: Direction,
        now: Instant,
        verify: Option<Unfinished>,
    ) -> L4Context<'a> {
        let remaining = now.until(entry.deadline());
        L4Context {
            sysctls,
            timeouts: sysctls,
            direction,
            status: entry.status,
            is_new: false,
            now,
            remaining,
            verify,
            moved: SeqAdjust::default(),
        }
    }

    /// Of a packet that begins a connection.
    #[inline(always)]
    pub(super) fn of_first(
        entry: &Entry,
        sysctls: &'a Sysctls,
        now: Instant,
        verify: Option<Unfinished>,
    ) -> L4Context<'a> {
        L4Context {
            sysctls,
            timeouts: sysctls,
            direction: Direction::Original,
            status: entry.status,
            is_new: true,
            now,
            remaining: Span(0),
            verify,
            moved: SeqAdjust::default(),
        }
    }

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

/// What most packets are to a connection that stands: they set its timeout anew, to what this
/// gives, and change nothing else that the tracker knows of. `None`, and nothing done:
/// [`l4_packet`] decides.
#[inline(always)]
pub(super) fn steady(
    entry: &mut Entry,
    circumstances: Circumstances<'_>,
    packet: &Packet<'_>,
) -> Option<Span> {
    const STANDS: u16 = Status::SEEN_REPLY.0 | Status::ASSURED.0;
    // What has a policy has other timeouts.
    if entry.flags.has(Flags::POLICY)
        || entry.status.0 & (STANDS | Status::FIXED_TIMEOUT.0 | Status::SEQ_ADJUST.0) != STANDS
    {
        return None;
    }
    match entry.original.protocol {
        protocol::TCP => tcp::steady(transmute_mut!(&mut entry.l4), circumstances, packet),
        protocol::UDP => udp::steady(transmute_mut!(&mut entry.l4), circumstances, packet),
        _ => None,
    }
}

/// Hands a packet to its protocol.
#[inline(always)]
pub(super) fn l4_packet(
    entry: &mut Entry,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    match entry.original.protocol {
        protocol::TCP => tcp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::UDP => udp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::ICMP => icmp::packet(context, packet),
        protocol::ICMPV6 => icmpv6::packet(context, packet),
        protocol::SCTP => sctp::packet(transmute_mut!(&mut entry.l4), context, packet),
        protocol::GRE => gre::packet(transmute_mut!(&mut entry.l4), context),
        protocol::UDPLITE => udp::lite_packet(context, packet),
        // Whatever has no tracker: one flow for each pair of addresses, and a long timeout.
        _ => L4Decision::Accept(Accept::refresh(span(context.timeouts.generic_timeout))),
    }
}

/// Whether the protocol has a tracker of its own.
pub(crate) const fn has_tracker(protocol: u8) -> bool {
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
