//! `-m cgroup`: the control group of the process that a packet is of.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension, Place};
use crate::known::Process;
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::ruleset::Hook;
use crate::save::Save;

/// `[!] --path PATH` or `[!] --cgroup CLASSID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The path of a group, or of one above it; and whether the rule wants the opposite.
    pub path: Option<(String, bool)>,
    /// The class that `net_cls` gave.
    pub class: Option<Test<u32>>,
}

impl Cgroup {
    pub(crate) const NAMES: &[&str] = &["cgroup"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ROOM: usize = 511;
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("path").invertible(), OptionSpec::value("cgroup").invertible()];

impl Extension for Cgroup {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "path" => self.path = Some((given.cut(ROOM), inverted)),
            _ => self.class = Some(Test { value: given.u32()?, inverted }),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if let Some((path, inverted)) = &self.path {
            save.inverted(*inverted).flag("path").quoted(path);
        }
        if let Some(Test { value, inverted }) = self.class {
            save.inverted(inverted).option("cgroup", value);
        }
    }

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Input, Hook::Output, Hook::Postrouting])
    }

    /// Whether there is such a group only the machine knows.
    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match (&self.path, self.class) {
            (None, None) => Err(Refusal::table("cgroup: neither `--path` nor `--cgroup`")),
            (Some(_), Some(_)) => {
                Err(Refusal::table("cgroup: not `--path` and `--cgroup` at once"))
            }
            _ => Ok(()),
        }
    }
}

impl Matching for Cgroup {
    /// If nothing is known, no process has sent the packet: it is of no group, asked with `!` or
    /// without.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let shared = view.context.shared().borrow();
        let told = shared.known.sender(view, Process::group_words);
        let process = told.as_ref().and_then(|told| told.value);
        let passes = process.is_some_and(|process| {
            let path = self.path.as_ref();
            path.is_none_or(|(path, inverted)| process.is_below(path) != *inverted)
                && self.class.is_none_or(|class| class.passes(class.value == process.class))
        });
        let words = told.map(|told| told.words);
        drop(shared);
        match words {
            Some(words) => view.context.give("cgroup", words),
            None => view.context.assume("cgroup"),
        }
        Ok(passes)
    }
}
