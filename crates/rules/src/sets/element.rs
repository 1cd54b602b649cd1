//! An element of a set: what it is known by, and what the set keeps with it.

use crate::matches::set::Count;
use crate::sets::Asked;
use crate::shared::{Address, HZ};

/// What an element is known by. What its set's type does not ask for is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) address: Address,
    /// Bits of a network.
    pub(crate) prefix: u8,
    pub(crate) protocol: u8,
    /// A port; of ICMP type·256 + code.
    pub(crate) port: u16,
}

/// What a set keeps with an element.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Element {
    /// When it was added, by counting.
    pub(crate) turn: u64,
    pub(crate) except: Except,
    pub(crate) end: End,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) comment: String,
    pub(crate) info: SkbInfo,
}

/// Whether an element is one, or the exception from a larger one (`nomatch`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Except {
    #[default]
    No,
    Yes,
}

/// When an element ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// Never.
    #[default]
    Never,
    /// So many seconds after the clock begins.
    After(u32),
    /// After this tick.
    At(u64),
}

/// What a packet gets from an element by `--map-set`; of it the mark is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkbInfo {
    pub(crate) mark: u32,
    pub(crate) mark_mask: u32,
    pub(crate) priority: (u16, u16),
    pub(crate) queue: u16,
}

/// How an element begins that a packet adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    /// The rule's.
    pub(crate) timeout: Option<u32>,
    /// One that is there is renewed.
    pub(crate) renew: bool,
    /// The packet's.
    pub(crate) length: u64,
}

impl End {
    /// After a timeout from `now` on; 0 is never. More than the kernel's milliseconds hold is cut.
    pub(crate) fn after(seconds: u32, now: u64) -> Self {
        match seconds.min(LONGEST) {
            0 => Self::Never,
            seconds => Self::At(now.saturating_add(u64::from(seconds) * HZ)),
        }
    }

    pub(crate) fn begin(&mut self, now: u64) {
        if let Self::After(seconds) = *self {
            *self = Self::after(seconds, now);
        }
    }

    pub(super) fn tick(self) -> Option<u64> {
        match self {
            Self::At(tick) => Some(tick),
            Self::Never | Self::After(_) => None,
        }
    }

    pub(crate) fn is_over(self, now: u64) -> bool {
        matches!(self, Self::At(tick) if tick < now)
    }

    /// Seconds left, of which the last one is never over; 0 is for ever.
    pub(crate) fn left(self, now: u64) -> u64 {
        match self {
            Self::Never => 0,
            Self::After(seconds) => seconds.into(),
            Self::At(tick) => (tick.saturating_sub(now) / HZ).max(1),
        }
    }
}

/// The longest timeout, in seconds.
pub(crate) const LONGEST: u32 = (u32::MAX >> 1) / 1000;

impl Element {
    /// Counts a packet if it shall, and says whether the counters are what a rule asks for.
    pub(crate) fn count(&mut self, length: u64, asked: &Asked<'_>) -> bool {
        if asked.counting.counts() {
            self.packets = self.packets.wrapping_add(1);
            self.bytes = self.bytes.wrapping_add(length);
        }
        let holds = |count: Option<Count>, value| match count {
            None => true,
            Some(Count::Equal(test)) => test.passes(test.value == value),
            Some(Count::Less(most)) => value < most,
            Some(Count::Greater(least)) => value > least,
        };
        holds(asked.packets, self.packets) && holds(asked.bytes, self.bytes)
    }
}
