//! `-m nfacct`: counts packets in an object that user space made. The
//! object is the kernel's, and no ruleset shows it.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--nfacct-name NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nfacct {
    /// At most 31 bytes.
    pub name: String,
}

impl Nfacct {
    pub(crate) const NAMES: &[&str] = &["nfacct"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ROOM: usize = 31;

impl Extension for Nfacct {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("nfacct-name").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.name = given.cut(ROOM);
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.option("nfacct-name", &self.name);
    }
}

impl Matching for Nfacct {}
