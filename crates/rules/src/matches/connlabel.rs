//! `-m connlabel`: whether a connection has a label; or it gets one.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::memory::Memory;
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

impl Matching for Connlabel {
    /// A connection that is given the label has it. One that was there before any rule asked for
    /// labels has no room for one.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let label = self.label.value;
        let Some(labels) = view.context.labels() else { return Ok(self.label.inverted) };
        let has = labels & 1_u128.checked_shl(label.into()).unwrap_or(0) != 0;
        if self.set && !has {
            view.context.add_label(label);
        }
        Ok(self.label.passes(has || self.set))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn a_label_is_asked_for_and_given() {
        let mut packet = Alone::udp(53);
        assert_eq!(met("-m connlabel --label 5 --set", &mut packet), Some(false));
        assert_eq!(met("-m connlabel ! --label 5", &mut packet), Some(true));
        packet.labels.set(Some(0));
        assert_eq!(met("-m connlabel --label 5", &mut packet), Some(false));
        assert_eq!(met("-m connlabel ! --label 127 --set", &mut packet), Some(false));
        assert_eq!(packet.labels.get(), Some(1 << 127));
        assert_eq!(met("-m connlabel --label 127", &mut packet), Some(true));
    }
}
