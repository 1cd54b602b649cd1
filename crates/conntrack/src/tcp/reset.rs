//! RST: does it end the connection, or is it blind?
//!
//! Blind resets must not end a connection (RFC 5961): the sequence number has to be exactly the
//! next one, unless the connection is over anyway, or the RST answers what was let pass without
//! being believed. Kernel counterpart: `TCP_CONNTRACK_CLOSE` in `nf_conntrack_tcp_packet`.

use super::states::{Segment, TcpState};
use super::track::{SideFlags, TcpTrack};
use super::window;
use super::{Seen, Step};
use crate::decision::L4Decision;
use crate::reason::Reason;
use crate::status::{Direction, Status};
use crate::tracker::L4Context;

/// A RST. Blind resets must not end a connection (RFC 5961): the sequence number has to be exactly
/// the next one, unless the connection is over anyway.
pub(super) fn reset(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
) -> Step {
    let close = TcpState::Close;
    if old.is_closing() {
        return Step::Settle { new: close };
    }
    // Both ends are known to have met: before that nobody sends challenge ACKs.
    let established = old == TcpState::Established && context.status.has(Status::ASSURED);
    let (last, last_direction) = (track.last_segment(), track.last_direction());
    // A SYN that was let pass makes the acknowledgement we know of worthless.
    if track.flags[!seen.direction].has(SideFlags::MAX_ACK_SET) && last != Segment::Syn {
        let max_ack = track.max_ack[!seen.direction];
        // Sequence number 0 before the handshake is done: most likely the answer to a SYN.
        if seen.seq == 0 && !established {
            return Step::Examine { old, new: close };
        }
        if window::before(seen.seq, max_ack) && !context.sysctls.tcp_ignore_invalid_rst {
            let reason = Reason::TcpRst { seq: seen.seq, max_ack };
            return Step::Done(L4Decision::Invalid(reason));
        }
        let train =
            last == Segment::Ack && last_direction == seen.direction && seen.seq == track.last_end;
        if !established || seen.seq == max_ack || train {
            return Step::Examine { old, new: close };
        }
        // Not exactly the next one: the other side may answer with a challenge ACK and live on.
        return after_ignored(track, context, seen, old, old);
    }
    after_ignored(track, context, seen, old, close)
}

/// A RST that may answer a segment we had let pass without believing it; then the window test
/// would compare it with the wrong numbers.
fn after_ignored(
    track: &TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    new: TcpState,
) -> Step {
    let last = track.last_segment();
    let replied = context.status.has(Status::SEEN_REPLY)
        && last == Segment::Syn
        && track.last_direction() != seen.direction;
    let half_open = !context.status.has(Status::ASSURED) && last == Segment::Ack;
    if (replied || half_open) && seen.ack == track.last_end {
        return Step::Settle { new };
    }
    let challenged = old == TcpState::SynSent
        && last == Segment::Ack
        && track.last_direction() == Direction::Reply
        && seen.seq == track.last_ack;
    if challenged { Step::Settle { new } } else { Step::Examine { old, new } }
}
