//! `-m ah` for IPv4: the SPI of an authentication header.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Demands, Extension, V4};
use crate::matches::esp::{Range, save_range};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --ahspi SPI[:SPI]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ah {
    /// The SPIs.
    pub spi: Test<Range>,
}

impl Ah {
    pub(crate) const NAMES: &[&str] = &["ah"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self { spi: Test::plain(Range::ANY) }
    }
}

const NUMBER: u8 = 51;

impl Extension for Ah {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("ahspi").invertible()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.spi = Range::parse(given)?;
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_range(save, "ahspi", self.spi);
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[NUMBER])
    }
}

/// The SPI in an authentication header, all of whose fixed part must be there.
pub(crate) fn spi_of(header: &[u8; 12]) -> u32 {
    let [_, _, _, _, a, b, c, d, ..] = *header;
    u32::from_be_bytes([a, b, c, d])
}

impl Matching for Ah {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let header = view.upper_header::<12>().ok_or(Stop::Hotdrop)?;
        Ok(self.spi.passes(self.spi.value.contains(spi_of(header))))
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn the_second_four_bytes() {
        let mut packet = Alone::of(Family::V4, 51, &[17, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1]);
        assert_eq!(met("-p ah -m ah --ahspi 258", &mut packet), Some(true));
        assert_eq!(met("-p ah -m ah ! --ahspi 258", &mut packet), Some(false));
        let mut short = Alone::of(Family::V4, 51, &[17, 1, 0, 0, 0, 0, 1, 2]);
        assert_eq!(met("-p ah -m ah --ahspi 258", &mut short), None);
    }
}
