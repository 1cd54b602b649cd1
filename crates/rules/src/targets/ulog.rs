//! `-j ULOG`: what NFLOG is today; Linux has had none since 3.17.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{Extension, V4};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// Where packets are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulog {
    /// `--ulog-nlgroup`: 1 to 32.
    pub group: u8,
    /// `--ulog-cprange`: how many bytes of a packet; 0 is all.
    pub range: u64,
    /// `--ulog-qthreshold`: how many packets at once.
    pub threshold: u64,
    /// `--ulog-prefix`: at most 31 bytes.
    pub prefix: String,
}

impl Ulog {
    pub(crate) const NAMES: &[&str] = &["ULOG"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { group: 1, range: 0, threshold: 1, prefix: String::new() }
    }
}

const ROOM: usize = 31;
const MOST: u64 = 50;
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("ulog-nlgroup"),
    OptionSpec::value("ulog-prefix"),
    OptionSpec::value("ulog-cprange"),
    OptionSpec::value("ulog-qthreshold"),
];

impl Extension for Ulog {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "ulog-nlgroup" => self.group = given.number(1..=32)? as u8,
            "ulog-prefix" => {
                if given.text.is_empty() || given.text.contains('\n') {
                    return Err(given.bad().hint("at least a character, and no end of line"));
                }
                self.prefix = given.cut(ROOM);
            }
            "ulog-cprange" => self.range = given.number(0..=u64::MAX)?,
            _ => self.threshold = given.number(1..=MOST)?,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { group, range, threshold, prefix } = self;
        if !prefix.is_empty() {
            save.flag("ulog-prefix").quoted(prefix);
        }
        if *group != 1 {
            save.option("ulog-nlgroup", group);
        }
        if *range != 0 {
            // Its lower half, as iptables prints it.
            save.option("ulog-cprange", *range as u32);
        }
        if *threshold != 1 {
            save.option("ulog-qthreshold", threshold);
        }
    }
}

impl Acting for Ulog {}
