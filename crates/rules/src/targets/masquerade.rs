//! `-j MASQUERADE`: the source becomes the address of the interface by which the packet leaves.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::nat::{Base, NatRange, Translation, save_ports};

/// What the source becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// Where to choose from.
    pub to: NatRange,
}

impl Masquerade {
    pub(crate) const NAMES: &[&str] = &["MASQUERADE"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { to: NatRange::default() }
    }
}

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("to-ports"), OptionSpec::flag("random"), OptionSpec::flag("random-fully")];

impl Extension for Masquerade {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "to-ports" => self.to.ports(given.text, given, Base::Lost),
            option => {
                self.to.choice.set(option);
                Ok(())
            }
        }
    }

    fn save(&self, save: &mut Save) {
        if self.to.ports.is_some() {
            save.flag("to-ports").text(" ");
            save_ports(save, self.to.ports, self.to.base);
        }
        self.to.choice.save(save);
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Nat]).hooks(&[Hook::Postrouting])
    }
}

impl Acting for Masquerade {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context
            .translate(Translation::Masquerade(&self.to))
            .map_or(Action::NotEvaluated, Action::Verdict)
    }
}
