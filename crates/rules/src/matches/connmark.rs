//! `-m connmark`: the connection's mark under a mask.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, Masked, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --mark VALUE[/MASK]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connmark {
    /// The connection's mark under the mask is compared with the value, which may have bits outside
    /// of it.
    pub mark: Test<Masked>,
}

impl Connmark {
    pub(crate) const NAMES: &[&str] = &["connmark"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { mark: Test::plain(Masked { value: 0, mask: 0 }) }
    }
}

impl Extension for Connmark {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("mark").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.mark = Test { value: given.masked()?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Masked { value, mask } = self.mark.value;
        save.inverted(self.mark.inverted).option("mark", format_args!("{value:#x}"));
        if mask != u32::MAX {
            save.text(format_args!("/{mask:#x}"));
        }
    }
}

impl Matching for Connmark {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Masked { value, mask } = self.mark.value;
        let connection = view.context.connection();
        Ok(connection.is_some_and(|of| self.mark.passes(of.mark & mask == value)))
    }
}
