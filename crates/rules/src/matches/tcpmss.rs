//! `-m tcpmss`: the maximum segment size that a SYN or its answer tells.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::tcp::options;
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
    let size = |option: &[u8]| match option {
        [2, 4, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    Ok(options(view)?.find_map(size))
}
