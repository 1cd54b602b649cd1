//! `-j LED`: a light of the machine blinks.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// `--led-trigger-id NAME [--led-delay MS] [--led-always-blink]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// At most 16 bytes.
    pub trigger: String,
    /// In milliseconds; -1 is for ever, 0 a flash.
    pub delay: i32,
    /// `--led-always-blink`: also if the light is on.
    pub blink: bool,
}

impl Led {
    pub(crate) const NAMES: &[&str] = &["LED"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ROOM: usize = 16;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("led-trigger-id").mandatory(),
    OptionSpec::value("led-delay"),
    OptionSpec::flag("led-always-blink"),
];

impl Extension for Led {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let forever =
            |text: &str| text.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("inf"));
        match given.option {
            "led-trigger-id" if given.text.len() > ROOM => {
                return Err(given.bad().hint(format!("at most {ROOM} bytes")));
            }
            "led-trigger-id" => given.text.clone_into(&mut self.trigger),
            "led-delay" if forever(given.text) => self.delay = -1,
            "led-delay" => self.delay = given.u32()?.cast_signed(),
            _ => self.blink = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let escaped = self.trigger.replace('\\', "\\\\").replace('"', "\\\"");
        save.option("led-trigger-id", format_args!("\"{escaped}\""));
        if self.delay != 0 {
            save.option("led-delay", self.delay);
        }
        if self.blink {
            save.flag("led-always-blink");
        }
    }
}

impl Acting for Led {
    /// Nothing of the packet, or of any after it.
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::Continue
    }
}
