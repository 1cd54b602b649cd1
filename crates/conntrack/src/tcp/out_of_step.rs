//! Segments that pass without being believed: we may be out of step with the two ends.
//!
//! A SYN in the middle of a connection, an answer to one, an ACK before the handshake: the ends may
//! know better than we do. The segment's numbers are kept, and if the answer shows that the ends
//! agree, they become the connection's. Kernel counterpart: `sIG` in `nf_conntrack_tcp_packet`.

use super::options::Offers;
use super::states::{Segment, TcpState};
use super::track::{SideFlags, TcpTrack};
use super::{Seen, Step};
use crate::decision::L4Decision;
use crate::reason::Reason;
use crate::status::Direction;

/// A segment that passes because the two ends may know better than we do: its numbers are kept,
/// so that the answer tells whether they do.
pub(super) fn out_of_step(track: &mut TcpTrack, seen: &Seen<'_>, old: TcpState) -> Step {
    let last = track.last_direction();
    if seen.segment == Segment::SynAck
        && track.last_segment() == Segment::Syn
        && last != seen.direction
        && seen.ack == track.last_end
    {
        resynchronise(track, seen.direction);
        return Step::Examine { old: TcpState::SynSent, new: TcpState::SynRecv };
    }
    track.remember(seen.segment, seen.direction);
    track.last_seq = seen.seq;
    track.last_end = seen.end;
    track.last_window = seen.window;
    if seen.segment == Segment::Syn && seen.direction == Direction::Original {
        let offers = Offers::read(seen.options);
        track.last_flags = offers.flags();
        track.last_scale = offers.scale();
        // In LAST_ACK the answer may be an ACK that is not the last one.
        if old == TcpState::LastAck {
            track.last_flags.set(SideFlags::EXPECT_CHALLENGE_ACK);
        }
    }
    if old == TcpState::SynSent
        && seen.segment == Segment::Ack
        && seen.direction == Direction::Reply
    {
        track.last_ack = seen.ack;
    }
    let Seen { segment, direction, .. } = *seen;
    Step::Done(L4Decision::Ignore(Some(Reason::TcpIgnored { segment, direction, state: old })))
}

/// The SYN/ACK from `direction` acknowledges a SYN that we had let pass: the two ends agree, and
/// we take up the numbers of that SYN.
fn resynchronise(track: &mut TcpTrack, direction: Direction) {
    let client = track.last_direction();
    track.last_flags.clear(SideFlags::EXPECT_CHALLENGE_ACK);
    track.end[client] = track.last_end;
    track.max_end[client] = track.last_end;
    track.max_window[client] = u32::from(track.last_window).max(1);
    track.scale[client] = track.last_scale;
    track.flags[client] = track.last_flags;

    track.end[direction] = 0;
    track.max_end[direction] = 0;
    track.max_window[direction] = 0;
    track.max_ack[direction] = 0;
    track.scale[direction] = 0;
    track.flags[direction] = SideFlags(track.flags[direction].0 & SideFlags::BE_LIBERAL.0);
}
