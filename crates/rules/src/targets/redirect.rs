//! `-j REDIRECT`: the destination becomes this host.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::nat::{Base, NatRange, Translation, save_ports};

/// What the destination becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to choose from.
    pub to: NatRange,
}

impl Redirect {
    pub(crate) const NAMES: &[&str] = &["REDIRECT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { to: NatRange::default() }
    }
}

const OPTIONS: &[OptionSpec] = &[OptionSpec::value("to-ports"), OptionSpec::flag("random")];

impl Extension for Redirect {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "to-ports" => self.to.ports(given.text, given, Base::Refused),
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
        Demands::tables(&[TableName::Nat]).hooks(&[Hook::Prerouting, Hook::Output])
    }
}

impl Acting for Redirect {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context
            .translate(Translation::Redirect(&self.to))
            .map_or(Action::NotEvaluated, Action::Verdict)
    }
}
