//! `-j TCPMSS`: the maximum segment size that a SYN tells is set or held down.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{BOTH, Extension, Place};
use crate::matches::Match;
use crate::matches::tcp::Flags;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::protocol;
use crate::rule::Header;
use crate::ruleset::Hook;
use crate::save::Save;

/// `--set-mss N` or `--clamp-mss-to-pmtu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcpmss {
    /// The size.
    pub mss: Mss,
    /// Whose rules these are: IPv6's headers are longer.
    pub family: Family,
}

/// Where the size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// The rule.
    Fixed(u16),
    /// What the path takes without fragments.
    Path,
}

impl Tcpmss {
    pub(crate) const NAMES: &[&str] = &["TCPMSS"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { mss: Mss::Path, family }
    }
}

/// Of both the last one counts.
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("set-mss"), OptionSpec::flag("clamp-mss-to-pmtu")];

impl Extension for Tcpmss {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let headers = match self.family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        self.mss = match given.option {
            "set-mss" => Mss::Fixed(given.number(0..=65_535 - headers)? as u16),
            _ => Mss::Path,
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => {
                Err(Refusal::new("TCPMSS: an option is missing")
                    .hint("`--clamp-mss-to-pmtu`, mostly"))
            }
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        match self.mss {
            Mss::Fixed(size) => save.option("set-mss", size),
            Mss::Path => save.flag("clamp-mss-to-pmtu"),
        };
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let knows = [Hook::Forward, Hook::Output, Hook::Postrouting];
        if self.mss == Mss::Path && place.hooks.iter().any(|hook| !knows.contains(hook)) {
            let refusal = Refusal::table("TCPMSS: `--clamp-mss-to-pmtu` where no way out is known");
            return Err(refusal.hint("it works from FORWARD, OUTPUT and POSTROUTING"));
        }
        let header = place.header;
        if header.protocol.value != protocol::TCP || header.protocol.inverted {
            return Err(Refusal::table("`-j TCPMSS` without its protocol").hint("add `-p tcp`"));
        }
        if !place.matches.iter().any(finds_syn) {
            let refusal = Refusal::table("`-j TCPMSS` for packets that are no SYN");
            return Err(refusal.hint("add `--tcp-flags SYN,RST SYN`"));
        }
        Ok(())
    }
}

/// A match that lets nothing pass but SYNs, in the kernel's eyes.
fn finds_syn(one: &Match) -> bool {
    let Match::Tcp(tcp) = one else { return false };
    let Flags { compare, .. } = tcp.flags.value;
    compare & 0x02 != 0 && !tcp.flags.inverted
}

impl Acting for Tcpmss {}
