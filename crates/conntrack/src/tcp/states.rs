//! The state table: what a segment does to a connection, seen from the middle.
//!
//! A [`TcpState`] says what has been seen of a connection, a [`Segment`] what a segment is by its
//! flags; in the tables rows are segments and columns the state the segment meets, one table a
//! direction. `Ig` passes without being believed, `Iv` is INVALID.

use core::fmt;

use stateward_wire::TcpFlags;

use crate::status::Direction;

/// The state of a TCP connection, numbered as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen.
    None = 0,
    /// A SYN of the original direction.
    SynSent = 1,
    /// A SYN/ACK.
    SynRecv = 2,
    /// The handshake's last ACK, or a packet of a connection picked up in its middle.
    Established = 3,
    /// A FIN.
    FinWait = 4,
    /// The ACK of the first FIN.
    CloseWait = 5,
    /// A FIN of the other side.
    LastAck = 6,
    /// The ACK of the second FIN.
    TimeWait = 7,
    /// A RST.
    Close = 8,
    /// A SYN from both sides.
    SynSent2 = 9,
}

impl TcpState {
    /// Every state, in the order of their numbers.
    pub const ALL: [TcpState; 10] = [
        TcpState::None,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::SynSent2,
    ];

    /// The name that `conntrack -L` prints.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::None => "NONE",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait => "FIN_WAIT",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
            TcpState::SynSent2 => "SYN_SENT2",
        }
    }

    /// A connection in this state may be dropped early even if ASSURED, and its numbers are no
    /// longer trusted: one of the sides is done with it.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(
            self,
            TcpState::FinWait
                | TcpState::CloseWait
                | TcpState::LastAck
                | TcpState::TimeWait
                | TcpState::Close
        )
    }

    #[inline]
    pub(super) fn from_u8(number: u8) -> TcpState {
        match number {
            1 => TcpState::SynSent,
            2 => TcpState::SynRecv,
            3 => TcpState::Established,
            4 => TcpState::FinWait,
            5 => TcpState::CloseWait,
            6 => TcpState::LastAck,
            7 => TcpState::TimeWait,
            8 => TcpState::Close,
            9 => TcpState::SynSent2,
            _ => TcpState::None,
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a segment is to the state table: the strongest of its flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Segment {
    /// SYN without ACK.
    Syn = 0,
    /// SYN with ACK.
    SynAck = 1,
    /// FIN.
    Fin = 2,
    /// ACK alone.
    Ack = 3,
    /// RST.
    Rst = 4,
    /// None of these.
    None = 5,
}

impl Segment {
    #[inline]
    pub(super) fn of(flags: TcpFlags) -> Segment {
        if !flags.intersects(TcpFlags::RST.union(TcpFlags::SYN).union(TcpFlags::FIN)) {
            return if flags.ack() { Segment::Ack } else { Segment::None };
        }
        if flags.rst() {
            Segment::Rst
        } else if !flags.syn() {
            Segment::Fin
        } else if flags.ack() {
            Segment::SynAck
        } else {
            Segment::Syn
        }
    }

    pub(super) fn from_u8(number: u8) -> Segment {
        match number {
            0 => Segment::Syn,
            1 => Segment::SynAck,
            2 => Segment::Fin,
            3 => Segment::Ack,
            4 => Segment::Rst,
            _ => Segment::None,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Segment::Syn => "a SYN",
            Segment::SynAck => "a SYN/ACK",
            Segment::Fin => "a FIN",
            Segment::Ack => "an ACK",
            Segment::Rst => "a RST",
            Segment::None => "a segment without flags",
        })
    }
}

/// A cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The state it leads to.
    State(TcpState),
    /// Passes, changes nothing.
    Ignore,
    /// Belongs to nothing.
    Invalid,
}

const IG: Next = Next::Ignore;
const IV: Next = Next::Invalid;
const SS: Next = Next::State(TcpState::SynSent);
const SR: Next = Next::State(TcpState::SynRecv);
const ES: Next = Next::State(TcpState::Established);
const FW: Next = Next::State(TcpState::FinWait);
const CW: Next = Next::State(TcpState::CloseWait);
const LA: Next = Next::State(TcpState::LastAck);
const TW: Next = Next::State(TcpState::TimeWait);
const CL: Next = Next::State(TcpState::Close);
const S2: Next = Next::State(TcpState::SynSent2);

type Table = [[Next; 10]; 6];

