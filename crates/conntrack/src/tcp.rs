//! TCP: the state of a connection as the machine in the middle sees it.
//!
//! Every packet passes through us but may be lost behind us, and we may have missed what came
//! before. So a state says what has been *seen*: FIN_WAIT that a FIN of either side went by,
//! CLOSE_WAIT that it was acknowledged, LAST_ACK that the other side's FIN went by too. A packet
//! takes this way:
//!
//! 1. [`check`]: is this a TCP segment at all (length, checksum, flags)?
//! 2. [`mod@open`]: without an entry, may it start one?
//! 3. [`states`]: what would it do to the state?
//! 4. [`special`]: segments whose meaning depends on what went before them (challenge ACKs,
//!    simultaneous open, reuse of a closed connection; [`mod@out_of_step`] a SYN or its answer out
//!    of place; [`mod@reset`] a RST).
//! 5. [`window`]: does it fit what both sides have sent and acknowledged?
//! 6. [`settle`]: the new state and its timeout ([`timeouts`]).
//!
//! The plain ACKs of a connection that stands go through [`steady`], which is this way without its
//! branches.
//!
//! What is kept of a connection is a [`TcpTrack`]. Kernel counterpart: `nf_conntrack_proto_tcp.c`.
//! Sources: RFC 9293, RFC 7323 (scaling), RFC 2018 (SACK), RFC 5961 (challenge ACK), and van
//! Rooij's "Real Stateful TCP Packet Filtering".

mod open;
mod options;
mod out_of_step;
mod reset;
mod special;
mod states;
mod timeouts;
mod track;
mod window;

use stateward_wire::{Packet, TcpFlags, TcpHeader, checksum, protocol};

use crate::decision::{Accept, L4Decision};
use crate::event::EventMask;
use crate::reason::Reason;
use crate::status::{Direction, Status};
use crate::sysctl::span;
use crate::time::Span;
use crate::tracker::{Circumstances, L4Context};
use open::open;
use special::special_cases;
use states::Next;
pub use states::{Segment, TcpState};
pub use timeouts::Timeouts;
use timeouts::{Retransmissions, timeout};
use track::SideFlags;
pub use track::{TcpInfo, TcpSide};
pub(crate) use track::{TcpTrack, is_over_and_behind};
use window::{Verdict, Window};

/// A segment as the tracker needs it: read once, all numbers in host order.
struct Seen<'a> {
    flags: TcpFlags,
    /// The header's options, as many as are there.
    options: &'a [u8],
    segment: Segment,
    direction: Direction,
    seq: u32,
    /// `seq` plus payload, plus one each for SYN and FIN.
    end: u32,
    ack: u32,
    /// How far acknowledgements are off, because what they acknowledge was edited.
    moved: i32,
    window: u16,
}

/// What nearly every segment is: an ACK of a connection in ESTABLISHED, inside the window. Gives
/// the new timeout; `None`, and nothing done, for any other segment. What it gives is what
/// [`packet`] would give, by the same equations, without the ways that such a segment does not
/// take. The caller knows that the connection is ASSURED and has SEEN_REPLY.
#[inline(never)]
pub(crate) fn steady(
    track: &mut TcpTrack,
    circumstances: Circumstances<'_>,
    packet: &Packet<'_>,
) -> Option<Span> {
    let l4 = packet.l4();
    let header = TcpHeader::view(l4)?;
    if !states::is_plain_ack(header.flags()) || track.state != TcpState::Established as u8 {
        return None;
    }
    let header_length = header.header_length();
    let options = l4.get(size_of::<TcpHeader>()..header_length)?;
    let payload = packet.l4_length().checked_sub(header_length)? as u32;
    if circumstances.verify && !checksum::is_good(packet, protocol::TCP) {
        return None;
    }
    let seq = header.sequence.get();
    let seen = Seen {
        // What else is set tells nothing.
        flags: TcpFlags::ACK,
        options,
        segment: Segment::Ack,
        direction: circumstances.direction,
        seq,
        end: seq.wrapping_add(payload),
        ack: header.acknowledgment.get(),
        // Else the connection would not come this way.
        moved: 0,
        window: header.window.get(),
    };
    if !window::steady(track, &seen) {
        return None;
    }
    track.remember(Segment::Ack, seen.direction);
    let sysctls = circumstances.sysctls;
    let timeouts = (&sysctls.tcp, Retransmissions(sysctls.tcp_max_retrans));
    Some(timeout(track, timeouts, Segment::Ack, TcpState::Established))
}

/// One segment of a connection, or of one that would be.
#[inline]
pub(crate) fn packet(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    let seen = match check(context, packet) {
        Ok(seen) => seen,
        Err(reason) => return L4Decision::Invalid(reason),
    };
    if context.is_new
        && let Err(reason) = open(track, &seen, context.sysctls)
    {
        return L4Decision::Invalid(reason);
    }
    let old = track.state();
    let step = match states::next(seen.direction, seen.segment, old) {
        Next::State(TcpState::Established) => Step::Examine { old, new: TcpState::Established },
        next => special_cases(track, context, &seen, old, next),
    };
    match step {
        Step::Examine { old, new } => examine(track, context, &seen, old, new),
        Step::Settle { new } => settle(track, context, &seen, old, new),
        Step::Done(decision) => decision,
    }
}

