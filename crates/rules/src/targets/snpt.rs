//! `-j SNPT`: another network in the source address, host by host and without connections
//! (RFC 6296).

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{Demands, Extension, Place, V6};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::npt::{OPTIONS, Prefixes};

/// `--src-pfx PREFIX --dst-pfx PREFIX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snpt {
    /// From and to.
    pub prefixes: Prefixes,
}

impl Snpt {
    pub(crate) const NAMES: &[&str] = &["SNPT"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

impl Extension for Snpt {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.prefixes.set(given)
    }

    fn save(&self, save: &mut Save) {
        self.prefixes.save(save);
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle]).hooks(&[Hook::Input, Hook::Postrouting])
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        self.prefixes.accepted("SNPT")
    }
}

impl Acting for Snpt {}
