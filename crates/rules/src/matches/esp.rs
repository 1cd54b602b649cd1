//! `-m esp`: the SPI of an ESP header. Ranges of SPIs are shared with AH and IPComp.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --espspi SPI[:SPI]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Esp {
    /// The SPIs.
    pub spi: Test<Range>,
}

/// Numbers from the first to the last; a first above the last matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

impl Range {
    /// Every number.
    pub const ANY: Self = Self { first: 0, last: u32::MAX };

    /// Whether `number` is among them.
    pub const fn contains(self, number: u32) -> bool {
        self.first <= number && number <= self.last
    }

    pub(crate) fn parse(given: &Given<'_>) -> Result<Test<Self>, Refusal> {
        let (first, last) = given.range(u32::MAX.into())?;
        let value = Self { first: first as u32, last: last as u32 };
        Ok(Test { value, inverted: given.inverted })
    }
}

/// ` [!] --NAME RANGE`, but for a range that is every number, whose `!` is lost as well.
pub(crate) fn save_range(save: &mut Save, name: &str, range: Test<Range>) {
    let Test { value: Range { first, last }, inverted } = range;
    if range.value == Range::ANY {
        return;
    }
    save.inverted(inverted).option(name, first);
    if first != last {
        save.text(format_args!(":{last}"));
    }
}

impl Esp {
    pub(crate) const NAMES: &[&str] = &["esp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { spi: Test::plain(Range::ANY) }
    }
}

const NUMBER: u8 = 50;

impl Extension for Esp {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("espspi").invertible()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.spi = Range::parse(given)?;
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_range(save, "espspi", self.spi);
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[NUMBER])
    }
}

impl Matching for Esp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let [spi @ .., _, _, _, _] = view.upper_header::<8>().ok_or(Stop::Hotdrop)?;
        Ok(self.spi.passes(self.spi.value.contains(u32::from_be_bytes(*spi))))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    #[test]
    fn the_first_four_bytes() {
        for family in BOTH {
            let mut packet = Alone::of(*family, 50, &[0, 0, 1, 2, 0, 0, 0, 1]);
            assert_eq!(met("-p esp -m esp --espspi 258", &mut packet), Some(true));
            assert_eq!(met("-p esp -m esp --espspi 0:257", &mut packet), Some(false));
            assert_eq!(met("-p esp -m esp ! --espspi 0:257", &mut packet), Some(true));
            let mut short = Alone::of(*family, 50, &[0, 0, 1, 2, 0, 0, 0]);
            assert_eq!(met("-p esp -m esp --espspi 1", &mut short), None);
        }
    }
}
