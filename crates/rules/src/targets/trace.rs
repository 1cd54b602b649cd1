//! `-j TRACE`: from here on the kernel tells of each rule that the packet meets; the packet goes
//! on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// It takes no options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace;

impl Trace {
    pub(crate) const NAMES: &[&str] = &["TRACE"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self
    }
}

impl Extension for Trace {
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

/// Every rule that a packet meets is told anyway, to whoever asks.
impl Acting for Trace {
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::Continue
    }
}
