//! `-j DNAT`: the destination becomes another one.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::nat::{Base, NatRange, Translation};

/// What the destination becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dnat {
    /// Where to choose from.
    pub to: NatRange,
}

impl Dnat {
    pub(crate) const NAMES: &[&str] = &["DNAT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { to: NatRange::default() }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("to-destination").mandatory(),
    OptionSpec::flag("random"),
    OptionSpec::flag("persistent"),
];

impl Extension for Dnat {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "to-destination" => self.to.parse(given, Base::Kept),
            option => {
                self.to.choice.set(option);
                Ok(())
            }
        }
    }

    fn save(&self, save: &mut Save) {
        self.to.save(save, "to-destination");
        self.to.choice.save(save);
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Nat]).hooks(&[Hook::Prerouting, Hook::Output])
    }
}

impl Acting for Dnat {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context
            .translate(Translation::Destination(&self.to))
            .map_or(Action::NotEvaluated, Action::Verdict)
    }
}
