//! `-m connlabel`: whether a connection has a label; or it gets one.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension, Place};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --label NUMBER [--set]`. Labels have names only where a file gives them some, and no file
/// is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connlabel {
    /// Its number.
    pub label: Test<u16>,
    /// Whether the connection gets it.
    pub set: bool,
}

/// How many labels a connection has room for.
const LABELS: u16 = 128;

impl Connlabel {
    pub(crate) const NAMES: &[&str] = &["connlabel"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { label: Test::plain(0), set: false }
    }
}

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("label").invertible().mandatory(), OptionSpec::flag("set")];

impl Extension for Connlabel {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "label" => self.label = Test { value: label(given)?, inverted: given.inverted },
            _ => self.set = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.label.inverted);
        save.option("label", format_args!("\"{}\"", self.label.value));
        if self.set {
            save.flag("set");
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match self.label.value < LABELS {
            true => Ok(()),
            false => {
                let message = format!("connlabel: no label {}", self.label.value);
                Err(Refusal::table(message).hint("labels are 0 to 127"))
            }
        }
    }
}

/// Of a number that fits into 31 bits the lower 16 count.
fn label(given: &Given<'_>) -> Result<u16, Refusal> {
    let value = number::whole(given.text, u64::MAX).map(|value| value as u32);
    let value = value.filter(|value| *value <= i32::MAX as u32);
    value.map(|value| value as u16).ok_or_else(|| given.bad().hint("a number from 0 to 127"))
}

impl Matching for Connlabel {}
