//! `-j SNAT`: the source becomes another one.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::nat::{Base, NatRange, Translation};

/// What the source becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snat {
    /// Where to choose from.
    pub to: NatRange,
}

impl Snat {
    pub(crate) const NAMES: &[&str] = &["SNAT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { to: NatRange::default() }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("to-source").mandatory(),
    OptionSpec::flag("random"),
    OptionSpec::flag("random-fully"),
    OptionSpec::flag("persistent"),
];

impl Extension for Snat {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "to-source" => self.to.parse(given, Base::Lost),
            option => {
                self.to.choice.set(option);
                Ok(())
            }
        }
    }

    fn save(&self, save: &mut Save) {
        self.to.save(save, "to-source");
        self.to.choice.save(save);
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Nat]).hooks(&[Hook::Input, Hook::Postrouting])
    }
}

impl Acting for Snat {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context
            .translate(Translation::Source(&self.to))
            .map_or(Action::NotEvaluated, Action::Verdict)
    }
}
