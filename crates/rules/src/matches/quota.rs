//! `-m quota`: as many bytes as are given, counted by the network packets' lengths.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::{Memory, Own};
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --quota BYTES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many bytes match; inverted, all after them.
    pub bytes: Test<u64>,
}

impl Quota {
    pub(crate) const NAMES: &[&str] = &["quota"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { bytes: Test::plain(0) }
    }
}

impl Extension for Quota {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("quota").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.bytes = Test { value: given.number(0..=u64::MAX)?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.bytes.inverted).option("quota", self.bytes.value);
    }
}

impl Matching for Quota {
    /// The first packet that does not fit takes what is left with it.
    fn passes(&self, view: &View<'_>, memory: &mut Memory<'_>) -> Result<bool, Stop> {
        let Own::Bytes(left) = memory.own else { return Ok(false) };
        let fits = left.checked_sub(view.packet.length() as u64);
        *left = fits.unwrap_or(0);
        Ok(self.bytes.passes(fits.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met_in_turn};

    #[test]
    fn bytes_are_used_up_and_then_gone() {
        // Each packet has 32 bytes.
        let packet = || Alone::udp(53);
        let packets = || [packet(), packet(), packet(), packet()];
        assert_eq!(met_in_turn("-m quota --quota 70", packets()), [true, true, false, false]);
        assert_eq!(met_in_turn("-m quota ! --quota 32", packets()), [false, true, true, true]);
    }
}
