//! `-m iprange`: addresses from the first to the last.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use std::net::IpAddr;

use stateward_wire::Family;

use crate::address::{self, Shown};
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// `[!] --src-range FIRST[-LAST]` and `[!] --dst-range FIRST[-LAST]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iprange {
    /// The source's.
    pub source: Option<Test<Range>>,
    /// The destination's.
    pub destination: Option<Test<Range>>,
}

/// Addresses from the first to the last; a first above the last is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub first: IpAddr,
    /// The highest.
    pub last: IpAddr,
}

impl Iprange {
    pub(crate) const NAMES: &[&str] = &["iprange"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("src-range").invertible(), OptionSpec::value("dst-range").invertible()];

impl Extension for Iprange {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let address = |text: &str| {
            let found = address::numeric(given.family(), text);
            found.ok_or_else(|| given.bad().hint(format!("`{text}` is no address")))
        };
        let (first, last) = match given.text.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => {
                let address = address(given.text)?;
                (address, address)
            }
        };
        let test = Some(Test { value: Range { first, last }, inverted: given.inverted });
        match given.option {
            "src-range" => self.source = test,
            _ => self.destination = test,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("iprange: `--src-range` or `--dst-range` must be given")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        for (name, range) in [("src-range", self.source), ("dst-range", self.destination)] {
            if let Some(Test { value: Range { first, last }, inverted }) = range {
                let shown = format!("{}-{}", Shown(first), Shown(last));
                save.inverted(inverted).option(name, shown);
            }
        }
    }
}

impl Matching for Iprange {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let passes = |asked: &Option<Test<Range>>, address| {
            asked.is_none_or(|asked| {
                let Range { first, last } = asked.value;
                asked.passes((first..=last).contains(&address))
            })
        };
        Ok(passes(&self.source, view.source) && passes(&self.destination, view.destination))
    }
}
