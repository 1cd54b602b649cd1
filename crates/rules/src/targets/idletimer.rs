//! `-j IDLETIMER`: tells user space when no packet has come for a while; the packet goes on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// `--timeout SECONDS --label NAME [--alarm]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idletimer {
    /// In seconds.
    pub timeout: u32,
    /// At most 27 bytes.
    pub label: String,
    /// `--alarm`: wakes a machine that sleeps.
    pub alarm: bool,
}

impl Idletimer {
    pub(crate) const NAMES: &[&str] = &["IDLETIMER"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ROOM: usize = 27;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("timeout").mandatory(),
    OptionSpec::value("label").mandatory(),
    OptionSpec::flag("alarm"),
];

impl Extension for Idletimer {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "timeout" => self.timeout = given.u32()?,
            "label" => self.label = given.cut(ROOM),
            _ => self.alarm = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.option("timeout", self.timeout).option("label", &self.label);
        if self.alarm {
            save.flag("alarm");
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match (self.timeout, self.label.as_str()) {
            (0, _) => Err(Refusal::table("IDLETIMER: a timeout of 0")),
            (_, "") => Err(Refusal::table("IDLETIMER: an empty label")),
            _ => Ok(()),
        }
    }
}

impl Acting for Idletimer {
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::Continue
    }
}
