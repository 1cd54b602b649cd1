//! What an entry keeps of a TCP connection: 56 bytes, and what of them is shown.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::states::{Segment, TcpState};
use super::window::after;
use crate::entry::L4State;
use crate::status::{Direction, PerDir};

/// Options and memories of one side, as ctnetlink shows them (`IP_CT_TCP_FLAG_*`).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub(crate) struct SideFlags(pub(crate) u8);

impl SideFlags {
    /// Offered window scaling.
    pub(crate) const WINDOW_SCALE: SideFlags = SideFlags(0x01);
    /// Understands SACK.
    pub(crate) const SACK_PERMITTED: SideFlags = SideFlags(0x02);
    /// Sent the first FIN.
    pub(crate) const CLOSE_INIT: SideFlags = SideFlags(0x04);
    /// Its window is not checked.
    pub(crate) const BE_LIBERAL: SideFlags = SideFlags(0x08);
    /// Has sent data that was not acknowledged.
    pub(crate) const DATA_UNACKNOWLEDGED: SideFlags = SideFlags(0x10);
    /// `max_ack` holds a value.
    pub(crate) const MAX_ACK_SET: SideFlags = SideFlags(0x20);
    /// In `last_flags`: an ACK may be a challenge, not the last one.
    pub(crate) const EXPECT_CHALLENGE_ACK: SideFlags = SideFlags(0x40);
    /// In `last_flags`: both sides sent a SYN.
    pub(crate) const SIMULTANEOUS_OPEN: SideFlags = SideFlags(0x80);

    #[inline]
    pub(crate) const fn has(self, flag: SideFlags) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: SideFlags) {
        self.0 |= flag.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flag: SideFlags) {
        self.0 &= !flag.0;
    }
}

/// The TCP part of an entry: 56 bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TcpTrack {
    /// Highest sequence number sent, plus length.
    pub(super) end: PerDir<u32>,
    /// Highest one the other side's window allows.
    pub(super) max_end: PerDir<u32>,
    /// Largest window announced, scaled; 0 while the side has not been seen.
    pub(super) max_window: PerDir<u32>,
    /// Highest acknowledgement sent.
    pub(super) max_ack: PerDir<u32>,
    pub(super) scale: PerDir<u8>,
    pub(super) flags: PerDir<SideFlags>,
    /// The last segment that was let through without being believed, or the last plain ACK: its
    /// sequence number, acknowledgement, end, window, direction, kind and options.
    pub(super) last_seq: u32,
    pub(super) last_ack: u32,
    pub(super) last_end: u32,
    pub(super) last_window: u16,
    pub(super) last_direction: u8,
    pub(super) last_segment: u8,
    pub(super) last_scale: u8,
    pub(super) last_flags: SideFlags,
    /// How often the same ACK has been seen.
    pub(super) retransmissions: u8,
    pub(super) state: u8,
}

/// What events and dumps tell of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// The state.
    pub state: TcpState,
    /// Window scale and flags of each side; absent from DESTROY events.
    pub sides: Option<PerDir<TcpSide>>,
}

/// One side of a TCP connection, as ctnetlink tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpSide {
    /// Shift count of the window.
    pub window_scale: u8,
    /// The kernel's `IP_CT_TCP_FLAG_*` bits.
    pub flags: u8,
}

/// Whether a connection is over, and another's first segment begins beyond all that it has sent.
pub(crate) fn is_over_and_behind(old: &TcpTrack, new: &TcpTrack) -> bool {
    let [old_end, new_end] = [old, new].map(|track| track.end[Direction::Original]);
    old.state >= TcpState::TimeWait as u8 && after(new_end, old_end)
}

impl TcpTrack {
    /// The view of an entry's protocol part.
    pub(crate) fn of(state: &L4State) -> &TcpTrack {
        zerocopy::transmute_ref!(state)
    }

    pub(crate) fn state(&self) -> TcpState {
        TcpState::from_u8(self.state)
    }

    /// The view of an entry's protocol part, to change it.
    fn of_mut(state: &mut L4State) -> &mut TcpTrack {
        zerocopy::transmute_mut!(state)
    }

    /// Somebody in the middle has reset the connection. False if that was known already.
    pub(crate) fn close(state: &mut L4State) -> bool {
        let closed = TcpState::Close as u8;
        core::mem::replace(&mut TcpTrack::of_mut(state).state, closed) != closed
    }

    /// An entry of which the state alone is known: neither side is held to numbers.
    pub(crate) fn load(entry: &mut L4State, state: TcpState) {
        let SideFlags(sack) = SideFlags::SACK_PERMITTED;
        let SideFlags(closing) = SideFlags::CLOSE_INIT;
        let SideFlags(liberal) = SideFlags::BE_LIBERAL;
        let flags = PerDir([SideFlags(sack | closing | liberal); 2]);
        *TcpTrack::of_mut(entry) = TcpTrack { flags, state: state as u8, ..TcpTrack::default() };
    }

    pub(crate) fn info(&self, with_sides: bool) -> TcpInfo {
        let side = |direction: Direction| TcpSide {
            window_scale: self.scale[direction],
            flags: self.flags[direction].0,
        };
        let sides = PerDir([side(Direction::Original), side(Direction::Reply)]);
        TcpInfo { state: self.state(), sides: with_sides.then_some(sides) }
    }

    pub(super) fn last_segment(&self) -> Segment {
        Segment::from_u8(self.last_segment)
    }

    pub(super) fn last_direction(&self) -> Direction {
        Direction::from_u8(self.last_direction)
    }

    pub(super) fn remember(&mut self, segment: Segment, direction: Direction) {
        self.last_segment = segment as u8;
        self.last_direction = direction as u8;
    }
}
