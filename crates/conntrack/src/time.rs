//! Instants and durations of the tracker: plain nanoseconds, given by the caller.

use core::fmt;
use core::ops::{Add, Sub};

/// Nanoseconds of one second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since an epoch of the caller's choice.
///
/// Replay uses the capture's own clock (the Unix epoch); a live gateway may use any monotonic
/// clock. Arithmetic saturates: no packet time, however hostile, overflows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `seconds` after the epoch.
    pub const fn from_secs(seconds: u64) -> Instant {
        Instant(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// What is left until `later`; zero if it has passed.
    pub const fn until(self, later: Instant) -> Span {
        Span(later.0.saturating_sub(self.0))
    }
}

/// A length of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub u64);

impl Span {
    /// A span of whole seconds, the unit of every timeout sysctl.
    pub const fn secs(seconds: u32) -> Span {
        Span(seconds as u64 * NANOS_PER_SECOND)
    }

    /// Whole seconds, cut.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SECOND
    }

    /// What is left of a timeout, in whole seconds, cut as the kernel cuts when it prints one. Its
    /// clock ticks: of a timeout that was set since the last tick nothing has passed yet, so that a
    /// connection refused at once is told to end 120 seconds before its time, not 119.
    pub const fn as_timeout(self) -> u64 {
        self.in_ticks().0 / NANOS_PER_SECOND
    }

    /// What is left of a timeout as a clock that ticks has it: up to the next tick.
    pub(crate) const fn in_ticks(self) -> Span {
        /// A jiffy at 250 Hz, as distributions build their kernels.
        const TICK: u64 = NANOS_PER_SECOND / 250;
        Span(self.0.div_ceil(TICK).saturating_mul(TICK))
    }
}

impl Add<Span> for Instant {
    type Output = Instant;

    fn add(self, span: Span) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Instant {
    type Output = Instant;

    fn sub(self, span: Span) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / NANOS_PER_SECOND, self.0 % NANOS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_loses_its_first_second_with_the_first_tick() {
        let left = |nanos: u64| Span(Span::secs(120).0 - nanos).as_timeout();
        assert_eq!((left(0), left(1), left(3_999_999)), (120, 120, 120));
        assert_eq!((left(4_000_000), left(999_999_999)), (119, 119));
        assert_eq!(left(NANOS_PER_SECOND + 4_000_000), 118);
        assert_eq!(Span(0).as_timeout(), 0);
        assert_eq!(Span(u64::MAX).as_timeout(), u64::MAX / NANOS_PER_SECOND);
    }
}
