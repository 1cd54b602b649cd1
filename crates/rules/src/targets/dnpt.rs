//! `-j DNPT`: another network in the destination address, host by host and without connections
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
pub struct Dnpt {
    /// From and to.
    pub prefixes: Prefixes,
}

impl Dnpt {
    pub(crate) const NAMES: &[&str] = &["DNPT"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

impl Extension for Dnpt {
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
        Demands::tables(&[TableName::Mangle]).hooks(&[Hook::Prerouting, Hook::Output])
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        self.prefixes.accepted("DNPT")
    }
}

impl Acting for Dnpt {}
