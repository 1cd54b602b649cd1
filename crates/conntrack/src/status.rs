//! What a connection is and what a packet is to it: status bits, direction, state.

use core::fmt;
use core::ops::{BitOr, BitOrAssign, Index, IndexMut, Not};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The direction of a packet within its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Direction {
    /// The direction of the packet that made the entry.
    Original = 0,
    /// The other one.
    Reply = 1,
}

impl Direction {
    /// The kernel's word, as `--ctdir` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Original => "original",
            Direction::Reply => "reply",
        }
    }

    /// Back from the number an entry stores; anything but 0 is the reply.
    pub(crate) const fn from_u8(number: u8) -> Direction {
        if number == 0 { Direction::Original } else { Direction::Reply }
    }
}

impl Not for Direction {
    type Output = Direction;

    #[inline]
    fn not(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

/// One value a direction.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct PerDir<T>(pub [T; 2]);

impl<T> Index<Direction> for PerDir<T> {
    type Output = T;

    #[inline]
    fn index(&self, direction: Direction) -> &T {
        &self.0[direction as usize]
    }
}

impl<T> IndexMut<Direction> for PerDir<T> {
    #[inline]
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        &mut self.0[direction as usize]
    }
}

/// Status bits of a connection, numbered as the kernel's `IPS_*` and as ctnetlink carries them.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Status(pub u16);

impl Status {
    /// Made by an expectation.
    pub const EXPECTED: Status = Status(1 << 0);
    /// A packet of the reply direction has been seen.
    pub const SEEN_REPLY: Status = Status(1 << 1);
    /// Not to be dropped early when the table is full.
    pub const ASSURED: Status = Status(1 << 2);
    /// In the table.
    pub const CONFIRMED: Status = Status(1 << 3);
    /// The source is translated in the original direction.
    pub const SRC_NAT: Status = Status(1 << 4);
    /// The destination is translated in the original direction.
    pub const DST_NAT: Status = Status(1 << 5);
    /// TCP sequence numbers are adjusted.
    pub const SEQ_ADJUST: Status = Status(1 << 6);
    /// The source binding has been chosen.
    pub const SRC_NAT_DONE: Status = Status(1 << 7);
    /// The destination binding has been chosen.
    pub const DST_NAT_DONE: Status = Status(1 << 8);
    /// On its way out of the table.
    pub const DYING: Status = Status(1 << 9);
    /// Packets do not refresh the timeout.
    pub const FIXED_TIMEOUT: Status = Status(1 << 10);
    /// Carries settings to a connection, never a connection itself.
    pub const TEMPLATE: Status = Status(1 << 11);
    /// Inserted in the reply direction alone after losing a race.
    pub const NAT_CLASH: Status = Status(1 << 12);
    /// A helper was assigned by rule.
    pub const HELPER: Status = Status(1 << 13);
    /// In a flow table.
    pub const OFFLOAD: Status = Status(1 << 14);
    /// In a flow table of the hardware.
    pub const HW_OFFLOAD: Status = Status(1 << 15);

    /// Names in the order of the bits, as the trace prints them.
    pub const NAMES: [&'static str; 16] = [
        "EXPECTED",
        "SEEN_REPLY",
        "ASSURED",
        "CONFIRMED",
        "SRC_NAT",
        "DST_NAT",
        "SEQ_ADJUST",
        "SRC_NAT_DONE",
        "DST_NAT_DONE",
        "DYING",
        "FIXED_TIMEOUT",
        "TEMPLATE",
        "NAT_CLASH",
        "HELPER",
        "OFFLOAD",
        "HW_OFFLOAD",
    ];

    /// Whether every bit of `bits` is set.
    #[inline]
    pub const fn has(self, bits: Status) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Sets `bits` and says whether one of them was not set before.
    #[inline]
    pub fn set(&mut self, bits: Status) -> bool {
        let new = !self.has(bits);
        self.0 |= bits.0;
        new
    }

    /// The names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Status::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| name)
    }
}

impl BitOr for Status {
    type Output = Status;

    fn bitor(self, other: Status) -> Status {
        Status(self.0 | other.0)
    }
}

impl BitOrAssign for Status {
    fn bitor_assign(&mut self, other: Status) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// What a packet is to the tracker, as `-m conntrack --ctstate` asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtState {
    /// Belongs to a connection that has not been answered.
    New,
    /// Belongs to a connection that has been answered, or answers one.
    Established,
    /// Starts a connection that another one announced, or is an ICMP error about one.
    Related,
    /// Belongs to nothing the tracker can account for; [`Tracked::reason`](crate::Tracked::reason)
    /// says why.
    Invalid,
    /// Kept away from the tracker.
    Untracked,
}

impl CtState {
    /// The name a rule uses.
    pub const fn name(self) -> &'static str {
        match self {
            CtState::New => "NEW",
            CtState::Established => "ESTABLISHED",
            CtState::Related => "RELATED",
            CtState::Invalid => "INVALID",
            CtState::Untracked => "UNTRACKED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_bits() {
        let all = Status(0xffff);
        assert_eq!(all.names().count(), 16);
        let seen: Vec<_> = (Status::SEEN_REPLY | Status::ASSURED).names().collect();
        assert_eq!(seen, ["SEEN_REPLY", "ASSURED"]);
    }

    #[test]
    fn set_tells_what_was_new() {
        let mut status = Status::default();
        assert!(status.set(Status::ASSURED));
        assert!(!status.set(Status::ASSURED));
    }
}
