//! `-j RATEEST`: measures how fast packets come, for `-m rateest`.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Extension};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// An estimator: rules of one name measure together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rateest {
    /// At most 15 bytes.
    pub name: String,
    /// A measurement takes a quarter of a second times this power of 2, 0 to 5.
    pub interval: u8,
    /// A measurement counts 1 in this power of 2, 1 to 29.
    pub weight: u8,
    /// As they were given, in microseconds.
    given: [u32; 2],
}

impl Rateest {
    pub(crate) const NAMES: &[&str] = &["RATEEST"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }

    /// What estimators of one name must agree about.
    pub(crate) fn measures(&self) -> [u8; 2] {
        [self.interval, self.weight]
    }
}

const ROOM: usize = 15;
const SECOND: u32 = 1_000_000;
const SLOWEST: u8 = 5;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("rateest-name").mandatory(),
    OptionSpec::value("rateest-interval").mandatory(),
    OptionSpec::value("rateest-ewmalog").mandatory(),
];

/// -ln(1 - 2⁻ⁿ) for n from 1: an interval divided by it is how long a measurement lasts. Constants,
/// since the platform's logarithm must not decide.
const FADES: [f64; 30] = [
    core::f64::consts::LN_2,
    0.2876820724517809,
    0.13353139262452263,
    0.06453852113757118,
    0.0317486983145803,
    0.015748356968139168,
    0.007843177461025893,
    0.003913899321136329,
    0.0019550348358033506,
    0.0009770396478266127,
    0.0004884004981088745,
    0.0002441704321739145,
    0.00012207776368698225,
    6.103701897094392e-05,
    3.0518043795761425e-05,
    1.5258905479006077e-05,
    7.629423635228488e-06,
    3.814704541601118e-06,
    1.9073504518042164e-06,
    9.5367477115389e-07,
    4.768372718899988e-07,
    2.3841860752327643e-07,
    1.1920929665620916e-07,
    5.960464655174753e-08,
    2.980232283178453e-08,
    1.490116130486996e-08,
    7.450580624679404e-09,
    3.725290305400808e-09,
    1.8626451509656805e-09,
    9.313225750491594e-10,
];

impl Extension for Rateest {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let [interval, average] = &mut self.given;
        match given.option {
            "rateest-name" => self.name = given.cut(ROOM),
            "rateest-interval" => *interval = time(given)?,
            _ => *average = time(given)?,
        }
        Ok(())
    }

    fn finish(&mut self, _: &Seen, _: &Header) -> Result<(), Refusal> {
        let [interval, average] = self.given;
        let enough = |power: &u8| interval <= (SECOND / 4) << power;
        let Some(power) = (0..=SLOWEST).find(enough) else {
            let refusal = Refusal::new("RATEEST: `--rateest-interval` is too long");
            return Err(refusal.hint("at most 8s"));
        };
        self.interval = power;
        // The interval as it was given, not as it was rounded.
        let longer = |fades: &f64| f64::from(interval) / fades > f64::from(average);
        let weight = FADES.iter().position(longer).unwrap_or_default();
        if weight == 0 {
            let refusal = Refusal::new("RATEEST: `--rateest-ewmalog` is out of range");
            return Err(refusal.hint("at least one and a half times the interval"));
        }
        self.weight = weight as u8;
        self.given = [0; 2];
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let interval = (SECOND / 4) << self.interval;
        let average = interval.wrapping_mul(1 << self.weight);
        save.option("rateest-name", &self.name);
        save.option("rateest-interval", Time(interval)).option("rateest-ewmalog", Time(average));
    }
}

/// Microseconds, if no unit is given.
fn time(given: &Given<'_>) -> Result<u32, Refusal> {
    let time = || {
        let (number, unit) = number::real_prefix(given.text)?;
        let scale = match unit.to_ascii_lowercase().as_str() {
            "s" | "sec" | "secs" => SECOND,
            "ms" | "msec" | "msecs" => SECOND / 1_000,
            "" | "us" | "usec" | "usecs" => 1,
            _ => return None,
        };
        Some(number::truncated(number * f64::from(scale)))
    };
    time().ok_or_else(|| given.bad().hint("a number, and perhaps s, ms or us behind it"))
}

/// Microseconds as iptables prints them.
struct Time(u32);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = f64::from(self.0);
        match self.0 {
            SECOND.. => write!(f, "{:.1}s", time / 1e6),
            1_000.. => write!(f, "{:.1}ms", time / 1e3),
            time => write!(f, "{time}us"),
        }
    }
}

impl Acting for Rateest {}
