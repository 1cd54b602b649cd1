//! `-m statistic`: some packets, by chance or by counting.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::{Memory, Own};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// Which packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// `--mode`.
    pub mode: Mode,
    /// `--probability`, of [`CERTAIN`]; rounded as the kernel takes it.
    pub probability: Test<u32>,
    /// `--every`: one of so many packets.
    pub every: Test<u32>,
    /// `--packet`: which of them, from 0.
    pub packet: u32,
}

/// How packets are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By chance.
    Random,
    /// By counting.
    Nth,
}

/// A probability of 1.
pub const CERTAIN: u32 = 1 << 31;

impl Statistic {
    pub(crate) const NAMES: &[&str] = &["statistic"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        let (probability, every) = (Test::plain(0), Test::plain(0));
        Self { mode: Mode::Random, probability, every, packet: 0 }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("mode").mandatory(),
    OptionSpec::value("probability")
        .invertible()
        .requires(&["mode"])
        .excludes(&["every", "packet"]),
    OptionSpec::value("every")
        .invertible()
        .requires(&["mode", "packet"])
        .excludes(&["probability"]),
    OptionSpec::value("packet").requires(&["mode", "every"]).excludes(&["probability"]),
];

impl Extension for Statistic {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "mode" => {
                self.mode = match given.text {
                    "random" => Mode::Random,
                    "nth" => Mode::Nth,
                    _ => return Err(given.bad().hint("random or nth")),
                }
            }
            "probability" => self.probability = Test { value: probability(given)?, inverted },
            "every" => {
                let value = given.number(1..=u32::MAX.into())? as u32;
                self.every = Test { value, inverted };
            }
            _ => self.packet = given.u32()?,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match self.mode {
            Mode::Random if !seen.has("probability") => {
                Err(Refusal::new("statistic: mode random needs `--probability`"))
            }
            Mode::Nth if !seen.has("every") && !seen.has("packet") => {
                Err(Refusal::new("statistic: mode nth needs `--every` and `--packet`"))
            }
            Mode::Nth if seen.has("every") && self.packet >= self.every.value => {
                let refusal = Refusal::new("statistic: there is no such `--packet`");
                Err(refusal.hint(format!("a number from 0 to {}", self.every.value - 1)))
            }
            _ => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.mode {
            Mode::Random => {
                let Test { value, inverted } = self.probability;
                let share = f64::from(value) / f64::from(CERTAIN);
                save.option("mode", "random").inverted(inverted);
                save.option("probability", format_args!("{share:.11}"));
            }
            Mode::Nth => {
                let Test { value, inverted } = self.every;
                save.option("mode", "nth").inverted(inverted).option("every", value);
                save.option("packet", self.packet);
            }
        }
    }
}

/// A share of [`CERTAIN`]. What is no number at all is none, as in C.
fn probability(given: &Given<'_>) -> Result<u32, Refusal> {
    let value = number::real(given.text).filter(|value| !(*value < 0.0 || *value > 1.0));
    let value = value.ok_or_else(|| given.bad().hint("a number from 0 to 1"))?;
    // Rounded half up, without the platform's mathematics.
    let share = value * f64::from(CERTAIN);
    let whole = share as u32;
    Ok(if share - f64::from(whole) >= 0.5 { whole.saturating_add(1) } else { whole })
}

impl Statistic {
    /// The packets that were counted before the first one.
    pub(crate) fn counted(&self) -> u32 {
        self.every.value.saturating_sub(1).saturating_sub(self.packet)
    }
}

impl Matching for Statistic {
    fn passes(&self, _: &View<'_>, memory: &mut Memory<'_>) -> Result<bool, Stop> {
        match memory.own {
            Own::Counted(counted) => {
                let is_due = *counted >= self.every.value.saturating_sub(1);
                *counted = if is_due { 0 } else { *counted + 1 };
                Ok(self.every.passes(is_due))
            }
            Own::Chance(chance) => {
                let drawn = chance.next() & (CERTAIN - 1);
                Ok(self.probability.passes(drawn < self.probability.value))
            }
            _ => Ok(false),
        }
    }
}

/// Numbers by chance, the same in each run: a capture replayed twice shows the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Each rule has numbers of its own, so that two rules do not choose the same packets.
    pub(crate) fn of_rule(rule: u64) -> Self {
        Self(rule.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// SplitMix64, of which the upper half is taken.
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met_in_turn};

    fn met(rule: &str, count: usize) -> Vec<bool> {
        met_in_turn(rule, (0..count).map(|_| Alone::udp(53)))
    }

    #[test]
    fn every_third_from_the_second() {
        let expected = [false, true, false, false, true, false, false, true];
        assert_eq!(met("-m statistic --mode nth --every 3 --packet 1", 8), expected);
        let others = expected.map(|met| !met);
        assert_eq!(met("-m statistic --mode nth ! --every 3 --packet 1", 8), others);
        assert_eq!(met("-m statistic --mode nth --every 1 --packet 0", 3), [true; 3]);
    }

    #[test]
    fn by_chance() {
        let share = |rule: &str| met(rule, 10_000).into_iter().filter(|met| *met).count();
        assert_eq!(share("-m statistic --mode random --probability 1"), 10_000);
        assert_eq!(share("-m statistic --mode random --probability 0"), 0);
        let quarter = share("-m statistic --mode random --probability 0.25");
        assert!((2_300..2_700).contains(&quarter), "{quarter}");
        let rest = share("-m statistic --mode random ! --probability 0.25");
        assert!((7_300..7_700).contains(&rest), "{rest}");
    }

    #[test]
    fn two_rules_choose_on_their_own() {
        let half = "-m statistic --mode random --probability 0.5";
        let line = format!("{half} -j RETURN\n-A FORWARD {half}");
        let met = met(&line, 4_000).into_iter().filter(|met| *met).count();
        assert!((900..1_100).contains(&met), "{met}");
    }
}
