//! `-m comment`: a text that stands in the rule and matches everything.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--comment TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// At most 255 bytes; iptables cuts what is longer.
    pub text: String,
}

impl Comment {
    pub(crate) const NAMES: &[&str] = &["comment"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { text: String::new() }
    }
}

const ROOM: usize = 255;

impl Extension for Comment {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("comment").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.text = given.cut(ROOM);
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.flag("comment").quoted(&self.text);
    }
}

impl Matching for Comment {
    fn passes(&self, _: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(true)
    }
}
