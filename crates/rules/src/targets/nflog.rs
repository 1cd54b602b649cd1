//! `-j NFLOG`: hands a copy of the packet to user space; the packet goes on.

use std::sync::Arc;

use stateward_wire::Family;

use crate::context::{Context, Copied};
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// To whom, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nflog {
    /// The listeners' group.
    pub group: u16,
    /// `--nflog-prefix`: at most 63 bytes.
    pub prefix: Arc<str>,
    /// `--nflog-size`, or `--nflog-range`, which the kernel does not look at.
    pub size: Option<Size>,
    /// How many packets make a message; 0 is one, as 1.
    pub threshold: u16,
}

/// How many bytes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// These.
    Size(u32),
    /// All, whatever the number.
    Range(u32),
}

impl Nflog {
    pub(crate) const NAMES: &[&str] = &["NFLOG"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { group: 0, prefix: "".into(), size: None, threshold: 0 }
    }
}

const ROOM: usize = 63;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("nflog-group"),
    OptionSpec::value("nflog-prefix"),
    OptionSpec::value("nflog-range").excludes(&["nflog-size"]),
    OptionSpec::value("nflog-size").excludes(&["nflog-range"]),
    OptionSpec::value("nflog-threshold"),
];

impl Extension for Nflog {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "nflog-group" => self.group = given.u16()?,
            "nflog-prefix" => self.prefix = prefix(given)?.into(),
            "nflog-range" => self.size = Some(Size::Range(given.u32()?)),
            "nflog-size" => self.size = Some(Size::Size(given.u32()?)),
            _ => self.threshold = given.u16()?,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if !self.prefix.is_empty() {
            save.flag("nflog-prefix").quoted(&self.prefix);
        }
        if self.group != 0 {
            save.option("nflog-group", self.group);
        }
        match self.size {
            Some(Size::Size(size)) => _ = save.option("nflog-size", size),
            Some(Size::Range(size)) if size != 0 => _ = save.option("nflog-range", size),
            _ => {}
        }
        if self.threshold != 0 {
            save.option("nflog-threshold", self.threshold);
        }
    }
}

fn prefix(given: &Given<'_>) -> Result<String, Refusal> {
    if given.text.is_empty() {
        return Err(Refusal::new("NFLOG: `--nflog-prefix` needs at least 1 character"));
    }
    if given.text.contains('\n') {
        return Err(Refusal::new("NFLOG: no newline in `--nflog-prefix`"));
    }
    Ok(given.cut(ROOM))
}

impl Acting for Nflog {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let whole = context.packet().map_or(0, |packet| packet.length());
        let length = match self.size {
            Some(Size::Size(size)) => whole.min(size as usize),
            Some(Size::Range(_)) | None => whole,
        };
        context.copy(Copied { group: self.group, prefix: Arc::clone(&self.prefix), length });
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use crate::context::Copied;
    use crate::evaluate::tests::{Alone, mangled};

    #[test]
    fn as_much_as_was_asked_for() {
        let copied = |rule: &str| {
            let mut packet = Alone::udp(53);
            assert!(mangled(&format!("-j NFLOG {rule}"), &mut packet).is_some());
            packet.copied.remove(0)
        };
        let prefix = "hi".into();
        let rule = "--nflog-group 3 --nflog-prefix hi";
        assert_eq!(copied(rule), Copied { group: 3, prefix, length: 32 });
        assert_eq!(copied("--nflog-size 20").length, 20);
        assert_eq!(copied("--nflog-size 99").length, 32);
        assert_eq!(copied("--nflog-range 20").length, 32);
    }
}
