//! `-m time`: the clock and the calendar, in UTC or in the kernel's time zone.

use stateward_conntrack::NANOS_PER_SECOND;
use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// When the rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// `--datestart` and `--datestop`, in seconds since 1970, both included.
    pub dates: (u32, u32),
    /// `--timestart` and `--timestop`, in seconds of the day; a start after the stop is over
    /// midnight.
    pub times: (u32, u32),
    /// `--monthdays`: bits 1 to 31.
    pub month_days: u32,
    /// `--weekdays`: bits 1 (Monday) to 7.
    pub week_days: u8,
    /// `--kerneltz`: times are the kernel's, not UTC.
    pub kernel_zone: bool,
    /// `--contiguous`: what is over midnight belongs to the day on which it began.
    pub contiguous: bool,
}

impl Time {
    pub(crate) const NAMES: &[&str] = &["time"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self {
            dates: (0, LAST_DATE),
            times: (0, LAST_TIME),
            month_days: ALL_MONTH_DAYS,
            week_days: ALL_WEEK_DAYS,
            kernel_zone: false,
            contiguous: false,
        }
    }
}

const LAST_DATE: u32 = 0x7fff_ffff;
const LAST_TIME: u32 = 24 * 60 * 60 - 1;
const ALL_MONTH_DAYS: u32 = 0xffff_fffe;
const ALL_WEEK_DAYS: u8 = 0xfe;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("datestart"),
    OptionSpec::value("datestop"),
    OptionSpec::value("timestart"),
    OptionSpec::value("timestop"),
    OptionSpec::flag("contiguous"),
    OptionSpec::value("weekdays").invertible(),
    OptionSpec::value("monthdays").invertible(),
    OptionSpec::flag("localtz").excludes(&["utc"]),
    OptionSpec::flag("utc").excludes(&["localtz", "kerneltz"]),
    OptionSpec::flag("kerneltz").excludes(&["utc"]),
];

