//! Window tracking: may this segment have been sent, given what both sides have said?
//!
//! With sender S and receiver R, where `sack` is the highest acknowledgement in the segment:
//! - (1) `seq ≤ S.max_end`: not beyond what R's window allows
//! - (2) `end ≥ S.end − R.max_window`: not older than a window
//! - (3) `sack ≤ R.end`: acknowledges only what was sent
//! - (4) `sack ≥ R.end − max(66000, S.max_window)`: not out of date
//!
//! The windows are not those of the ends: a segment may be lost behind us, so what counts is the
//! most that either side can have allowed. (1) and (3) make a segment INVALID; (2) and (4) only
//! make it old, and it passes without being believed.

use super::options::{Offers, highest_sack};
use super::{Seen, Segment, SideFlags, TcpState, TcpTrack};
use crate::reason::Reason;
use crate::status::Direction;

/// How far behind an acknowledgement may be, at least: the largest unscaled window and some.
const MIN_ACK_WINDOW: u32 = 66_000;

/// `a < b` in sequence space.
#[inline]
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// `a > b` in sequence space.
#[inline]
pub(super) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// What the test finds.
pub(super) enum Verdict {
    /// Inside, or outside but let be because the side is not checked.
    Accept,
    /// Old: passes, changes nothing.
    Ignore(Reason),
    /// Outside.
    Invalid(Reason),
}

/// The test's settings.
pub(super) struct Window {
    /// nf_conntrack_tcp_be_liberal.
    pub(super) liberal: bool,
    /// The connection's state before this segment.
    pub(super) state: TcpState,
}

/// The numbers of a segment as the equations use them.
struct Numbers {
    seq: u32,
    end: u32,
    ack: u32,
    sack: u32,
}

/// Tests a plain ACK of a connection in ESTABLISHED and, if it is inside, lets both sides learn
/// from it. False, and nothing learnt: that is for [`Window::test`] to judge.
#[inline(always)]
pub(super) fn steady(track: &mut TcpTrack, seen: &Seen<'_>) -> bool {
    let (sender, receiver) = (seen.direction, !seen.direction);
    if track.max_window[sender] == 0 {
        return false;
    }
    let sack = if track.flags[receiver].has(SideFlags::SACK_PERMITTED) {
        highest_sack(seen.options, seen.ack)
    } else {
        seen.ack
    };
    let n = Numbers { seq: seen.seq, end: seen.end, ack: seen.ack, sack };
    if equations(track, sender, &n).is_err() {
        return false;
    }
    learn(track, seen, &n);
    true
}

impl Window {
    /// Tests a segment and, if it is inside, lets both sides learn from it.
    #[inline]
    pub(super) fn test(&self, track: &mut TcpTrack, seen: &Seen<'_>) -> Verdict {
        let (sender, receiver) = (seen.direction, !seen.direction);
        let sack = if track.flags[receiver].has(SideFlags::SACK_PERMITTED) {
            highest_sack(seen.options, seen.ack)
        } else {
            seen.ack
        };
        let moved = |number: u32| number.wrapping_sub(seen.moved as u32);
        let (ack, sack) = (moved(seen.ack), moved(sack));
        let mut n = Numbers { seq: seen.seq, end: seen.end, ack, sack };
        if (track.max_window[sender] == 0 || seen.flags.syn())
            && self.first_sight(track, seen, n.sack)
        {
            return Verdict::Accept;
        }
        // Without ACK, or in a RST/ACK of 0, there is nothing to acknowledge: as if up to date.
        if !seen.flags.ack() || (seen.flags.rst() && n.ack == 0) {
            n.ack = track.end[receiver];
            n.sack = n.ack;
        }
        // A RST that answers a SYN may carry no sequence number.
        if seen.flags.rst() && n.seq == 0 && self.state == TcpState::SynSent {
            n.seq = track.end[sender];
            n.end = n.seq;
        }
        match equations(track, sender, &n) {
            Ok(()) => {
                learn(track, seen, &n);
                Verdict::Accept
            }
            Err(outside) => self.judge(track, sender, outside),
        }
    }

