//! One connection in memory: 128 bytes, two cache lines, plain old data.
//!
//! Line 1 is what a lookup and most packets touch (both keys, the deadline, status, the links of
//! the timer wheel), line 2 is the protocol's own state and what only some rules ask for. IPv6
//! addresses, counters and what few connections have lie beside, in the [`table`](crate::table).
//! Everything is valid as any bit pattern, so that the table's memory may come from the caller;
//! enums are stored as numbers and read back through `from_u8`, and a test holds each pair
//! together.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::EventMask;
use crate::expect::ExpectEvents;
use crate::status::{Direction, Status};
use crate::time::Instant;
use crate::tracker::Reports;
use crate::tuple::Key;

/// Names an entry of the table for as long as it lives: a slot is used again, an id is not
/// (generations return after 2³² uses of one slot).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// The id as one number, unique among the entries that live at the same time.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }
}

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// What an entry keeps besides the kernel's status bits.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub(crate) struct Flags(pub(crate) u16);

impl Flags {
    /// Counts packets and bytes (nf_conntrack_acct was on when it was made).
    pub(crate) const ACCOUNTING: Flags = Flags(1);
    /// Reports events (somebody listened when it was made).
    pub(crate) const EVENTS: Flags = Flags(2);
    /// The reply is not the inverse of the original: two places in the index.
    pub(crate) const TWO_KEYS: Flags = Flags(4);
    /// Has room for labels (rules asked for some when it was made).
    pub(crate) const LABELS: Flags = Flags(32);
    /// Does not report that it announces another one.
    pub(crate) const NO_EXPECT_NEW: Flags = Flags(8);
    /// Does not report that one it has announced is gone.
    pub(crate) const NO_EXPECT_DESTROY: Flags = Flags(16);
    /// Has a policy of timeouts.
    pub(crate) const POLICY: Flags = Flags(64);
    /// All of them: what stands beside them in the same number begins above.
    pub(crate) const ALL: Flags = Flags(
        Self::ACCOUNTING.0
            | Self::EVENTS.0
            | Self::TWO_KEYS.0
            | Self::LABELS.0
            | Self::NO_EXPECT_NEW.0
            | Self::NO_EXPECT_DESTROY.0
            | Self::POLICY.0,
    );

    #[inline]
    pub(crate) const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    pub(crate) fn clear(&mut self, flag: Flags) {
        self.0 &= !flag.0;
    }
}

/// Room for a protocol's state.
pub(crate) type L4State = [u32; 14];

/// One connection.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(crate) struct Entry {
    // Line 1.
    pub(crate) original: Key,
    pub(crate) reply: Key,
    /// When it ends unless a packet says otherwise: the truth, of which the wheel holds hints.
    pub(crate) deadline: u64,
    /// Links of the wheel's list, or of the free list.
    pub(crate) next: u32,
    pub(crate) previous: u32,
    /// Tick at which the wheel looks at this entry; see [`wheel`](crate::wheel).
    pub(crate) hint: u32,
    pub(crate) generation: u32,
    pub(crate) status: Status,
    /// Events collected and not told yet.
    pub(crate) pending: u16,
    /// Index of the [`Extra`](crate::table::Extra) beside, or [`NONE`].
    pub(crate) extra: u32,
    // Line 2.
    pub(crate) l4: L4State,
    pub(crate) mark: u32,
    pub(crate) flags: Flags,
    /// Causes of which alone nothing is told, as [`EventMask`].
    pub(crate) silent: u16,
}

impl Entry {
    /// An entry that is in no table and no list.
    pub(crate) const fn new(original: Key, reply: Key) -> Entry {
        Entry {
            original,
            reply,
            deadline: 0,
            next: NONE,
            previous: NONE,
            hint: 0,
            generation: 0,
            status: Status(0),
            pending: 0,
            extra: NONE,
            l4: [0; 14],
            mark: 0,
            flags: Flags(0),
            silent: 0,
        }
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        Instant(self.deadline)
    }

    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.original.version == 0
    }

    /// The key of a direction.
    #[inline]
    pub(crate) fn key(&self, direction: Direction) -> &Key {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// Sets the mark; that it changed is an event.
    pub(crate) fn set_mark(&mut self, mark: u32) {
        if self.mark != mark {
            self.mark = mark;
            self.cache_event(EventMask::MARK);
        }
    }

    /// Whether these causes make an event.
    pub(crate) fn reports(&self, causes: EventMask) -> bool {
        self.flags.has(Flags::EVENTS) && causes.any(EventMask(!self.silent))
    }

    /// What it reports of those that it announces.
    pub(crate) fn expect_events(&self) -> ExpectEvents {
        let told = |event: ExpectEvents, silent| match self.flags.has(silent) {
            true => 0,
            false => event.0,
        };
        if !self.flags.has(Flags::EVENTS) {
            return ExpectEvents::NONE;
        }
        let new = told(ExpectEvents::NEW, Flags::NO_EXPECT_NEW);
        ExpectEvents(new | told(ExpectEvents::DESTROY, Flags::NO_EXPECT_DESTROY))
    }

    /// Reports from now on, but for what is not among these.
    pub(crate) fn report(&mut self, reports: Reports) {
        let Reports { connection, expectations } = reports;
        self.flags.set(Flags::EVENTS);
        self.silent = !connection.0;
        if expectations.0 & ExpectEvents::NEW.0 == 0 {
            self.flags.set(Flags::NO_EXPECT_NEW);
        }
        if expectations.0 & ExpectEvents::DESTROY.0 == 0 {
            self.flags.set(Flags::NO_EXPECT_DESTROY);
        }
    }

    /// Notes the cause of an event, if this connection reports any.
    #[inline]
    pub(crate) fn cache_event(&mut self, events: EventMask) {
        if self.flags.has(Flags::EVENTS) {
            self.pending |= events.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_two_cache_lines_with_the_protocol_on_the_second() {
        assert_eq!(size_of::<Entry>(), 128);
        assert_eq!(align_of::<Entry>(), 64);
        assert_eq!(core::mem::offset_of!(Entry, l4), 64);
    }
}
