//! `-m dst`: the options in IPv6's destination header.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Extension, V6};
use crate::extension_headers::DESTINATION;
use crate::matches::options6::Options;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `[!] --dst-len LENGTH --dst-opts KIND[:LENGTH],…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dst {
    /// What is tested.
    pub options: Options,
}

impl Dst {
    pub(crate) const NAMES: &[&str] = &["dst"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self { options: Options::default() }
    }
}

const NAMES: [&str; 2] = ["dst-len", "dst-opts"];
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value(NAMES[0]).invertible(), OptionSpec::value(NAMES[1])];

impl Extension for Dst {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "dst-len" => self.options.set_length(given),
            _ => self.options.set_list(given),
        }
    }

    fn save(&self, save: &mut Save) {
        self.options.save(save, NAMES);
    }
}

impl Matching for Dst {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        self.options.pass(view, DESTINATION)
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};
    use crate::extension_headers::DESTINATION;

    #[test]
    fn kinds_and_lengths() {
        let header = [[17, 0, 5, 2, 0, 0, 0, 0], [0x0f, 0xa0, 0, 53, 0, 8, 0, 0]];
        let mut packet = Alone::of(Family::V6, DESTINATION, &header.concat());
        let mut met = |rule: &str| met(&format!("-m dst {rule}"), &mut packet);
        assert_eq!(met("--dst-len 8 --dst-opts 5:2"), Some(true));
        assert_eq!(met("--dst-opts 5,0,0"), Some(true));
        assert_eq!(met("--dst-opts 5,0,0,0"), Some(false));
        assert_eq!(met("--dst-opts 5:3"), Some(false));
        assert_eq!(met("! --dst-len 8"), Some(false));
    }
}
