//! `-j SYNPROXY`: answers a first packet for a server, which hears of it when the client has
//! answered.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::Hook;
use crate::save::Save;

/// What the server is said to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synproxy {
    /// `--sack-perm`: selective acknowledgements.
    pub selective: bool,
    /// `--timestamp`.
    pub timestamps: bool,
    /// `--wscale`.
    pub scale: Option<u8>,
    /// `--mss`.
    pub segment: Option<u16>,
    /// `--ecn`.
    pub congestion: bool,
}

impl Synproxy {
    pub(crate) const NAMES: &[&str] = &["SYNPROXY"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("sack-perm"),
    OptionSpec::flag("timestamp"),
    OptionSpec::value("wscale"),
    OptionSpec::value("mss"),
    OptionSpec::flag("ecn"),
];

impl Extension for Synproxy {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        // What does not fit is cut to its lower bits.
        let number = |given: &Given<'_>| {
            let value = number::whole(given.text, u32::MAX.into());
            value.ok_or_else(|| given.bad().hint("a number"))
        };
        match given.option {
            "sack-perm" => self.selective = true,
            "timestamp" => self.timestamps = true,
            "wscale" => self.scale = Some(number(given)? as u8),
            "mss" => self.segment = Some(number(given)? as u16),
            _ => self.congestion = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { selective, timestamps, scale, segment, congestion } = self;
        if *selective {
            save.flag("sack-perm");
        }
        if *timestamps {
            save.flag("timestamp");
        }
        if let Some(scale) = scale {
            save.option("wscale", scale);
        }
        if let Some(segment) = segment {
            save.option("mss", segment);
        }
        if *congestion {
            save.flag("ecn");
        }
    }

    fn demands(&self) -> Demands {
        let protocols = &[protocol::TCP];
        Demands { protocols, ..Demands::NONE.hooks(&[Hook::Input, Hook::Forward]) }
    }
}

impl Acting for Synproxy {}
