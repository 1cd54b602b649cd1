//! `-m rateest`: how fast packets come that a rule with `-j RATEEST` measures.

use std::fmt::{self, Display};

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension, Place};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// A rate that is compared with numbers, or with another rate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rateest {
    /// `--rateest1`: at most 15 bytes.
    pub first: String,
    /// `--rateest2`: compares with this one.
    pub second: Option<String>,
    /// `--rateest-delta`: what is less than the numbers is compared.
    pub delta: bool,
    /// `--rateest-bps1`, `--rateest-bps2`: in bytes a second.
    pub bytes: Option<[u32; 2]>,
    /// `--rateest-pps1`, `--rateest-pps2`.
    pub packets: Option<[u32; 2]>,
    /// `--rateest-lt`, `--rateest-gt`, `--rateest-eq`: the last one counts.
    pub mode: Option<Mode>,
    /// Any of them was inverted.
    pub inverted: bool,
}

/// How rates are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first is less.
    Less,
    /// The first is greater.
    Greater,
    /// They are equal.
    Equal,
}

impl Rateest {
    pub(crate) const NAMES: &[&str] = &["rateest"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }

    /// The estimators that it asks.
    pub(crate) fn estimators(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.first.as_str()).chain(self.second.as_deref())
    }
}

const ROOM: usize = 15;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("rateest1").aliases(&["rateest"]),
    OptionSpec::value("rateest2"),
    OptionSpec::flag("rateest-bps1"),
    OptionSpec::flag("rateest-pps1"),
    OptionSpec::flag("rateest-bps2").aliases(&["rateest-bps"]),
    OptionSpec::flag("rateest-pps2").aliases(&["rateest-pps"]),
    OptionSpec::flag("rateest-delta"),
    OptionSpec::flag("rateest-lt").invertible(),
    OptionSpec::flag("rateest-gt").invertible(),
    OptionSpec::flag("rateest-eq").invertible(),
];

impl Extension for Rateest {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "rateest1" => self.first = given.cut(ROOM),
            "rateest2" => self.second = Some(given.cut(ROOM)),
            "rateest-delta" => self.delta = true,
            "rateest-bps1" => self.bytes = Some([bytes(given)?, at(self.bytes, 1)]),
            "rateest-bps2" => self.bytes = Some([at(self.bytes, 0), bytes(given)?]),
            "rateest-pps1" => self.packets = Some([packets(given)?, at(self.packets, 1)]),
            "rateest-pps2" => self.packets = Some([at(self.packets, 0), packets(given)?]),
            option => {
                self.inverted |= given.inverted;
                self.mode = Some(match option {
                    "rateest-lt" => Mode::Less,
                    "rateest-gt" => Mode::Greater,
                    _ => Mode::Equal,
                });
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if self.delta {
            save.flag("rateest-delta");
        }
        let name = if self.second.is_some() { "rateest1" } else { "rateest" };
        save.option(name, &self.first);
        if let Some(rates) = self.bytes {
            self.save_rates(save, "rateest-bps", rates.map(Rate));
        }
        if let Some(rates) = self.packets {
            self.save_rates(save, "rateest-pps", rates);
        }
        if let Some(second) = &self.second {
            save.option("rateest2", second);
        }
    }

    /// That the estimators are there is seen where all rules are (`validate.rs`).
    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        if self.mode.is_none() {
            let refusal = Refusal::table("rateest: how rates are compared is missing");
            return Err(refusal.hint("`--rateest-lt`, `--rateest-gt` or `--rateest-eq`"));
        }
        if self.bytes.is_none() && self.packets.is_none() {
            let refusal = Refusal::table("rateest: what is compared is missing");
            return Err(refusal.hint("`--rateest-bps` or `--rateest-pps`"));
        }
        Ok(())
    }
}

impl Rateest {
    /// The first rate is what is taken off. Another estimator's rate stands in no rule, but for
    /// what is taken off it.
    fn save_rates(&self, save: &mut Save, name: &str, [first, second]: [impl Display; 2]) {
        if self.delta {
            save.option(&format!("{name}1"), first);
            self.save_mode(save);
            save.option(&format!("{name}2"), second);
            return;
        }
        self.save_mode(save);
        save.flag(name);
        if self.second.is_none() {
            save.word(second);
        }
    }

    fn save_mode(&self, save: &mut Save) {
        let name = match self.mode {
            Some(Mode::Less) => "rateest-lt",
            Some(Mode::Greater) => "rateest-gt",
            Some(Mode::Equal) => "rateest-eq",
            None => return,
        };
        save.inverted(self.inverted).flag(name);
    }
}

fn at(rates: Option<[u32; 2]>, index: usize) -> u32 {
    rates.and_then(|rates| rates.get(index).copied()).unwrap_or_default()
}

/// How many bits a second the units are.
const UNITS: [(&str, u64); 18] = [
    ("bit", 1),
    ("Kibit", 1 << 10),
    ("kbit", 1_000),
    ("mibit", 1 << 20),
    ("mbit", 1_000_000),
    ("gibit", 1 << 30),
    ("gbit", 1_000_000_000),
    ("tibit", 1 << 40),
    ("tbit", 1_000_000_000_000),
    ("Bps", 8),
    ("KiBps", 8 << 10),
    ("KBps", 8_000),
    ("MiBps", 8 << 20),
    ("MBps", 8_000_000),
    ("GiBps", 8 << 30),
    ("GBps", 8_000_000_000),
    ("TiBps", 8 << 40),
    ("TBps", 8_000_000_000_000),
];

/// The rate behind the option, if there is one; in bytes, if no unit is.
fn bytes(given: &mut Given<'_>) -> Result<u32, Refusal> {
    let Some(text) = given.second().map(str::to_owned) else { return Ok(0) };
    let rate = || {
        let (number, unit) = number::real_prefix(&text)?;
        if unit.is_empty() {
            return Some(number / 8.0);
        }
        let (_, scale) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        Some(number * *scale as f64 / 8.0)
    };
    let hint = "a number, and perhaps bit, kbit, mbit, Bps, KBps, MBps or another unit behind it";
    let refusal = || Refusal::new(format!("rateest: bad rate `{text}`")).hint(hint);
    rate().map(number::truncated).ok_or_else(refusal)
}

/// The number behind the option, if there is one.
fn packets(given: &mut Given<'_>) -> Result<u32, Refusal> {
    let Some(text) = given.second() else { return Ok(0) };
    let number = number::whole(text, u32::MAX.into());
    let refusal = || Refusal::new(format!("rateest: bad number of packets `{text}`"));
    number.map(|number| number as u32).ok_or_else(refusal)
}

/// A rate of bytes as iptables prints it: in bits, with the half to the even.
struct Rate(u32);

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = f64::from(self.0) * 8.0;
        match bits {
            1e9.. => write!(f, "{:.0}Mbit", bits / 1e6),
            1e6.. => write!(f, "{:.0}Kbit", bits / 1e3),
            _ => write!(f, "{bits:.0}bit"),
        }
    }
}

impl Matching for Rateest {}
