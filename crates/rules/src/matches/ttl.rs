//! `-m ttl`: the packet's time to live is a value, or below or above it.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V4};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// `[!] --ttl-eq`, `--ttl-lt` or `--ttl-gt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// What is compared with the packet's.
    pub test: Compare,
}

/// How a hop counter is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// It is this.
    Equal(u8),
    /// It is something else.
    Different(u8),
    /// It is lower.
    Less(u8),
    /// It is higher.
    Greater(u8),
}

impl Ttl {
    pub(crate) const NAMES: &[&str] = &["ttl"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { test: Compare::Equal(0) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("ttl-lt").excludes(&["ttl-gt", "ttl-eq"]),
    OptionSpec::value("ttl-gt").excludes(&["ttl-lt", "ttl-eq"]),
    OptionSpec::value("ttl-eq").aliases(&["ttl"]).invertible().excludes(&["ttl-lt", "ttl-gt"]),
];

impl Extension for Ttl {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let value = given.u8()?;
        self.test = match given.option {
            "ttl-lt" => Compare::Less(value),
            "ttl-gt" => Compare::Greater(value),
            _ if given.inverted => Compare::Different(value),
            _ => Compare::Equal(value),
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("ttl: an option is missing").hint("`--ttl-eq`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.test {
            Compare::Equal(value) => save.option("ttl-eq", value),
            Compare::Different(value) => save.inverted(true).option("ttl-eq", value),
            Compare::Less(value) => save.option("ttl-lt", value),
            Compare::Greater(value) => save.option("ttl-gt", value),
        };
    }
}

impl Compare {
    /// Whether a packet with so many hops left is meant.
    pub(crate) const fn holds(self, hops: u8) -> bool {
        match self {
            Self::Equal(value) => hops == value,
            Self::Different(value) => hops != value,
            Self::Less(value) => hops < value,
            Self::Greater(value) => hops > value,
        }
    }
}

impl Matching for Ttl {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.test.holds(view.packet.ttl()))
    }
}
