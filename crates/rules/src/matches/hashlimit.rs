//! `-m hashlimit`: a bucket of credits for each source, destination, or pair of them.

use stateward_wire::Family;

use crate::address;
use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::matches::connlimit::Bound;
use crate::matches::limit;
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// The rate, what shares a bucket, and the table of buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashlimit {
    /// Whose rules these are.
    pub family: Family,
    /// `--hashlimit-upto` or `--hashlimit-above`.
    pub bound: Bound,
    /// The rate.
    pub rate: Rate,
    /// `--hashlimit-burst`: how many packets at once; with bytes how many times the rate, 0 for one
    /// second.
    pub burst: u32,
    /// `--hashlimit-mode`: which fields tell buckets apart: 1 destination address, 2 its port, 4
    /// source address, 8 its port.
    pub mode: u8,
    /// `--hashlimit-srcmask`: bits of the source that count.
    pub source_length: u8,
    /// `--hashlimit-dstmask`: bits of the destination that count.
    pub destination_length: u8,
    /// `--hashlimit-name`, at most 254 bytes.
    pub name: String,
    /// `--hashlimit-htable-size`: 0 is chosen by memory.
    pub size: u32,
    /// `--hashlimit-htable-max`: how many buckets there may be, 0 is chosen.
    pub most: u32,
    /// `--hashlimit-htable-gcinterval`: milliseconds between collections.
    pub collect: u32,
    /// `--hashlimit-htable-expire`: milliseconds after which an idle bucket goes.
    pub expire: u32,
    /// `--hashlimit-rate-match`: the rate is measured over so many seconds, nothing is limited.
    pub measure: Option<u32>,
    written: Written,
}

/// What the options said, before it is known what it means together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    /// Packets in the unit, the unit in seconds.
    number: u64,
    unit: u32,
    /// `--hashlimit-rate-match` and its `--hashlimit-rate-interval`.
    measured: bool,
    interval: Option<u32>,
    burst: u64,
}

/// How much a bucket gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Millionths of a second between two packets.
    Packets(u64),
    /// Packets in [`Hashlimit::measure`].
    Measured(u64),
    /// The kernel's cost of 16 bytes: `2³² / (bytes a second / 16 + 1)`.
    Bytes(u32),
}

impl Hashlimit {
    pub(crate) const NAMES: &[&str] = &["hashlimit"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        let whole = match family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        Self {
            family,
            bound: Bound::UpTo,
            rate: Rate::Packets(0),
            burst: BURST,
            mode: 0,
            source_length: whole,
            destination_length: whole,
            name: String::new(),
            size: 0,
            most: 0,
            collect: 1000,
            expire: 10_000,
            measure: None,
            written: Written { burst: BURST.into(), ..Written::default() },
        }
    }
}

const BURST: u32 = 5;
const MOST_BURST: u64 = 1_000_000;
const SCALE: u64 = 1_000_000;
/// How many the kernel makes, whatever is asked for.
const MOST_BUCKETS: u32 = 1_048_576;
/// Seconds that an idle bucket of bytes stays, without and with a burst.
const BYTES_EXPIRE: u32 = 15;
const BYTES_BURST_EXPIRE: u32 = 60;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("hashlimit-upto")
        .aliases(&["hashlimit"])
        .invertible()
        .excludes(&["hashlimit-above"]),
    OptionSpec::value("hashlimit-above").invertible().excludes(&["hashlimit-upto"]),
    OptionSpec::value("hashlimit-srcmask"),
    OptionSpec::value("hashlimit-dstmask"),
    OptionSpec::value("hashlimit-burst"),
    OptionSpec::value("hashlimit-htable-size"),
    OptionSpec::value("hashlimit-htable-max"),
    OptionSpec::value("hashlimit-htable-gcinterval"),
    OptionSpec::value("hashlimit-htable-expire"),
    OptionSpec::value("hashlimit-mode"),
    OptionSpec::value("hashlimit-name").mandatory(),
    OptionSpec::flag("hashlimit-rate-match"),
    OptionSpec::value("hashlimit-rate-interval"),
];

