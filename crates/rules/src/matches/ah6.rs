//! `-m ah` for IPv6: an authentication header anywhere in the chain of headers.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::extension_headers::{AUTH, find};
use crate::matches::ah::spi_of;
use crate::matches::esp::{Range, save_range};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ah6 {
    /// `--ahspi`.
    pub spi: Test<Range>,
    /// `--ahlen`: in bytes; 0 is no test.
    pub length: Test<u32>,
    /// `--ahres`: the reserved field is 0.
    pub reserved: bool,
}

impl Ah6 {
    pub(crate) const NAMES: &[&str] = &["ah"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { spi: Test::plain(Range::ANY), length: Test::plain(0), reserved: false }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("ahspi").invertible(),
    OptionSpec::value("ahlen").invertible(),
    OptionSpec::flag("ahres"),
];

impl Extension for Ah6 {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "ahspi" => self.spi = Range::parse(given)?,
            "ahlen" => self.length = Test { value: given.u32()?, inverted: given.inverted },
            _ => self.reserved = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_range(save, "ahspi", self.spi);
        if self.length.value != 0 || self.length.inverted {
            save.inverted(self.length.inverted).option("ahlen", self.length.value);
        }
        if self.reserved {
            save.flag("ahres");
        }
    }
}

impl Matching for Ah6 {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Some(found) = find(view.packet.bytes(), AUTH)? else { return Ok(false) };
        let header: &[u8; 12] = found.bytes.first_chunk().ok_or(Stop::Hotdrop)?;
        found.whole()?;
        let Self { spi, length, reserved } = self;
        let length = length.value == 0 || length.passes(length.value as usize == found.length);
        Ok(spi.passes(spi.value.contains(spi_of(header)))
            && length
            && !(*reserved && header[2..4] != [0, 0]))
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn behind_another_header() {
        let chain = [
            [51, 0, 1, 4, 0, 0, 0, 0].as_slice(),
            &[17, 4, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x0f, 0xa0, 0, 53, 0, 8, 0, 0],
        ];
        let mut packet = Alone::of(Family::V6, 60, &chain.concat());
        assert_eq!(met("-m ah --ahspi 258 --ahlen 24 --ahres", &mut packet), Some(true));
        assert_eq!(met("-m ah ! --ahlen 24", &mut packet), Some(false));
        assert_eq!(met("-m ah ! --ahspi 258", &mut packet), Some(false));
        *packet.upper(11) = 1;
        assert_eq!(met("-m ah --ahres", &mut packet), Some(false));
        assert_eq!(met("-m ah", &mut Alone::udp_of(Family::V6, 53)), Some(false));
        // It says to reach beyond the packet.
        *packet.upper(9) = 7;
        assert_eq!(met("-m ah", &mut packet), None);
    }
}
