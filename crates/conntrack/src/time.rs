//! Instants and durations of the tracker: plain nanoseconds, given by the caller.

use core::fmt;
use core::ops::{Add, Sub};

/// Nanoseconds of one second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since an epoch of the caller's choice.
///
/// Replay uses the capture's own clock (the Unix epoch); a live gateway may use any monotonic clock.
/// Arithmetic saturates: no packet time, however hostile, overflows.
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

    /// Whole seconds, cut as the kernel cuts when it prints a timeout.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SECOND
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
