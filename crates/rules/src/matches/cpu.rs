//! `-m cpu`: the processor that handles the packet.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --cpu NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub number: Test<u32>,
}

impl Cpu {
    pub(crate) const NAMES: &[&str] = &["cpu"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { number: Test::plain(0) }
    }
}

impl Extension for Cpu {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("cpu").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.number = Test { value: given.u32()?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.number.inverted).option("cpu", self.number.value);
    }
}

impl Matching for Cpu {}
