//! `-j DSCP`: sets the upper six bits of the former TOS byte.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::dscp::class;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::TableName;
use crate::save::Save;

/// `--set-dscp VALUE` or `--set-dscp-class NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dscp {
    /// 0 to 63.
    pub value: u8,
}

impl Dscp {
    pub(crate) const NAMES: &[&str] = &["DSCP"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { value: 0 }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-dscp").excludes(&["set-dscp-class"]),
    OptionSpec::value("set-dscp-class").excludes(&["set-dscp"]),
];

impl Extension for Dscp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.value = match given.option {
            "set-dscp" => given.number(0..=63)? as u8,
            _ => class(given)?,
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("DSCP: `--set-dscp` must be given")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        save.option("set-dscp", format_args!("{:#04x}", self.value));
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Dscp {}
