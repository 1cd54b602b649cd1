//! `-m connlimit`: how many connections an address, or a network, has at once.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::address;
use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::matches::recent::Side;
use crate::memory::{Memory, Own};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// `--connlimit-upto N` or `--connlimit-above N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connlimit {
    /// The number.
    pub limit: u32,
    /// Which side of it matches.
    pub bound: Bound,
    /// `--connlimit-mask`: addresses that are equal under it are counted together.
    pub mask: IpAddr,
    /// `--connlimit-saddr` or `--connlimit-daddr`.
    pub side: Side,
}

/// Which side of a limit matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The limit and all below it.
    UpTo,
    /// What is above it.
    Above,
}

impl Bound {
    pub(crate) fn of(is_above: bool) -> Self {
        if is_above { Self::Above } else { Self::UpTo }
    }
}

impl Connlimit {
    pub(crate) const NAMES: &[&str] = &["connlimit"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        let mask = address::mask(family, 128);
        Self { limit: 0, bound: Bound::Above, mask, side: Side::Source }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("connlimit-upto").invertible().excludes(&["connlimit-above"]),
    OptionSpec::value("connlimit-above").invertible().excludes(&["connlimit-upto"]),
    OptionSpec::value("connlimit-mask"),
    OptionSpec::flag("connlimit-saddr").excludes(&["connlimit-daddr"]),
    OptionSpec::flag("connlimit-daddr").excludes(&["connlimit-saddr"]),
];

impl Extension for Connlimit {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "connlimit-upto" => {
                self.limit = given.u32()?;
                self.bound = Bound::of(given.inverted);
            }
            "connlimit-above" => {
                self.limit = given.u32()?;
                self.bound = Bound::of(!given.inverted);
            }
            "connlimit-mask" => self.mask = given.mask()?,
            "connlimit-saddr" => self.side = Side::Source,
            _ => self.side = Side::Destination,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.has("connlimit-upto") || seen.has("connlimit-above") {
            true => Ok(()),
            false => Err(Refusal::new("`--connlimit-above` or `--connlimit-upto` must be given")),
        }
    }

    fn save(&self, save: &mut Save) {
        let option = match self.bound {
            Bound::UpTo => "connlimit-upto",
            Bound::Above => "connlimit-above",
        };
        // A mask with holes is shown as the whole address.
        let whole = if self.mask.is_ipv4() { 32 } else { 128 };
        let last = address::prefix_length(self.mask).unwrap_or(whole);
        save.option(option, self.limit).option("connlimit-mask", last);
        save.flag(match self.side {
            Side::Source => "connlimit-saddr",
            Side::Destination => "connlimit-daddr",
        });
    }
}

impl Matching for Connlimit {
    /// Whether there are more than the limit. What cannot be counted ends.
    fn passes(&self, view: &View<'_>, memory: &mut Memory<'_>) -> Result<bool, Stop> {
        let address = match self.side {
            Side::Source => view.source,
            Side::Destination => view.destination,
        };
        let Own::Connections(counts) = memory.own else { return Ok(false) };
        let counted = counts.count(address::masked(address, self.mask), view);
        let count = counted.filter(|count| *count > 0).ok_or(Stop::Hotdrop)?;
        Ok((count > self.limit as usize) == (self.bound == Bound::Above))
    }
}