    /// A side that is seen for the first time, or starts over with a new SYN. True: that was all,
    /// the segment is inside by definition.
    #[inline(never)]
    fn first_sight(&self, track: &mut TcpTrack, seen: &Seen<'_>, sack: u32) -> bool {
        let sender = seen.direction;
        let syn = seen.flags.syn();
        if track.max_window[sender] == 0 {
            if syn {
                start(track, seen);
                // Simultaneous open: the other side's SYN, which acknowledges nothing.
                return !seen.flags.ack();
            }
            middle(track, seen, sack);
        } else if matches!(self.state, TcpState::SynSent | TcpState::SynRecv)
            && after(seen.end, track.end[sender])
        {
            // RFC 9293: a TCP that starts over uses numbers above those it used before.
            start(track, seen);
            return seen.direction == Direction::Reply && !seen.flags.ack();
        }
        false
    }

    /// Outside the window: what follows depends on which equation failed and on who asks.
    #[inline(never)]
    fn judge(&self, track: &mut TcpTrack, sender: Direction, outside: Outside) -> Verdict {
        let (reason, ignore) = match outside {
            Outside::Invalid(reason) => (reason, false),
            Outside::Old(reason) => (reason, true),
            Outside::Overshot { bytes, end } => {
                // Some TCPs send a little more than they may. If the receiver takes it, its ACK
                // must not look like one for data we have not seen.
                track.end[sender] = end;
                track.flags[sender].set(SideFlags::DATA_UNACKNOWLEDGED);
                (Reason::Overshot { bytes }, true)
            }
        };
        if self.liberal || track.flags[sender].has(SideFlags::BE_LIBERAL) {
            Verdict::Accept
        } else if ignore {
            Verdict::Ignore(reason)
        } else {
            Verdict::Invalid(reason)
        }
    }
}

/// A SYN or SYN/ACK sets the sender's numbers.
fn start(track: &mut TcpTrack, seen: &Seen<'_>) {
    let (sender, receiver) = (seen.direction, !seen.direction);
    track.end[sender] = seen.end;
    track.max_end[sender] = seen.end;
    track.max_window[sender] = u32::from(seen.window).max(1);
    Offers::read(seen.options).apply(track, sender);
    // Scaling needs both sides (RFC 7323); the second to speak decides.
    let both = track.flags[sender].has(SideFlags::WINDOW_SCALE)
        && track.flags[receiver].has(SideFlags::WINDOW_SCALE);
    if sender == Direction::Reply && !both {
        track.scale[sender] = 0;
        track.scale[receiver] = 0;
    }
}

/// The first segment of a side in the middle of a connection.
fn middle(track: &mut TcpTrack, seen: &Seen<'_>, sack: u32) {
    let (sender, receiver) = (seen.direction, !seen.direction);
    let window = (u32::from(seen.window) << track.scale[sender]).max(1);
    track.end[sender] = seen.end;
    track.max_window[sender] = window;
    track.max_end[sender] = seen.end.wrapping_add(window);
    if track.max_window[receiver] == 0 {
        // Nothing is known of the other side: (3) and (4) must hold until it is seen.
        track.end[receiver] = sack;
        track.max_end[receiver] = sack;
    } else if sack == track.end[receiver].wrapping_add(1) {
        // The answer to a keep-alive, which is one byte behind: without this (3) would fail.
        track.end[receiver] = track.end[receiver].wrapping_add(1);
    }
}

/// How a segment is outside.
enum Outside {
    Invalid(Reason),
    Old(Reason),
    Overshot { bytes: u32, end: u32 },
}

