//! `-j CHECKSUM`: sums up what the sender has left to its hardware.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// `--checksum-fill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum;

impl Checksum {
    pub(crate) const NAMES: &[&str] = &["CHECKSUM"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self
    }
}

impl Extension for Checksum {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::flag("checksum-fill").mandatory()] }
    }

    fn set(&mut self, _: &mut Given<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.flag("checksum-fill");
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Checksum {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context.edit().finish();
        Action::Continue
    }
}
