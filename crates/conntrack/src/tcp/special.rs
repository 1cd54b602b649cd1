//! Segments whose meaning depends on what went before them: reuse of a closed connection, challenge
//! ACKs, simultaneous open; a SYN or a RST out of place has a file of its own.
//!
//! Kernel counterpart: the `switch (new_state)` of `nf_conntrack_tcp_packet`.

use super::out_of_step::out_of_step;
use super::reset::reset;
use super::states::{Next, Segment, TcpState};
use super::track::{SideFlags, TcpTrack};
use super::{Seen, Step};
use crate::decision::L4Decision;
use crate::reason::Reason;
use crate::status::Direction;
use crate::tracker::L4Context;

/// Segments whose meaning depends on what went before.
#[inline(never)]
pub(super) fn special_cases(
    track: &mut TcpTrack,
    context: &L4Context<'_>,
    seen: &Seen<'_>,
    old: TcpState,
    next: Next,
) -> Step {
    let new = match next {
        Next::Invalid => {
            let Seen { segment, direction, .. } = *seen;
            return Step::Done(L4Decision::Invalid(Reason::TcpState {
                segment,
                direction,
                state: old,
            }));
        }
        Next::Ignore => return out_of_step(track, seen, old),
        Next::State(new) => new,
    };
    match new {
        // A SYN where the connection is over: a new one with the same ports (RFC 9293, 3.6.1),
        // if we know who closed the old one, or the same side reset it.
        TcpState::SynSent if old >= TcpState::TimeWait => {
            let closed = track.flags[Direction::Original].has(SideFlags::CLOSE_INIT)
                || track.flags[Direction::Reply].has(SideFlags::CLOSE_INIT);
            let reset =
                track.last_direction() == seen.direction && track.last_segment() == Segment::Rst;
            if closed || reset {
                return Step::Done(L4Decision::Repeat);
            }
            out_of_step(track, seen, old)
        }
        TcpState::TimeWait if is_challenge_ack(track, seen, old) => {
            track.last_flags.clear(SideFlags::EXPECT_CHALLENGE_ACK);
            Step::Done(L4Decision::Ignore(Some(Reason::ChallengeAck)))
        }
        TcpState::SynSent2 => {
            track.last_flags.set(SideFlags::SIMULTANEOUS_OPEN);
            Step::Examine { old, new }
        }
        // The state table alone cannot tell that after two SYNs this ACK completes the handshake.
        TcpState::SynRecv
            if seen.direction == Direction::Reply
                && seen.segment == Segment::Ack
                && track.last_flags.has(SideFlags::SIMULTANEOUS_OPEN) =>
        {
            Step::Examine { old, new: TcpState::Established }
        }
        TcpState::Close if seen.segment == Segment::Rst => reset(track, context, seen, old),
        _ => Step::Examine { old, new },
    }
}

/// An ACK in LAST_ACK that answers a SYN we let pass (RFC 5961), not the FIN.
fn is_challenge_ack(track: &TcpTrack, seen: &Seen<'_>, old: TcpState) -> bool {
    old == TcpState::LastAck
        && seen.segment == Segment::Ack
        && track.last_direction() != seen.direction
        && track.last_segment() == Segment::Syn
        && track.last_flags.has(SideFlags::EXPECT_CHALLENGE_ACK)
}