#[rustfmt::skip]
const ORIGINAL: Table = [
    //          NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    /* SYN */  [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
    // NO, SS   a connection starts, or starts again because the SYN was lost
    // SR..LA   we may hold a connection that is dead for the two ends: the answer will tell
    // TW, CL   the ports are used again
    /* S+A */  [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
    // SR, S2   only in a simultaneous open does the side that sent the first SYN send this
    /* FIN */  [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
    // SS, S2   nothing to close yet
    // FW       the FIN of the other side, or the same one again: both lead on
    /* ACK */  [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
    // NO       the middle of a connection
    // SS, S2   acknowledges a SYN/ACK that we have not seen
    // FW, LA   the FIN is acknowledged
    /* RST */  [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
];

#[rustfmt::skip]
const REPLY: Table = [
    //          NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    /* SYN */  [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
    // SS       both sides start at once
    // TW       the ports are used again, by the other side
    /* S+A */  [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
    // SR..CL   sent again, or the answer to a SYN we let pass
    /* FIN */  [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
    /* ACK */  [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
    // SS       the server holds an old connection: it will reset it, or has sent a challenge ACK
    // SR       answers a SYN sent again
    /* RST */  [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    /* none */ [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
];

/// What `segment` does to a connection in `state`.
#[inline]
pub(super) fn next(direction: Direction, segment: Segment, state: TcpState) -> Next {
    let table = match direction {
        Direction::Original => &ORIGINAL,
        Direction::Reply => &REPLY,
    };
    table[segment as usize][state as usize]
}

/// Whether the segment is an ACK and nothing more; PSH, ECE and CWR say nothing to the tracker.
#[inline]
pub(super) fn is_plain_ack(flags: TcpFlags) -> bool {
    const TELLING: TcpFlags =
        TcpFlags(TcpFlags::FIN.0 | TcpFlags::SYN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0);
    flags.0 & TELLING.0 == TcpFlags::ACK.0
}

/// Whether a TCP may send these flags together; PSH, ECE and CWR go with anything.
#[inline]
pub(super) fn flags_are_legal(flags: TcpFlags) -> bool {
    const FIN: u8 = TcpFlags::FIN.0;
    const SYN: u8 = TcpFlags::SYN.0;
    const RST: u8 = TcpFlags::RST.0;
    const ACK: u8 = TcpFlags::ACK.0;
    const URG: u8 = TcpFlags::URG.0;
    const LEGAL: [u8; 9] =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    /// One bit for each of the 64 sets of flags.
    const SET: u64 = {
        let mut set = 0;
        let mut i = 0;
        while i < LEGAL.len() {
            set |= 1 << LEGAL[i];
            i += 1;
        }
        set
    };
    SET >> (flags.0 & (FIN | SYN | RST | ACK | URG)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Direction; 2] = [Direction::Original, Direction::Reply];

    #[test]
    fn a_reset_closes_whatever_there_is() {
        for direction in BOTH {
            for state in TcpState::ALL.into_iter().skip(1) {
                assert_eq!(next(direction, Segment::Rst, state), CL);
            }
            assert_eq!(next(direction, Segment::Rst, TcpState::None), IV);
        }
    }

    #[test]
    fn a_segment_without_flags_belongs_nowhere() {
        for direction in BOTH {
            for state in TcpState::ALL {
                assert_eq!(next(direction, Segment::None, state), IV);
            }
        }
    }

    #[test]
    fn only_a_syn_or_an_ack_begins_a_connection() {
        let first = |segment| next(Direction::Original, segment, TcpState::None);
        assert_eq!(first(Segment::Syn), SS);
        assert_eq!(first(Segment::Ack), ES);
        for segment in [Segment::SynAck, Segment::Fin, Segment::Rst] {
            assert_eq!(first(segment), IV);
        }
    }

    #[test]
    fn once_both_sides_speak_the_sides_close_alike() {
        let later = [TcpState::Established, TcpState::FinWait, TcpState::CloseWait];
        for segment in [Segment::Fin, Segment::Ack, Segment::Rst] {
            for state in later {
                let [original, reply] = BOTH.map(|direction| next(direction, segment, state));
                assert_eq!(original, reply, "{segment} in {state}");
            }
        }
    }

    #[test]
    fn nine_sets_of_flags_are_legal() {
        let legal = (0..64).filter(|&bits| flags_are_legal(TcpFlags(bits)));
        // Each with and without PSH.
        assert_eq!(legal.count(), 18);
        assert!(flags_are_legal(TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR));
        assert!(!flags_are_legal(TcpFlags::SYN | TcpFlags::FIN));
    }
}
