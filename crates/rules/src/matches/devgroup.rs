//! `-m devgroup`: the group of the interface a packet came in by or leaves by.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::matches::realm::{named, save_named};
use crate::memory::Memory;
use crate::option::{Given, Masked, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::ruleset::Hook;
use crate::save::Save;

/// `[!] --src-group VALUE[/MASK]`, `[!] --dst-group VALUE[/MASK]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devgroup {
    /// Of the interface it came in by.
    pub source: Option<Test<Masked>>,
    /// Of the interface it leaves by.
    pub destination: Option<Test<Masked>>,
}

impl Devgroup {
    pub(crate) const NAMES: &[&str] = &["devgroup"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

/// The only name that Debian's `/etc/iproute2/group` has.
const ZERO: &str = "default";

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("src-group").invertible(), OptionSpec::value("dst-group").invertible()];

impl Extension for Devgroup {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let group = Some(Test { value: named(given, ZERO)?, inverted: given.inverted });
        match given.option {
            "src-group" => self.source = group,
            _ => self.destination = group,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("devgroup: neither `--src-group` nor `--dst-group`")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        for (name, group) in [("src-group", self.source), ("dst-group", self.destination)] {
            if let Some(group) = group {
                save_named(save, name, group, ZERO);
            }
        }
    }

    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let before = [Hook::Prerouting, Hook::Input];
        let after = [Hook::Output, Hook::Postrouting];
        let meets = |hooks: [Hook; 2]| place.hooks.iter().find(|hook| hooks.contains(hook));
        let strange = match (self.source, self.destination) {
            (Some(_), _) if meets(after).is_some() => meets(after).map(|hook| ("src-group", hook)),
            (_, Some(_)) => meets(before).map(|hook| ("dst-group", hook)),
            _ => None,
        };
        match strange {
            Some((name, hook)) => {
                Err(Refusal::table(format!("devgroup: `--{name}` where {hook} leads")))
            }
            None => Ok(()),
        }
    }
}

impl Matching for Devgroup {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let [input, output] = view.context.groups();
        let is = |asked: Option<Test<Masked>>, group: u32| {
            asked.is_none_or(|Test { value: Masked { value, mask }, inverted }| {
                ((group ^ value) & mask == 0) != inverted
            })
        };
        Ok(is(self.source, input) && is(self.destination, output))
    }
}