impl Extension for Hashlimit {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "hashlimit-upto" => {
                self.rate(given)?;
                self.bound = Bound::of(given.inverted);
            }
            "hashlimit-above" => {
                self.rate(given)?;
                self.bound = Bound::of(!given.inverted);
            }
            "hashlimit-srcmask" => self.source_length = length(given)?,
            "hashlimit-dstmask" => self.destination_length = length(given)?,
            "hashlimit-burst" => self.written.burst = burst(given.text)?,
            "hashlimit-htable-size" => self.size = given.u32()?.min(MOST_BUCKETS),
            "hashlimit-htable-max" => self.most = given.u32()?.min(MOST_BUCKETS),
            "hashlimit-htable-gcinterval" => self.collect = given.u32()?,
            "hashlimit-htable-expire" => self.expire = given.u32()?,
            "hashlimit-mode" => self.mode |= mode(given)?,
            "hashlimit-name" => self.name = name(given)?,
            "hashlimit-rate-match" => self.written.measured = true,
            _ => self.written.interval = Some(given.number(1..=u64::from(u32::MAX) - 1)? as u32),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        if !seen.has("hashlimit-upto") && !seen.has("hashlimit-above") {
            let message = "hashlimit: `--hashlimit-upto` or `--hashlimit-above` must be given";
            return Err(Refusal::new(message));
        }
        let Written { number, unit, measured, interval, burst } = self.written;
        let expires = seen.has("hashlimit-htable-expire");
        if !expires {
            self.expire = unit * 1000;
        }
        // A rate in bytes is one a second, whatever its buckets' time.
        let is_packets = matches!(self.rate, Rate::Packets(_));
        let usual = if is_packets { unit } else { 1 };
        self.measure = measured.then(|| interval.unwrap_or(usual));
        self.burst = burst as u32;
        match self.rate {
            Rate::Bytes(cost) if seen.has("hashlimit-burst") => {
                let rate = bytes_of(cost);
                if burst < rate {
                    let message = format!("hashlimit: a burst cannot be smaller than {rate}b");
                    return Err(Refusal::new(message));
                }
                // The kernel's room for it is 32 bits.
                let burst = u64::from(self.burst);
                self.burst = burst.div_ceil(rate.max(1)) as u32;
                if !expires {
                    self.expire = BYTES_BURST_EXPIRE * 1000;
                }
            }
            Rate::Bytes(_) => self.burst = 0,
            Rate::Packets(_) | Rate::Measured(_) if burst > MOST_BURST => return Err(bad_burst()),
            Rate::Packets(_) if measured => {
                // The kernel is told the time between two packets.
                let every = SCALE.checked_div(number).unwrap_or_default();
                self.rate = Rate::Measured(SCALE.checked_div(every).unwrap_or(number));
            }
            Rate::Packets(_) | Rate::Measured(_) => {}
        }
        // All is told by the fields now: rules that mean the same are the same.
        self.written = Written::default();
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let option = match self.bound {
            Bound::UpTo => "hashlimit-upto",
            Bound::Above => "hashlimit-above",
        };
        let expire = self.save_rate(save, option);
        let modes: Vec<_> =
            MODES.iter().filter(|(_, bit)| self.mode & bit != 0).map(|(name, _)| *name).collect();
        if !modes.is_empty() {
            save.option("hashlimit-mode", modes.join(","));
        }
        save.option("hashlimit-name", &self.name);
        let numbers = [
            ("hashlimit-htable-size", self.size, 0),
            ("hashlimit-htable-max", self.most, 0),
            ("hashlimit-htable-gcinterval", self.collect, 1000),
            ("hashlimit-htable-expire", self.expire, expire),
            ("hashlimit-srcmask", self.source_length.into(), self.whole().into()),
            ("hashlimit-dstmask", self.destination_length.into(), self.whole().into()),
        ];
        for (name, value, _) in numbers.iter().filter(|(_, value, usual)| value != usual) {
            save.option(name, value);
        }
        if let Some(interval) = self.measure {
            save.flag("hashlimit-rate-match");
            if interval != 1 {
                save.option("hashlimit-rate-interval", interval);
            }
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::table(format!("hashlimit: {why}")));
        if self.source_length > self.whole() || self.destination_length > self.whole() {
            return refuse("a mask is longer than an address");
        }
        if self.collect == 0 || self.expire == 0 {
            return refuse("an interval of 0");
        }
        is_file_name("hashlimit", &self.name)?;
        match self.rate {
            Rate::Packets(every) => {
                let full = credits(every.wrapping_mul(self.burst.into()));
                match self.burst == 0 || full < credits(every) {
                    true => refuse("a bucket of this size does not fit the kernel"),
                    false => Ok(()),
                }
            }
            // Its distance between two packets is less than a millionth of a second.
            Rate::Measured(number) if number > SCALE => {
                refuse("the rate is too high for the kernel")
            }
            Rate::Bytes(1) => refuse("the rate is too high for the kernel"),
            Rate::Bytes(_) | Rate::Measured(_) => Ok(()),
        }
    }
}

