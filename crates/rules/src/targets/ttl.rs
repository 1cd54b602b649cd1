//! `-j TTL`: the packet's time to live is set, raised or lowered; the packet goes on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{Demands, Extension, V4};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// `--ttl-set`, `--ttl-dec` or `--ttl-inc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a hop counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This value.
    Set(u8),
    /// Less by so many, at least 0.
    Lower(u8),
    /// More by so many, at most 255.
    Raise(u8),
}

impl Ttl {
    pub(crate) const NAMES: &[&str] = &["TTL"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { change: Change::Set(0) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("ttl-set").excludes(&["ttl-dec", "ttl-inc"]),
    OptionSpec::value("ttl-dec").excludes(&["ttl-set", "ttl-inc"]),
    OptionSpec::value("ttl-inc").excludes(&["ttl-set", "ttl-dec"]),
];

impl Extension for Ttl {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.change = match given.option {
            "ttl-set" => Change::Set(given.u8()?),
            "ttl-dec" => Change::Lower(given.number(1..=255)? as u8),
            _ => Change::Raise(given.number(1..=255)? as u8),
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("TTL: an option is missing").hint("`--ttl-set`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.change {
            Change::Set(value) => save.option("ttl-set", value),
            Change::Lower(by) => save.option("ttl-dec", by),
            Change::Raise(by) => save.option("ttl-inc", by),
        };
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Change {
    /// Changes the hops that the packet has left.
    pub(crate) fn act(self, context: &mut dyn Context) {
        let Some(now) = context.packet().map(|packet| packet.ttl()) else { return };
        context.edit_header().set_ttl(match self {
            Self::Set(value) => value,
            Self::Lower(by) => now.saturating_sub(by),
            Self::Raise(by) => now.saturating_add(by),
        });
    }
}

impl Acting for Ttl {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        self.change.act(context);
        Action::Continue
    }
}
