//! `-j SECMARK`: gives the packet a label of the machine's security module.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::TableName;
use crate::save::Save;

/// `--selctx CONTEXT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secmark {
    /// The label, at most 255 bytes.
    pub context: String,
}

impl Secmark {
    pub(crate) const NAMES: &[&str] = &["SECMARK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ROOM: usize = 255;

impl Extension for Secmark {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("selctx").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.context = given.cut(ROOM);
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.option("selctx", &self.context);
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle, TableName::Security])
    }
}

impl Acting for Secmark {}
