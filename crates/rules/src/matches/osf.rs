//! `-m osf`: the operating system that sent a SYN, by its fingerprint. The fingerprints are in the
//! kernel's own table (nfnl_osf), which no ruleset shows.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{Demands, Extension, V4};
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol::TCP;
use crate::rule::Test;
use crate::ruleset::Hook;
use crate::save::Save;

/// `[!] --genre NAME [--ttl LEVEL] [--log LEVEL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Osf {
    /// At most 31 bytes.
    pub genre: Test<String>,
    /// How the TTL is compared.
    pub ttl: Option<u8>,
    /// What is logged.
    pub log: Option<u8>,
}

impl Osf {
    pub(crate) const NAMES: &[&str] = &["osf"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { genre: Test { value: String::new(), inverted: false }, ttl: None, log: None }
    }
}

const ROOM: usize = 31;
const LEVELS: core::ops::RangeInclusive<u64> = 0..=2;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("genre").invertible().mandatory(),
    OptionSpec::value("ttl"),
    OptionSpec::value("log"),
];

impl Extension for Osf {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "genre" => self.genre = Test { value: given.cut(ROOM), inverted: given.inverted },
            "ttl" => self.ttl = Some(given.number(LEVELS)? as u8),
            _ => self.log = Some(given.number(LEVELS)? as u8),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.genre.inverted).option("genre", &self.genre.value);
        for (name, level) in [("ttl", self.ttl), ("log", self.log)] {
            if let Some(level) = level {
                save.option(name, level);
            }
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[TCP]).hooks(&[Hook::Input, Hook::Prerouting, Hook::Forward])
    }
}

impl Matching for Osf {}
