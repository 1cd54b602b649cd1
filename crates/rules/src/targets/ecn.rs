//! `-j ECN`: changes what the IP header and TCP say about congestion. IPv4 only.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{Demands, Extension, Place, V4};
use crate::matches::ecn::tcp_only;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::TableName;
use crate::save::Save;

/// What is written where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ecn {
    /// `--ecn-tcp-ece`; `--ecn-tcp-remove` takes both.
    pub echo: Option<u8>,
    /// `--ecn-tcp-cwr`.
    pub reduced: Option<u8>,
    /// `--ecn-ip-ect`: 0 to 3.
    pub codepoint: Option<u8>,
}

impl Ecn {
    pub(crate) const NAMES: &[&str] = &["ECN"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("ecn-tcp-remove").excludes(&["ecn-tcp-cwr", "ecn-tcp-ece"]),
    OptionSpec::value("ecn-tcp-cwr").excludes(&["ecn-tcp-remove"]),
    OptionSpec::value("ecn-tcp-ece").excludes(&["ecn-tcp-remove"]),
    OptionSpec::value("ecn-ip-ect"),
];

impl Extension for Ecn {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "ecn-tcp-remove" => {
                *self = Self { echo: Some(0), reduced: Some(0), codepoint: None };
            }
            "ecn-tcp-cwr" => self.reduced = Some(given.number(0..=1)? as u8),
            "ecn-tcp-ece" => self.echo = Some(given.number(0..=1)? as u8),
            _ => self.codepoint = Some(given.number(0..=3)? as u8),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("ECN: an option is missing").hint("`--ecn-tcp-remove`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { echo, reduced, codepoint } = self;
        if (*echo, *reduced, *codepoint) == (Some(0), Some(0), None) {
            save.flag("ecn-tcp-remove");
        } else {
            for (name, value) in [("ecn-tcp-ece", echo), ("ecn-tcp-cwr", reduced)] {
                if let Some(value) = value {
                    save.option(name, value);
                }
            }
        }
        if let Some(value) = codepoint {
            save.option("ecn-ip-ect", value);
        }
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let asks_tcp = self.echo.is_some() || self.reduced.is_some();
        tcp_only("ECN", asks_tcp, place)
    }
}

impl Acting for Ecn {}
