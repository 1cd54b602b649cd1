//! `-j NOTRACK`: the tracker shall not see the packet; the old name of `-j CT --notrack`.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// It has no options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notrack;

impl Notrack {
    pub(crate) const NAMES: &[&str] = &["NOTRACK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self
    }
}

impl Extension for Notrack {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn set(&mut self, _: &mut Given<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn save(&self, _: &mut Save) {}

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Raw])
    }
}

impl Acting for Notrack {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context.untrack();
        Action::Continue
    }
}