/// Whether the segment can be one at all: kernel `tcp_error`.
#[inline]
fn check<'a>(context: &L4Context<'_>, packet: &Packet<'a>) -> Result<Seen<'a>, Reason> {
    let l4 = packet.l4();
    let header = TcpHeader::view(l4).ok_or(Reason::ShortHeader { protocol: protocol::TCP })?;
    let header_length = header.header_length();
    if header_length < size_of::<TcpHeader>() || header_length > packet.l4_length() {
        return Err(Reason::BadLength { protocol: protocol::TCP });
    }
    context.verify_checksum(packet, protocol::TCP)?;
    let flags = header.flags();
    if !states::flags_are_legal(flags) {
        return Err(Reason::TcpFlags { flags: flags.0 });
    }
    let seq = header.sequence.get();
    let length = (packet.l4_length() - header_length) as u32
        + u32::from(flags.syn())
        + u32::from(flags.fin());
    Ok(Seen {
        flags,
        options: l4.get(size_of::<TcpHeader>()..header_length.min(l4.len())).unwrap_or_default(),
        segment: Segment::of(flags),
        direction: context.direction,
        seq,
        end: seq.wrapping_add(length),
        ack: header.acknowledgment.get(),
        moved: context.moved.offset(header.acknowledgment.get().wrapping_sub(1)),
        window: header.window.get(),
    })
}

/// Where a segment goes from the state table.
enum Step {
    /// To the window test, and on to this state; the old one may have been corrected.
    Examine { old: TcpState, new: TcpState },
    /// Past the window test.
    Settle { new: TcpState },
    /// Nowhere.
    Done(L4Decision),
}

/// The window test and what follows from it.
#[inline]
fn examine(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> L4Decision {
    let window = Window { liberal: context.sysctls.tcp_be_liberal, state: track.state() };
    match window.test(track, seen) {
        Verdict::Accept => settle(track, context, seen, old, new),
        Verdict::Ignore(reason) => L4Decision::Ignore(Some(reason)),
        Verdict::Invalid(reason) => invalid(track, context, seen, reason),
    }
}

/// Out of the window. If both sides end the connection with numbers we do not believe, it would
/// stay in the table for days: it is given no longer than unacknowledged data.
#[inline(never)]
fn invalid(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    reason: Reason,
) -> L4Decision {
    /// Below this the end is near enough.
    const ENOUGH: Span = Span::secs(120);
    let ends = |segment| matches!(segment, Segment::Rst | Segment::Fin);
    let fixed = context.status.has(Status::FIXED_TIMEOUT);
    if !context.status.has(Status::ASSURED) || fixed || !ends(seen.segment) {
        return L4Decision::Invalid(reason);
    }
    if track.last_direction() != seen.direction && ends(track.last_segment()) {
        let limit = span(context.timeouts.tcp.unacknowledged);
        let remaining = context.remaining.in_ticks();
        if remaining >= ENOUGH && remaining > limit {
            return L4Decision::InvalidShorten(reason, limit);
        }
    } else {
        track.remember(seen.segment, seen.direction);
    }
    L4Decision::Invalid(reason)
}

/// The segment is believed: the new state and its timeout.
#[inline(always)]
fn settle(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> L4Decision {
    track.remember(seen.segment, seen.direction);
    track.state = new as u8;
    if old != new && new == TcpState::FinWait {
        track.flags[seen.direction].set(SideFlags::CLOSE_INIT);
    }
    let timeouts = (&context.timeouts.tcp, Retransmissions(context.sysctls.tcp_max_retrans));
    let mut accept = Accept::refresh(timeout(track, timeouts, seen.segment, new));
    if old != new {
        accept.events = EventMask::PROTOINFO;
    }
    if !context.status.has(Status::SEEN_REPLY) {
        if seen.flags.rst() {
            return L4Decision::Kill;
        }
        // A SYN sent again does not keep the entry: else a client that reuses its port, or a NAT
        // in front of it, would hold it for ever.
        if seen.segment == Segment::Syn && old == TcpState::SynSent {
            accept.timeout = None;
            return L4Decision::Accept(accept);
        }
        // Picked up in the middle and one-sided so far.
        let limit = span(context.timeouts.tcp.unacknowledged);
        if new == TcpState::Established {
            accept.timeout = accept.timeout.map(|timeout| timeout.min(limit));
        }
    } else if !context.status.has(Status::ASSURED)
        && matches!(old, TcpState::SynRecv | TcpState::Established)
        && new == TcpState::Established
    {
        accept.assured = true;
    }
    L4Decision::Accept(accept)
}

#[cfg(test)]
mod tests;
