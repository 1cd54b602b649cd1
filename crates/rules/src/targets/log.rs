//! `-j LOG`: a line in the kernel's log; the packet goes on.

mod text;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::ruleset::Hook;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// What is logged, and how loudly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Syslog's level, 0 to 7.
    pub level: u8,
    /// At most 29 bytes; iptables cuts what is longer.
    pub prefix: String,
    /// `LOG_` flags as the kernel numbers them.
    pub flags: u8,
}

impl Log {
    pub(crate) const NAMES: &[&str] = &["LOG"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { level: WARNING, prefix: String::new(), flags: 0 }
    }
}

const WARNING: u8 = 4;
const ROOM: usize = 29;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("log-level"),
    OptionSpec::value("log-prefix"),
    OptionSpec::flag("log-tcp-sequence"),
    OptionSpec::flag("log-tcp-options"),
    OptionSpec::flag("log-ip-options"),
    OptionSpec::flag("log-uid"),
    OptionSpec::flag("log-macdecode"),
];

/// In the order in which they are printed.
const FLAGS: [(&str, u8); 5] = [
    ("log-tcp-sequence", 0x01),
    ("log-tcp-options", 0x02),
    ("log-ip-options", 0x04),
    ("log-uid", 0x08),
    ("log-macdecode", 0x20),
];

impl Extension for Log {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "log-level" => self.level = level(given.text)?,
            "log-prefix" => self.prefix = prefix(given)?,
            name => {
                let flag = FLAGS.iter().find(|(flag, _)| *flag == name);
                self.flags |= flag.map_or(0, |(_, bit)| *bit);
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if !self.prefix.is_empty() {
            save.flag("log-prefix").quoted(&self.prefix);
        }
        if self.level != WARNING {
            save.option("log-level", self.level);
        }
        for (name, bit) in FLAGS {
            if self.flags & bit != 0 {
                save.flag(name);
            }
        }
    }
}

fn prefix(given: &Given<'_>) -> Result<String, Refusal> {
    if given.text.is_empty() {
        return Err(Refusal::new("LOG: `--log-prefix` needs at least 1 character"));
    }
    if given.text.contains('\n') {
        return Err(Refusal::new("LOG: no newline in `--log-prefix`"));
    }
    Ok(given.cut(ROOM))
}

/// A number or one of syslog's names, in small letters.
pub(crate) fn level(text: &str) -> Result<u8, Refusal> {
    let number = crate::number::whole(text, 7).and_then(|level| u8::try_from(level).ok());
    let named = || LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
    number.or_else(named).ok_or_else(|| {
        let names = "emerg, alert, crit, error, warning, notice, info or debug";
        Refusal::new(format!("log level `{text}` unknown")).hint(format!("0 to 7, or {names}"))
    })
}

const LEVELS: [(&str, u8); 9] = [
    ("alert", 1),
    ("crit", 2),
    ("debug", 7),
    ("emerg", 0),
    ("error", 3),
    ("info", 6),
    ("notice", 5),
    ("panic", 0),
    ("warning", 4),
];

impl Acting for Log {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let text = text::line(self, context);
        context.log(self.level, text);
        Action::Continue
    }
}