impl Extension for Time {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "datestart" => self.dates.0 = date(given.text)?,
            "datestop" => self.dates.1 = date(given.text)?,
            "timestart" => self.times.0 = time(given.text)?,
            "timestop" => self.times.1 = time(given.text)?,
            "contiguous" => self.contiguous = true,
            "weekdays" => {
                let days = week_days(given.text)?;
                self.week_days = if inverted { days ^ ALL_WEEK_DAYS } else { days };
            }
            "monthdays" => {
                let days = month_days(given.text)?;
                self.month_days = if inverted { days ^ ALL_MONTH_DAYS } else { days };
            }
            "utc" => {}
            _ => self.kernel_zone = true,
        }
        Ok(())
    }

    fn finish(&mut self, _: &Seen, _: &Header) -> Result<(), Refusal> {
        match self.contiguous && self.times.0 < self.times.1 {
            true => Err(Refusal::new("time: `--contiguous` is for times over midnight")
                .hint("`--timestart` later than `--timestop`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { dates, times, month_days, week_days, kernel_zone, contiguous } = *self;
        if times != (0, LAST_TIME) {
            save.option("timestart", shown_time(times.0)).option("timestop", shown_time(times.1));
        }
        if month_days != ALL_MONTH_DAYS {
            let days = (1..=31).filter(|day| month_days & (1 << day) != 0);
            let days: Vec<_> = days.map(|day: u32| day.to_string()).collect();
            save.option("monthdays", days.join(","));
        }
        if week_days != ALL_WEEK_DAYS {
            let days = (1u8..).zip(WEEK_DAYS).filter(|(day, _)| week_days & (1 << day) != 0);
            let days: Vec<_> = days.map(|(_, name)| name).collect();
            save.option("weekdays", days.join(","));
        }
        if dates.0 != 0 {
            save.option("datestart", shown_date(dates.0));
        }
        if dates.1 != 0 {
            save.option("datestop", shown_date(dates.1));
        }
        if kernel_zone {
            save.flag("kerneltz");
        }
        if contiguous {
            save.flag("contiguous");
        }
    }
}

const WEEK_DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A decimal number up to `most` at the beginning, and what follows. No digits at all are 0.
fn leading(text: &str, most: u32) -> Option<(u32, &str)> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let body = body.strip_prefix('+').unwrap_or(body);
    let end = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let value: u32 = if end == 0 { 0 } else { body.get(..end)?.parse().ok()? };
    Some((value, body.get(end..)?)).filter(|(value, _)| *value <= most)
}

/// `hh:mm[:ss]`
fn time(text: &str) -> Result<u32, Refusal> {
    let parse = || {
        let (hours, rest) = leading(text, 23)?;
        let (minutes, rest) = leading(rest.strip_prefix(':')?, 59)?;
        let seconds = match rest.strip_prefix(':') {
            Some(rest) => leading(rest, 59).filter(|(_, rest)| rest.is_empty())?.0,
            None if rest.is_empty() => 0,
            None => return None,
        };
        Some((hours * 60 + minutes) * 60 + seconds)
    };
    parse().ok_or_else(|| {
        Refusal::new(format!("invalid time `{text}`")).hint("hh:mm[:ss], from 00:00 to 23:59:59")
    })
}

/// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`. Days beyond a month's end are in the next one; month 0 and day
/// 0 are those before the first.
fn date(text: &str) -> Result<u32, Refusal> {
    let parse = || {
        let (year, rest) = leading(text, 2038).filter(|(year, _)| *year >= 1970)?;
        let mut fields = [1, 1, 0, 0, 0];
        let separators = [('-', 12), ('-', 31), ('T', 23), (':', 59), (':', 59)];
        let mut rest = rest;
        for (field, (separator, most)) in fields.iter_mut().zip(separators) {
            if rest.is_empty() {
                break;
            }
            (*field, rest) = leading(rest.strip_prefix(separator)?, most)?;
        }
        rest.is_empty().then_some((year, fields))
    };
    let (year, [month, day, hours, minutes, seconds]) = parse().ok_or_else(|| {
        let refusal = Refusal::new(format!("invalid date `{text}`"));
        refusal.hint("YYYY[-MM[-DD[Thh[:mm[:ss]]]]], from 1970 to 2038")
    })?;
    let days =
        i64::from(days_before(year, month)) - i64::from(month == 0) * 31 + i64::from(day) - 1;
    let seconds = i64::from((hours * 60 + minutes) * 60 + seconds) + days * 86_400;
    u32::try_from(seconds).map_err(|_| Refusal::table(format!("date `{text}` is before 1970")))
}

/// Days from 1970 to a month's first, in the years from 1970 to 2106, of which 2100 is not asked
/// for.
fn days_before(year: u32, month: u32) -> u32 {
    let years = year - 1970;
    let leap_days = (years + 1) / 4;
    let before: u32 = (1..month).map(|month| month_length(year, month)).sum();
    years * 365 + leap_days + before
}

fn month_length(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn shown_time(seconds: u32) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn shown_date(seconds: u32) -> String {
    let mut day = seconds / 86_400;
    let mut year = 1970;
    loop {
        let length = if year % 4 == 0 { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let mut month = 1;
    while month < 12 && day >= month_length(year, month) {
        day -= month_length(year, month);
        month += 1;
    }
    format!("{year}-{month:02}-{:02}T{}", day + 1, shown_time(seconds % 86_400))
}

/// Days as numbers; iptables looks at two characters of each.
fn month_days(text: &str) -> Result<u32, Refusal> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(month_day).try_fold(0, |days, day| Ok(days | 1 << day?))
}

fn month_day(word: &str) -> Result<u32, Refusal> {
    let two = word.get(..2).unwrap_or(word);
    let day = number::whole(two, 31).and_then(|day| u32::try_from(day).ok());
    day.ok_or_else(|| {
        Refusal::new(format!("`{word}` is no day of a month")).hint("numbers from 1 to 31")
    })
}

/// Days by number or by the first two letters of their names.
fn week_days(text: &str) -> Result<u8, Refusal> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(week_day).try_fold(0, |days, day| Ok(days | day?))
}

fn week_day(word: &str) -> Result<u8, Refusal> {
    let bad = |why: &str| Refusal::new(format!("`{word}` is {why}")).hint("Mon to Sun, or 1 to 7");
    // What is no day of this week is lost.
    if word.strip_prefix('-').is_some_and(|day| number::whole(day, u64::MAX).is_some()) {
        return Ok(0);
    }
    match number::whole(word, u64::MAX) {
        Some(0) => return Err(bad("no day: the week begins with Monday, 1")),
        Some(day) => {
            return Ok(u32::try_from(day).map_or(0, |day| 1u8.checked_shl(day).unwrap_or(0)));
        }
        None => {}
    }
    let begins = |name: &&str| name.get(..2) == word.get(..2);
    let found = (1u8..).zip(WEEK_DAYS).find(|(_, name)| word.len() >= 2 && begins(name));
    found.map(|(day, _)| 1 << day).ok_or_else(|| bad("no day of the week"))
}

const DAY: u64 = 86_400;

impl Time {
    fn holds(&self, second: u64) -> bool {
        let dates = u64::from(self.dates.0)..=u64::from(self.dates.1);
        let (start, stop) = (u64::from(self.times.0), u64::from(self.times.1));
        let of_day = second % DAY;
        let is_past_start = start <= of_day;
        let is_before_stop = of_day <= stop;
        let is_in_time = match start < stop {
            true => is_past_start && is_before_stop,
            false => is_past_start || is_before_stop,
        };
        // What is over midnight may belong to the day before.
        let belongs_before = start >= stop && self.contiguous && is_before_stop;
        let day = (second / DAY).saturating_sub(belongs_before.into());
        dates.contains(&second)
            && is_in_time
            && self.week_days & 1 << week_day_of(day) != 0
            && self.month_days & 1 << month_day_of(day) != 0
    }
}

/// Monday is 1; the first of January 1970 was a Thursday.
fn week_day_of(day: u64) -> u64 {
    (day + 3) % 7 + 1
}

/// The day of the month, from 1, of a day since 1970. Years begin in March here, so that the day
/// that some of them have is their last one; 153 days are five months of 31 and 30 days in turn.
fn month_day_of(day: u64) -> u64 {
    const TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let of_era = (day + TO_1970) % ERA;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

impl Matching for Time {
    /// Instants are counted from 1970, as a capture has them; the kernel's zone is UTC.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.holds(view.context.now().0 / NANOS_PER_SECOND))
    }
}

#[cfg(test)]
mod tests;