/// The four equations.
#[inline(always)]
fn equations(track: &TcpTrack, sender: Direction, n: &Numbers) -> Result<(), Outside> {
    let receiver = !sender;
    let max_end = track.max_end[sender];
    let receiver_end = track.end[receiver];
    let receiver_window = track.max_window[receiver];
    // (2) and (4), as the lowest number that is still inside.
    let oldest = track.end[sender].wrapping_sub(receiver_window);
    let ack_window = track.max_window[sender].max(MIN_ACK_WINDOW);
    let oldest_ack = receiver_end.wrapping_sub(ack_window);

    if after(n.seq, max_end) {
        // (1)
        let bytes = n.end.wrapping_sub(max_end).wrapping_add(1);
        let rest_holds = receiver_window != 0
            && !before(n.end, oldest)
            && !before(n.sack, oldest_ack)
            && !after(n.sack, receiver_end);
        if rest_holds && bytes <= receiver_window {
            return Err(Outside::Overshot { bytes, end: n.end });
        }
        let reason = Reason::SeqOverUpperBound { seq: n.seq, maximum: max_end };
        return Err(Outside::Invalid(reason));
    }
    if after(n.sack, receiver_end) {
        // (3)
        let reason = Reason::AckOverUpperBound { ack: n.sack, maximum: receiver_end };
        return Err(Outside::Invalid(reason));
    }
    if receiver_window != 0 && before(n.end, oldest) {
        // (2)
        let reason = Reason::SeqUnderLowerBound { end: n.end, minimum: oldest };
        return Err(Outside::Old(reason));
    }
    if before(n.sack, oldest_ack) {
        // (4)
        let reason = Reason::AckUnderLowerBound { ack: n.sack, minimum: oldest_ack };
        return Err(Outside::Old(reason));
    }
    Ok(())
}

/// What both sides' numbers become with a segment inside the window.
#[inline(always)]
fn learn(track: &mut TcpTrack, seen: &Seen<'_>, n: &Numbers) {
    let (sender, receiver) = (seen.direction, !seen.direction);
    // The window of a SYN is never scaled.
    let scale = if seen.flags.syn() { 0 } else { track.scale[sender] };
    let window = u32::from(seen.window) << scale;

    let announced = window.wrapping_add(n.sack.wrapping_sub(n.ack));
    track.max_window[sender] = track.max_window[sender].max(announced);
    if after(n.end, track.end[sender]) {
        track.end[sender] = n.end;
        track.flags[sender].set(SideFlags::DATA_UNACKNOWLEDGED);
    }
    if seen.flags.ack() {
        if !track.flags[sender].has(SideFlags::MAX_ACK_SET) {
            track.max_ack[sender] = n.ack;
            track.flags[sender].set(SideFlags::MAX_ACK_SET);
        } else if after(n.ack, track.max_ack[sender]) {
            track.max_ack[sender] = n.ack;
        }
    }

    if track.max_window[receiver] != 0 && after(n.end, track.max_end[sender]) {
        let more = n.end.wrapping_sub(track.max_end[sender]);
        track.max_window[receiver] = track.max_window[receiver].wrapping_add(more);
    }
    let allowed = n.sack.wrapping_add(window);
    if !before(allowed, track.max_end[receiver]) {
        // A closed window lets one byte through: the probe.
        track.max_end[receiver] = allowed.wrapping_add(u32::from(window == 0));
    }
    if n.ack == track.end[receiver] {
        track.flags[receiver].clear(SideFlags::DATA_UNACKNOWLEDGED);
    }
    if seen.segment == Segment::Ack {
        count_retransmission(track, seen, n);
    }
}

/// The same ACK again and again: the other side does not answer.
#[inline(always)]
fn count_retransmission(track: &mut TcpTrack, seen: &Seen<'_>, n: &Numbers) {
    // Without a branch: who sends next is anybody's guess.
    let changed = u32::from(track.last_direction() as u8 ^ seen.direction as u8)
        | (track.last_seq ^ n.seq)
        | (track.last_ack ^ n.ack)
        | (track.last_end ^ n.end)
        | u32::from(track.last_window ^ seen.window);
    let again = track.retransmissions.wrapping_add(1);
    track.retransmissions = if changed == 0 { again } else { 0 };
    track.last_direction = seen.direction as u8;
    track.last_seq = n.seq;
    track.last_ack = n.ack;
    track.last_end = n.end;
    track.last_window = seen.window;
}