impl Hashlimit {
    fn whole(&self) -> u8 {
        match self.family {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// Prints rate and burst, and tells the usual `--hashlimit-htable-expire` of them.
    fn save_rate(&self, save: &mut Save, option: &str) -> u32 {
        match self.rate {
            Rate::Packets(every) => {
                let (number, unit, seconds) = shown(every);
                save.option(option, format_args!("{number}/{unit}"));
                save.option("hashlimit-burst", self.burst);
                seconds * 1000
            }
            Rate::Measured(number) => {
                save.option(option, format_args!("{number}/sec"));
                save.option("hashlimit-burst", self.burst);
                1000
            }
            Rate::Bytes(cost) => {
                let rate = bytes_of(cost);
                let (number, unit) = shown_bytes(rate, |bytes| cost_of(bytes) == cost);
                save.option(option, format_args!("{number}{unit}/s"));
                if self.burst == 0 {
                    return BYTES_EXPIRE * 1000;
                }
                let (number, unit) = shown_bytes(rate.saturating_mul(self.burst.into()), |_| true);
                save.option("hashlimit-burst", format_args!("{number}{unit}"));
                BYTES_BURST_EXPIRE * 1000
            }
        }
    }
}

/// The kernel's credits: as many a tick as let a day fit into 64 bits, of which a millionth of a
/// second has its share, rounded.
pub(crate) fn credits(time: u64) -> u64 {
    const PER_SECOND: u64 = 250 << 39;
    time.wrapping_mul(PER_SECOND / SCALE)
}

impl Hashlimit {
    /// `Nb/s`, `Nkb/s`, `Nmb/s`, else packets as `-m limit` counts them.
    fn rate(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        if let Some(cost) = bytes(given.text) {
            self.rate = Rate::Bytes(cost);
            self.written.unit = BYTES_EXPIRE;
            return Ok(());
        }
        let parsed = limit::number_and_unit(given.text).filter(|(number, _)| *number != 0);
        let Some((number, unit)) = parsed else {
            return Err(given.bad().hint("as 5/second, or 512kb/s"));
        };
        let number = u64::from(number);
        if number / u64::from(unit) > SCALE {
            let refusal = Refusal::new(format!("rate `{}` is too fast", given.text));
            return Err(refusal.hint(format!("at most {SCALE} a second")));
        }
        self.rate = Rate::Packets(SCALE * u64::from(unit) / number);
        (self.written.number, self.written.unit) = (number, unit);
        Ok(())
    }
}

/// The cost of a rate in bytes, if it is one.
fn bytes(text: &str) -> Option<u32> {
    let unit = text.get(..text.find("b/s")?)?.chars().last()?;
    let factor = match unit {
        'm' => 1024 * 1024,
        'k' => 1024,
        _ => 1,
    };
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..end)?.parse().ok().filter(|number| *number != 0)?;
    Some(cost_of(number.saturating_mul(factor)))
}

/// The kernel has 32 bits for what stands below the line.
fn cost_of(bytes: u64) -> u32 {
    let sixteens = (bytes >> 4) as u32;
    u32::MAX.checked_div(sixteens.wrapping_add(1)).unwrap_or(u32::MAX)
}

/// Bytes a second of a cost.
fn bytes_of(cost: u32) -> u64 {
    let sixteens = u32::MAX.checked_div(cost).unwrap_or(u32::MAX);
    u64::from(sixteens.saturating_sub(1)) << 4
}

/// A number, and perhaps k or m behind it.
fn burst(text: &str) -> Result<u64, Refusal> {
    let (value, rest) = number::prefix(text).ok_or_else(bad_burst)?;
    if value == 0 || value > u32::MAX.into() || (rest.is_empty() && value > MOST_BURST) {
        return Err(bad_burst());
    }
    let factor = match rest.chars().next() {
        Some('m') => 1024 * 1024,
        Some('k') => 1024,
        _ => 1,
    };
    Ok(value.saturating_mul(factor))
}

fn bad_burst() -> Refusal {
    let refusal = Refusal::new("hashlimit: bad value for `--hashlimit-burst`");
    refusal.hint(format!(
        "a number from 1 to {MOST_BURST}, or bytes as 4mb where the rate is in bytes"
    ))
}

fn length(given: &Given<'_>) -> Result<u8, Refusal> {
    if let Some(length) = number::whole(given.text, u32::MAX.into()) {
        let most = match given.family() {
            Family::V4 => u64::from(u8::MAX),
            Family::V6 => 128,
        };
        return match length {
            length if given.family() == Family::V6 && length > most => given.mask().map(|_| 0),
            length => Ok(length.min(u8::MAX.into()) as u8),
        };
    }
    // A mask with holes has no length: the kernel refuses what stands for it.
    let mask = given.mask()?;
    let length = address::prefix_length(mask).and_then(|length| u8::try_from(length).ok());
    Ok(length.unwrap_or(u8::MAX))
}

fn mode(given: &Given<'_>) -> Result<u8, Refusal> {
    let words = given.text.split(',').filter(|word| !word.is_empty());
    words.map(|word| MODES.iter().find(|(name, _)| *name == word)).try_fold(0, |bits, found| {
        let hint = "srcip, dstip, srcport, dstport";
        Ok(bits | found.ok_or_else(|| given.bad().hint(hint))?.1)
    })
}

fn name(given: &Given<'_>) -> Result<String, Refusal> {
    match given.text.is_empty() {
        true => Err(Refusal::new("hashlimit: `--hashlimit-name` needs at least 1 character")),
        false => Ok(given.cut(254)),
    }
}

/// In the order in which they are printed.
const MODES: [(&str, u8); 4] = [("srcip", 4), ("srcport", 8), ("dstip", 1), ("dstport", 2)];

/// The largest unit of which `every` is a fair share, and its seconds.
fn shown(every: u64) -> (u64, &'static str, u32) {
    const UNITS: [(u32, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "min"), (1, "sec")];
    let every = every.max(1);
    let mut chosen = UNITS[0];
    for next in &UNITS[1..] {
        let span = SCALE * u64::from(next.0);
        if every > span || span / every < span % every {
            break;
        }
        chosen = *next;
    }
    (SCALE * u64::from(chosen.0) / every, chosen.1, chosen.0)
}

/// In the largest unit in which it is not lost. What is rounded loses its upper 32 bits as well.
fn shown_bytes(bytes: u64, kept: impl Fn(u64) -> bool) -> (u64, &'static str) {
    let units: [(u32, &str); 2] = [(1024 * 1024, "mb"), (1024, "kb")];
    let fits = units
        .iter()
        .find(|(size, _)| bytes >= u64::from(*size) && kept(bytes & u64::from(!(size - 1))));
    fits.map_or((bytes, "b"), |(size, name)| (bytes / u64::from(*size), *name))
}

/// Lists and tables are files below /proc: the kernel makes none with such a name.
pub(crate) fn is_file_name(what: &str, name: &str) -> Result<(), Refusal> {
    match name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        true => {
            let refusal = Refusal::table(format!("{what}: `{name}` is no name for a file"));
            Err(refusal.hint("it shall be one below /proc/net"))
        }
        false => Ok(()),
    }
}

impl Matching for Hashlimit {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        view.context.shared().borrow_mut().hashlimit.ask(self, view)
    }
}
