//! Times as the tool prints them. Both read an [`Instant`] as one since the Unix epoch.

use core::fmt;

use crate::time::{Instant, NANOS_PER_SECOND};

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// All but the last, which takes what is left of a year.
const MONTHS: [(&str, u64); 11] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
];

/// Date and time as ctime(3) writes them, in UTC: `Fri Nov 20 20:58:21 2026`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CalendarTime(pub Instant);

impl fmt::Display for CalendarTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0 / NANOS_PER_SECOND;
        let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        // The epoch was a Thursday.
        let weekday = DAYS[(days % 7) as usize];
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
    }
}

/// Year, month and day of the month, `days` after the epoch. An instant ends in 2554, so that the
/// loops are short.
fn date(mut days: u64) -> (u64, &'static str, u64) {
    let mut year = 1970;
    while days >= 365 + leap_day(year) {
        days -= 365 + leap_day(year);
        year += 1;
    }
    for (name, length) in MONTHS {
        let length = if name == "Feb" { length + leap_day(year) } else { length };
        if days < length {
            return (year, name, days + 1);
        }
        days -= length;
    }
    (year, "Dec", days + 1)
}

fn leap_day(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

/// What `-o timestamp` puts before a line.
#[derive(Clone, Copy)]
pub(super) enum Prefix {
    /// Of a connection: `[1795224975.000935]`.
    Padded(Instant),
    /// Of an expectation, whose microseconds the tool sets flush left: `[1795224881.1122  ]`.
    Flush(Instant),
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Prefix::Padded(instant) | Prefix::Flush(instant)) = self;
        let (seconds, nanos) = (instant.0 / NANOS_PER_SECOND, instant.0 % NANOS_PER_SECOND);
        let micros = nanos / 1000;
        match self {
            Prefix::Padded(_) => write!(f, "[{seconds:08}.{micros:06}]\t"),
            Prefix::Flush(_) => write!(f, "[{seconds:<8}.{micros:<6}]\t"),
        }
    }
}
