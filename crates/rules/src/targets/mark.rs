//! `-j MARK`: `mark = (mark & !mask) ^ value`; the packet goes on.

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::ruleset::Hook;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension};
use crate::option::{Given, Masked, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// One of five ways to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bits of the mask are cleared, then those of the value turned over.
    pub set: Masked,
}

impl Mark {
    pub(crate) const NAMES: &[&str] = &["MARK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { set: Masked { value: 0, mask: 0 } }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-xmark").excludes(&["set-mark", "and-mark", "or-mark", "xor-mark"]),
    OptionSpec::value("set-mark").excludes(&["set-xmark", "and-mark", "or-mark", "xor-mark"]),
    OptionSpec::value("and-mark").excludes(&["set-xmark", "set-mark", "or-mark", "xor-mark"]),
    OptionSpec::value("or-mark").excludes(&["set-xmark", "set-mark", "and-mark", "xor-mark"]),
    OptionSpec::value("xor-mark").excludes(&["set-xmark", "set-mark", "and-mark", "or-mark"]),
];

impl Extension for Mark {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.set = match given.option {
            "set-xmark" => given.masked()?,
            "set-mark" => {
                let Masked { value, mask } = given.masked()?;
                Masked { value, mask: mask | value }
            }
            "and-mark" => Masked { value: 0, mask: !given.u32()? },
            "or-mark" => {
                let value = given.u32()?;
                Masked { value, mask: value }
            }
            _ => Masked { value: given.u32()?, mask: 0 },
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("MARK: an option is missing").hint("`--set-mark`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Masked { value, mask } = self.set;
        save.option("set-xmark", format_args!("{value:#x}/{mask:#x}"));
    }
}

impl Acting for Mark {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let Masked { value, mask } = self.set;
        context.set_mark((context.mark() & !mask) ^ value);
        Action::Continue
    }
}
