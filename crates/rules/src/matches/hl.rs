//! `-m hl`: the packet's hop limit is a value, or below or above it.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::matches::ttl::Compare;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// `[!] --hl-eq`, `--hl-lt` or `--hl-gt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hl {
    /// What is compared with the packet's.
    pub test: Compare,
}

impl Hl {
    pub(crate) const NAMES: &[&str] = &["hl"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { test: Compare::Equal(0) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("hl-lt").excludes(&["hl-gt", "hl-eq"]),
    OptionSpec::value("hl-gt").excludes(&["hl-lt", "hl-eq"]),
    OptionSpec::value("hl-eq").aliases(&["hl"]).invertible().excludes(&["hl-lt", "hl-gt"]),
];

impl Extension for Hl {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let value = given.u8()?;
        self.test = match given.option {
            "hl-lt" => Compare::Less(value),
            "hl-gt" => Compare::Greater(value),
            _ if given.inverted => Compare::Different(value),
            _ => Compare::Equal(value),
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("hl: an option is missing").hint("`--hl-eq`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.test {
            Compare::Equal(value) => save.option("hl-eq", value),
            Compare::Different(value) => save.inverted(true).option("hl-eq", value),
            Compare::Less(value) => save.option("hl-lt", value),
            Compare::Greater(value) => save.option("hl-gt", value),
        };
    }
}

impl Matching for Hl {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.test.holds(view.packet.ttl()))
    }
}
