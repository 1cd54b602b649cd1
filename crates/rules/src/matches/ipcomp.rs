//! `-m ipcomp`: the index of a compressed payload (CPI).

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::esp::{Range, save_range};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --ipcompspi CPI[:CPI] [--compres]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipcomp {
    /// The indexes; without the option it is index 0.
    pub index: Test<Range>,
    /// `--compres`, which the kernel does not look at.
    pub reserved: bool,
}

impl Ipcomp {
    pub(crate) const NAMES: &[&str] = &["ipcomp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { index: Test::plain(Range { first: 0, last: 0 }), reserved: false }
    }
}

const NUMBER: u8 = 108;
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("ipcompspi").invertible(), OptionSpec::flag("compres")];

impl Extension for Ipcomp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "ipcompspi" => self.index = Range::parse(given)?,
            _ => self.reserved = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_range(save, "ipcompspi", self.index);
        if self.reserved {
            save.flag("compres");
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[NUMBER])
    }
}

impl Matching for Ipcomp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let [_, _, high, low] = *view.upper_header::<4>().ok_or(Stop::Hotdrop)?;
        let index = u16::from_be_bytes([high, low]);
        Ok(self.index.passes(self.index.value.contains(index.into())))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    #[test]
    fn the_last_two_bytes() {
        for family in BOTH {
            let mut packet = Alone::of(*family, 108, &[6, 0, 0, 2]);
            assert_eq!(met("-p ipcomp -m ipcomp --ipcompspi 2", &mut packet), Some(true));
            assert_eq!(met("-p ipcomp -m ipcomp --ipcompspi 3:", &mut packet), Some(false));
            assert_eq!(met("-p ipcomp -m ipcomp", &mut packet), Some(false));
        }
    }
}
