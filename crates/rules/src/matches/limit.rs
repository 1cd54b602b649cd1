//! `-m limit`: a bucket of credits that fills with time; a packet takes one.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::{Memory, Own};
use stateward_wire::Family;

use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--limit N/UNIT --limit-burst N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The time between two packets, in ten-thousandths of a second.
    pub every: u32,
    /// How many packets may come at once.
    pub burst: u32,
}

impl Limit {
    pub(crate) const NAMES: &[&str] = &["limit"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { every: SECOND * 60 * 60 / 3, burst: BURST }
    }
}

/// A second in the unit of [`Limit::every`].
pub(crate) const SECOND: u32 = 10_000;
const BURST: u32 = 5;

/// The kernel's ticks a second, and its credits a tick: as many as let a day fit into 32 bits.
const HZ: u32 = 250;
const CREDITS: u32 = 128;

const OPTIONS: &[OptionSpec] = &[OptionSpec::value("limit"), OptionSpec::value("limit-burst")];

impl Extension for Limit {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "limit" => self.every = rate(given.text)?,
            _ => self.burst = given.number(0..=10_000)? as u32,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let (number, unit) = shown(self.every);
        save.option("limit", format_args!("{number}/{unit}"));
        if self.burst != BURST {
            save.option("limit-burst", self.burst);
        }
    }

    /// The bucket's size must fit the kernel's 32 bits; it counts as the kernel does, overflow and
    /// all.
    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let full = credits(self.every.wrapping_mul(self.burst));
        if self.burst == 0 || full < credits(self.every) {
            let refusal = Refusal::table("limit: a bucket of this size does not fit the kernel");
            return Err(
                refusal.hint("a smaller `--limit-burst` than 1 to 10000, or a faster `--limit`")
            );
        }
        Ok(())
    }
}

fn credits(time: u32) -> u32 {
    // The kernel divides first where multiplying first would overflow.
    if time > u32::MAX / (HZ * CREDITS) {
        (time / SECOND).wrapping_mul(HZ * CREDITS)
    } else {
        time * HZ * CREDITS / SECOND
    }
}

/// `N[/UNIT]`: the number as C's `atoi` reads it, the unit as any beginning of its name.
pub(crate) fn rate(text: &str) -> Result<u32, Refusal> {
    let bad = || {
        let refusal = Refusal::new(format!("bad rate `{text}`"));
        refusal.hint("a number, and perhaps /second, /minute, /hour or /day")
    };
    let (number, factor) = number_and_unit(text).ok_or_else(bad)?;
    if number == 0 {
        return Err(bad());
    }
    if number / factor > SECOND {
        let refusal = Refusal::new(format!("rate `{text}` is too fast"));
        return Err(refusal.hint(format!("at most {SECOND} a second")));
    }
    Ok((u64::from(SECOND) * u64::from(factor) / u64::from(number)) as u32)
}

/// A negative number is a very large one; the unit is told by its seconds.
pub(crate) fn number_and_unit(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((number, unit)) => Some((atoi(number) as u32, unit_of(unit)?)),
        None => Some((atoi(text) as u32, 1)),
    }
}

fn unit_of(unit: &str) -> Option<u32> {
    let units = [("second", 1), ("minute", 60), ("hour", 60 * 60), ("day", 24 * 60 * 60)];
    let begins = |name: &str| {
        name.get(..unit.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(unit))
    };
    let found = units.iter().find(|(name, _)| !unit.is_empty() && begins(name));
    found.map(|(_, seconds)| *seconds)
}

/// As C reads a number: what follows it does not count, and what does not fit wraps.
fn atoi(text: &str) -> i32 {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match body.strip_prefix(['+', '-']) {
        Some(digits) => (body.starts_with('-'), digits),
        None => (false, body),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..end).filter(|digits| !digits.is_empty()).unwrap_or("0");
    let value = digits.parse::<i64>().unwrap_or(i64::MAX);
    (if negative { -value } else { value }) as i32
}

/// The largest unit of which `every` is a fair share.
pub(crate) fn shown(every: u32) -> (u32, &'static str) {
    let units = [
        (SECOND * 60 * 60 * 24, "day"),
        (SECOND * 60 * 60, "hour"),
        (SECOND * 60, "min"),
        (SECOND, "sec"),
    ];
    let every = every.max(1);
    let mut chosen = units[0];
    for next in &units[1..] {
        let (span, _) = *next;
        if every > span || span / every < span % every {
            break;
        }
        chosen = *next;
    }
    (chosen.0 / every, chosen.1)
}

/// The credit of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    credit: u32,
    /// When credit was last added, in the kernel's ticks.
    since: Option<u64>,
}

impl Limit {
    /// A full bucket.
    pub(crate) fn bucket(&self) -> Bucket {
        Bucket { credit: self.full(), since: None }
    }

    fn full(&self) -> u32 {
        credits(self.every.wrapping_mul(self.burst))
    }

    /// Takes a packet's credit, if it is there. All that is counted wraps as the kernel's 32 bits
    /// do: after more than 37 hours without a packet the credit is what is left of it.
    fn take(&self, bucket: &mut Bucket, tick: u64) -> bool {
        let passed = tick.saturating_sub(bucket.since.replace(tick).unwrap_or(tick));
        let earned = (passed as u32).wrapping_mul(CREDITS);
        let credit = bucket.credit.wrapping_add(earned).min(self.full());
        let left = credit.checked_sub(credits(self.every));
        bucket.credit = left.unwrap_or(credit);
        left.is_some()
    }
}

impl Matching for Limit {
    fn passes(&self, view: &View<'_>, memory: &mut Memory<'_>) -> Result<bool, Stop> {
        const TICK: u64 = 1_000_000_000 / HZ as u64;
        match memory.own {
            Own::Bucket(bucket) => Ok(self.take(bucket, view.context.now().0 / TICK)),
            _ => Ok(false),
        }
    }
}
