//! `-j CONNSECMARK`: copies SELinux's mark between the packet and its connection.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::TableName;
use crate::save::Save;

/// `--save` or `--restore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connsecmark {
    /// The way it is copied.
    pub way: Way,
}

/// Which way a mark is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the connection.
    Save,
    /// To the packet.
    Restore,
}

impl Connsecmark {
    pub(crate) const NAMES: &[&str] = &["CONNSECMARK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { way: Way::Save }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("save").excludes(&["restore"]),
    OptionSpec::flag("restore").excludes(&["save"]),
];

impl Extension for Connsecmark {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.way = if given.option == "save" { Way::Save } else { Way::Restore };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("CONNSECMARK: neither `--save` nor `--restore`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        save.flag(match self.way {
            Way::Save => "save",
            Way::Restore => "restore",
        });
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle, TableName::Security])
    }
}

impl Acting for Connsecmark {}
