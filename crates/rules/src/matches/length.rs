//! `-m length`: the packet's length without its link header; for IPv6 with the fixed header.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --length MIN[:MAX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Length {
    /// Bytes, the least and the most.
    pub bytes: Test<(u16, u16)>,
}

impl Length {
    pub(crate) const NAMES: &[&str] = &["length"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { bytes: Test::plain((0, 0)) }
    }
}

impl Extension for Length {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("length").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let (least, most) = given.range(u16::MAX.into())?;
        self.bytes = Test { value: (least as u16, most as u16), inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Test { value: (least, most), inverted } = self.bytes;
        save.inverted(inverted).option("length", least);
        if least != most {
            save.text(':').text(most);
        }
    }
}

impl Matching for Length {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let (least, most) = self.bytes.value;
        let length = view.packet.length();
        Ok(self.bytes.passes(usize::from(least) <= length && length <= usize::from(most)))
    }
}
