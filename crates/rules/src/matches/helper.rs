//! `-m helper`: the helper that a connection has, or whose connection announced it.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `[!] --helper NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// At most 29 bytes of its name; empty is any.
    pub name: String,
    /// The rule wants the opposite.
    pub inverted: bool,
}

impl Helper {
    pub(crate) const NAMES: &[&str] = &["helper"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { name: String::new(), inverted: false }
    }
}

const ROOM: usize = 29;

impl Extension for Helper {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("helper").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        (self.name, self.inverted) = (given.cut(ROOM), given.inverted);
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.inverted(self.inverted).flag("helper").quoted(&self.name);
    }
}

impl Matching for Helper {
    /// The connection that announced this one is asked for its helper; a name that the helper's
    /// begins is its, and none is every helper.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let helper = view.context.announcing_helper();
        let found =
            helper.is_some_and(|helper| self.name.is_empty() || self.name.starts_with(helper));
        Ok(found != self.inverted)
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn the_helper_of_what_announced_it() {
        let mut packet = Alone::udp(53);
        assert_eq!(met("-m helper --helper ftp", &mut packet), Some(false));
        assert_eq!(met("-m helper ! --helper ftp", &mut packet), Some(true));
        packet.announcing_helper = Some("ftp");
        assert_eq!(met("-m helper --helper ftp", &mut packet), Some(true));
        assert_eq!(met("-m helper --helper ftp-2121", &mut packet), Some(true));
        assert_eq!(met("-m helper --helper \"\"", &mut packet), Some(true));
        assert_eq!(met("-m helper --helper sip", &mut packet), Some(false));
    }
}
