//! `-j CLASSIFY`: sets the packet's class for queueing, which no rule can ask for; the packet goes
//! on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// `--set-class MAJOR:MINOR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classify {
    /// The queueing discipline.
    pub major: u16,
    /// Its class.
    pub minor: u16,
}

impl Classify {
    pub(crate) const NAMES: &[&str] = &["CLASSIFY"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { major: 0, minor: 0 }
    }
}

impl Extension for Classify {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("set-class").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let class = || {
            let (major, rest) = scanned(given.text)?;
            let (minor, _) = scanned(rest.strip_prefix(':')?)?;
            Some((major, minor))
        };
        let refusal = || given.bad().hint("two hexadecimal numbers: 1:2");
        (self.major, self.minor) = class().ok_or_else(refusal)?;
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.option("set-class", format_args!("{:04x}:{:04x}", self.major, self.minor));
    }

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Output, Hook::Forward, Hook::Postrouting])
    }
}

/// A hexadecimal number as C's `scanf` reads it, of which the lower 16 bits count, and what follows
/// it.
fn scanned(text: &str) -> Option<(u16, &str)> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, body) = match body.strip_prefix(['+', '-']) {
        Some(rest) => (body.starts_with('-'), rest),
        None => (false, body),
    };
    // Of `0x` with nothing behind it the 0 is a number, and the `x` is read as well.
    let prefix = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X"));
    let digits = prefix.unwrap_or(body);
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        return prefix.map(|rest| (0, rest));
    }
    let value = u64::from_str_radix(number, 16);
    let value = match value {
        Ok(value) if negative => value.wrapping_neg(),
        Ok(value) => value,
        Err(_) => u64::MAX,
    };
    Some((value as u16, rest))
}

impl Acting for Classify {
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::Continue
    }
}
