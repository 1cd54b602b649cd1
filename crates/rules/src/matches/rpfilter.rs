//! `-m rpfilter`: whether the way back to a packet's source leads out where it came in.

use stateward_wire::Family;

use crate::context::{ReversePath, View};
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// How the way back is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpfilter {
    /// `--loose`: any interface will do.
    pub loose: bool,
    /// `--validmark`: the way is looked for with the packet's mark.
    pub with_mark: bool,
    /// `--accept-local`: a source of this host is taken as well.
    pub local: bool,
    /// `--invert`: packets that fail.
    pub inverted: bool,
}

impl Rpfilter {
    pub(crate) const NAMES: &[&str] = &["rpfilter"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("loose"),
    OptionSpec::flag("validmark"),
    OptionSpec::flag("accept-local"),
    OptionSpec::flag("invert"),
];

impl Extension for Rpfilter {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "loose" => self.loose = true,
            "validmark" => self.with_mark = true,
            "accept-local" => self.local = true,
            _ => self.inverted = true,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let flags = [
            ("loose", self.loose),
            ("validmark", self.with_mark),
            ("accept-local", self.local),
            ("invert", self.inverted),
        ];
        for (name, _) in flags.into_iter().filter(|(_, given)| *given) {
            save.flag(name);
        }
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle, TableName::Raw]).hooks(&[Hook::Prerouting])
    }
}

impl Matching for Rpfilter {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let how = ReversePath { loose: self.loose, local: self.local };
        let leads_back = view.context.leads_back(how).unwrap_or_else(|| {
            view.context.assume("rpfilter");
            true
        });
        Ok(leads_back != self.inverted)
    }
}
