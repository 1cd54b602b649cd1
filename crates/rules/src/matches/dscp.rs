//! `-m dscp`: the upper six bits of the former TOS byte.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// `[!] --dscp VALUE` or `[!] --dscp-class NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dscp {
    /// 0 to 63.
    pub value: Test<u8>,
}

impl Dscp {
    pub(crate) const NAMES: &[&str] = &["dscp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { value: Test::plain(0) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("dscp").invertible().excludes(&["dscp-class"]),
    OptionSpec::value("dscp-class").invertible().excludes(&["dscp"]),
];

impl Extension for Dscp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let value = match given.option {
            "dscp" => given.number(0..=63)? as u8,
            _ => class(given)?,
        };
        self.value = Test { value, inverted: given.inverted };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("dscp: `--dscp` must be given")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Test { value, inverted } = self.value;
        save.inverted(inverted).option("dscp", format_args!("{value:#04x}"));
    }
}

/// The class that a name stands for, in any case.
pub(crate) fn class(given: &Given<'_>) -> Result<u8, Refusal> {
    let found = CLASSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given.text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        given.bad().hint("CS0 to CS7, BE, EF, or AF with a class, 1 to 4, and a number, 1 to 3")
    })
}

#[rustfmt::skip]
const CLASSES: &[(&str, u8)] = &[
    ("CS0", 0x00), ("CS1", 0x08), ("CS2", 0x10), ("CS3", 0x18),
    ("CS4", 0x20), ("CS5", 0x28), ("CS6", 0x30), ("CS7", 0x38),
    ("BE", 0x00),
    ("AF11", 0x0a), ("AF12", 0x0c), ("AF13", 0x0e),
    ("AF21", 0x12), ("AF22", 0x14), ("AF23", 0x16),
    ("AF31", 0x1a), ("AF32", 0x1c), ("AF33", 0x1e),
    ("AF41", 0x22), ("AF42", 0x24), ("AF43", 0x26),
    ("EF", 0x2e),
];

impl Matching for Dscp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.value.passes(view.packet.tos() >> 2 == self.value.value))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    #[test]
    fn the_upper_six_bits() {
        for family in BOTH {
            let mut packet = Alone::udp_of(*family, 53);
            packet.set_tos(0xb9);
            assert_eq!(met("-m dscp --dscp-class ef", &mut packet), Some(true));
            assert_eq!(met("-m dscp ! --dscp 0x2e", &mut packet), Some(false));
            assert_eq!(met("-m dscp --dscp 0x2f", &mut packet), Some(false));
        }
    }
}
