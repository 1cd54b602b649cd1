//! `-m tcpmss`: the maximum segment size that a SYN or its answer tells.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::rule::Test;
use crate::save::Save;

/// `[!] --mss MIN[:MAX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcpmss {
    /// The least and the most.
    pub sizes: Test<(u16, u16)>,
}

impl Tcpmss {
    pub(crate) const NAMES: &[&str] = &["tcpmss"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { sizes: Test::plain((0, 0)) }
    }
}

impl Extension for Tcpmss {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("mss").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let (least, most) = given.range(u16::MAX.into())?;
        if least > most {
            return Err(given.bad().hint(format!("{most}:{least}?")));
        }
        self.sizes = Test { value: (least as u16, most as u16), inverted: given.inverted };
        Ok(())
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::TCP])
    }

    fn save(&self, save: &mut Save) {
        let Test { value: (least, most), inverted } = self.sizes;
        save.inverted(inverted).option("mss", least);
        if least != most {
            save.text(':').text(most);
        }
    }
}

impl Matching for Tcpmss {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let (least, most) = self.sizes.value;
        let found = mss(view)?;
        Ok(self.sizes.passes(found.is_some_and(|size| least <= size && size <= most)))
    }
}

/// The size that the packet's options tell.
fn mss(view: &View<'_>) -> Result<Option<u16>, Stop> {
    let header: &[u8; 20] = view.upper_header().ok_or(Stop::Hotdrop)?;
    let length = (usize::from(header[12] >> 4) * 4).checked_sub(header.len());
    let rest = view.packet.l4().get(header.len()..).unwrap_or_default();
    let mut options = length.and_then(|length| rest.get(..length)).ok_or(Stop::Hotdrop)?;
    while let Some(&kind) = options.first() {
        if let [2, 4, high, low, ..] = options {
            return Ok(Some(u16::from_be_bytes([*high, *low])));
        }
        let length = match kind {
            0 | 1 => 1,
            _ => options.get(1).map_or(1, |length| usize::from(*length).max(1)),
        };
        options = options.get(length..).unwrap_or_default();
    }
    Ok(None)
}
