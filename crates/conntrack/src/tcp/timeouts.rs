//! TCP's timeouts: one a state, cut down while the connection does not move.
//!
//! Kernel counterpart: `tcp_timeouts` and the choice at the end of `nf_conntrack_tcp_packet`.

use super::states::{Segment, TcpState};
use super::track::{SideFlags, TcpTrack};
use crate::status::Direction;
use crate::sysctl::span;
use crate::time::Span;

/// TCP's timeouts in seconds, one a sysctl.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// `nf_conntrack_tcp_timeout_syn_sent`.
    pub syn_sent: u32,
    /// `nf_conntrack_tcp_timeout_syn_recv`.
    pub syn_recv: u32,
    /// `nf_conntrack_tcp_timeout_established`.
    pub established: u32,
    /// `nf_conntrack_tcp_timeout_fin_wait`.
    pub fin_wait: u32,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub close_wait: u32,
    /// `nf_conntrack_tcp_timeout_last_ack`.
    pub last_ack: u32,
    /// `nf_conntrack_tcp_timeout_time_wait`.
    pub time_wait: u32,
    /// `nf_conntrack_tcp_timeout_close`.
    pub close: u32,
    /// Has no sysctl: only a policy says otherwise.
    pub syn_sent2: u32,
    /// `nf_conntrack_tcp_timeout_max_retrans`: the most after repeated ACKs or a closed window.
    pub max_retrans: u32,
    /// `nf_conntrack_tcp_timeout_unacknowledged`: the most while data waits for its ACK.
    pub unacknowledged: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            syn_sent: 120,
            syn_recv: 60,
            established: 432_000,
            fin_wait: 120,
            close_wait: 60,
            last_ack: 30,
            time_wait: 120,
            close: 10,
            syn_sent2: 120,
            max_retrans: 300,
            unacknowledged: 300,
        }
    }
}

impl Timeouts {
    /// The field behind `nf_conntrack_tcp_timeout_<name>`.
    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "syn_sent" => &mut self.syn_sent,
            "syn_recv" => &mut self.syn_recv,
            "established" => &mut self.established,
            "fin_wait" => &mut self.fin_wait,
            "close_wait" => &mut self.close_wait,
            "last_ack" => &mut self.last_ack,
            "time_wait" => &mut self.time_wait,
            "close" => &mut self.close,
            "max_retrans" => &mut self.max_retrans,
            "unacknowledged" => &mut self.unacknowledged,
            _ => return None,
        })
    }

    #[inline]
    fn of(&self, state: TcpState) -> u32 {
        // Nearly all segments, spared the jump through a table.
        if state == TcpState::Established {
            return self.established;
        }
        match state {
            // No connection stays in NONE; the kernel's table has SYN_SENT's value there.
            TcpState::None | TcpState::SynSent => self.syn_sent,
            TcpState::SynRecv => self.syn_recv,
            TcpState::Established => self.established,
            TcpState::FinWait => self.fin_wait,
            TcpState::CloseWait => self.close_wait,
            TcpState::LastAck => self.last_ack,
            TcpState::TimeWait => self.time_wait,
            TcpState::Close => self.close,
            TcpState::SynSent2 => self.syn_sent2,
        }
    }
}

/// `nf_conntrack_tcp_max_retrans`: from so many on a connection does not move.
#[derive(Clone, Copy)]
pub(super) struct Retransmissions(pub(super) u8);

/// The timeout of a state, cut down while the connection does not move.
#[inline(always)]
pub(super) fn timeout(
    track: &TcpTrack,
    (timeouts, most): (&Timeouts, Retransmissions),
    segment: Segment,
    new: TcpState,
) -> Span {
    let full = timeouts.of(new);
    let unacknowledged = (track.flags[Direction::Original].0 | track.flags[Direction::Reply].0)
        & SideFlags::DATA_UNACKNOWLEDGED.0
        != 0;
    let seconds = if track.retransmissions >= most.0 && full > timeouts.max_retrans {
        timeouts.max_retrans
    } else if segment == Segment::Rst {
        timeouts.close
    } else if unacknowledged && full > timeouts.unacknowledged {
        timeouts.unacknowledged
    } else if track.last_window == 0 && full > timeouts.max_retrans {
        timeouts.max_retrans
    } else {
        full
    };
    span(seconds)
}
