//! `-j HL`: the packet's hop limit is set, raised or lowered; the packet goes on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{Demands, Extension, V6};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::ttl::Change;

/// `--hl-set`, `--hl-dec` or `--hl-inc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hl {
    /// What becomes of it.
    pub change: Change,
}

impl Hl {
    pub(crate) const NAMES: &[&str] = &["HL"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { change: Change::Set(0) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("hl-set").excludes(&["hl-dec", "hl-inc"]),
    OptionSpec::value("hl-dec").excludes(&["hl-set", "hl-inc"]),
    OptionSpec::value("hl-inc").excludes(&["hl-set", "hl-dec"]),
];

impl Extension for Hl {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.change = match given.option {
            "hl-set" => Change::Set(given.u8()?),
            "hl-dec" => Change::Lower(given.number(1..=255)? as u8),
            _ => Change::Raise(given.number(1..=255)? as u8),
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("HL: an option is missing").hint("`--hl-set`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.change {
            Change::Set(value) => save.option("hl-set", value),
            Change::Lower(by) => save.option("hl-dec", by),
            Change::Raise(by) => save.option("hl-inc", by),
        };
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Hl {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        self.change.act(context);
        Action::Continue
    }
}
