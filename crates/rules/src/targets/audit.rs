//! `-j AUDIT`: tells the audit system of the packet; the packet goes on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// `--type TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// What is said to become of the packet.
    pub kind: Kind,
}

/// What is said to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is let through.
    Accept,
    /// It ends.
    Drop,
    /// It is answered.
    Reject,
}

impl Audit {
    pub(crate) const NAMES: &[&str] = &["AUDIT"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { kind: Kind::Accept }
    }
}

const KINDS: [(&str, Kind); 3] =
    [("accept", Kind::Accept), ("drop", Kind::Drop), ("reject", Kind::Reject)];

impl Extension for Audit {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("type").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let found = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given.text));
        self.kind = found.ok_or_else(|| given.bad().hint("accept, drop or reject"))?.1;
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if let Some((name, _)) = KINDS.iter().find(|(_, kind)| *kind == self.kind) {
            save.option("type", name);
        }
    }
}

impl Acting for Audit {
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::Continue
    }
}
