//! `-j TOS`: `tos = (tos & !mask) ^ value`; the packet goes on.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::tos::{Bits, bits};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::TableName;
use crate::save::Save;

/// One of four ways to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tos {
    /// Bits of the mask are cleared, then those of the value turned over.
    pub set: Bits,
}

impl Tos {
    pub(crate) const NAMES: &[&str] = &["TOS"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { set: Bits { value: 0, mask: 0 } }
    }
}

const WAYS: [&str; 4] = ["set-tos", "and-tos", "or-tos", "xor-tos"];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-tos").excludes(&WAYS),
    OptionSpec::value("and-tos").excludes(&WAYS),
    OptionSpec::value("or-tos").excludes(&WAYS),
    OptionSpec::value("xor-tos").excludes(&WAYS),
];

impl Extension for Tos {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.set = match given.option {
            "set-tos" => bits(given)?,
            "and-tos" => Bits { value: 0, mask: !given.u8()? },
            "or-tos" => {
                let value = given.u8()?;
                Bits { value, mask: value }
            }
            _ => Bits { value: given.u8()?, mask: 0 },
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("TOS: an option is missing").hint("`--set-tos`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Bits { value, mask } = self.set;
        save.option("set-tos", format_args!("{value:#04x}/{mask:#04x}"));
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Tos {}
