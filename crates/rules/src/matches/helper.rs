//! `-m helper`: the helper that a connection has, or whose connection announced it.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `[!] --helper NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// At most 29 bytes of its name; empty is any.
    pub name: String,
    /// The rule wants the opposite.
    pub inverted: bool,
}

impl Helper {
    pub(crate) const NAMES: &[&str] = &["helper"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { name: String::new(), inverted: false }
    }
}

const ROOM: usize = 29;

impl Extension for Helper {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("helper").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        (self.name, self.inverted) = (given.cut(ROOM), given.inverted);
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.inverted).flag("helper").quoted(&self.name);
    }
}

impl Matching for Helper {}
