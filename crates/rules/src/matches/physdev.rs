//! `-m physdev`: the ports of a bridge that a packet came in by and will leave by.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension, Place};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Interface, Test};
use crate::ruleset::Hook;
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Physdev {
    /// `--physdev-in`.
    pub input: Option<Test<Interface>>,
    /// `--physdev-out`.
    pub output: Option<Test<Interface>>,
    /// `--physdev-is-in`.
    pub is_in: Option<Test<()>>,
    /// `--physdev-is-out`.
    pub is_out: Option<Test<()>>,
    /// `--physdev-is-bridged`.
    pub is_bridged: Option<Test<()>>,
}

impl Physdev {
    pub(crate) const NAMES: &[&str] = &["physdev"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("physdev-in").invertible(),
    OptionSpec::value("physdev-out").invertible(),
    OptionSpec::flag("physdev-is-in").invertible(),
    OptionSpec::flag("physdev-is-out").invertible(),
    OptionSpec::flag("physdev-is-bridged").invertible(),
];

impl Extension for Physdev {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let flag = Some(Test { value: (), inverted });
        match given.option {
            "physdev-in" => self.input = Some(Test { value: interface(given)?, inverted }),
            "physdev-out" => self.output = Some(Test { value: interface(given)?, inverted }),
            "physdev-is-in" => self.is_in = flag,
            "physdev-is-out" => self.is_out = flag,
            _ => self.is_bridged = flag,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("physdev: an option is missing")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { input, output, is_in, is_out, is_bridged } = self;
        let name = |save: &mut Save, option: &str, name: &Option<Test<Interface>>| {
            if let Some(Test { value, inverted }) = name {
                save.inverted(*inverted).option(option, value);
            }
        };
        let flag = |save: &mut Save, option: &str, flag: &Option<Test<()>>| {
            if let Some(Test { inverted, .. }) = flag {
                save.inverted(*inverted).flag(option);
            }
        };
        flag(save, "physdev-is-in", is_in);
        name(save, "physdev-in", input);
        flag(save, "physdev-is-out", is_out);
        name(save, "physdev-out", output);
        flag(save, "physdev-is-bridged", is_bridged);
    }

    /// Where a packet of this host leaves by is known only if it is bridged.
    fn accepted(&self, place: &Place<'_>) -> Result<(), Refusal> {
        let asks_output = self.output.is_some() || self.is_out.is_some();
        let is_bridged = self.is_bridged.is_some_and(|bridged| !bridged.inverted);
        if asks_output && !is_bridged && place.hooks.contains(&Hook::Output) {
            let refusal = Refusal::table("physdev: `--physdev-out` where OUTPUT leads");
            return Err(refusal.hint("add `--physdev-is-bridged`"));
        }
        Ok(())
    }
}

fn interface(given: &Given<'_>) -> Result<Interface, Refusal> {
    match given.text.len() <= 15 {
        true => Ok(Interface::new(given.text)),
        false => Err(given.bad().hint("an interface's name has at most 15 bytes")),
    }
}

impl Matching for Physdev {
    /// If nothing is known, no bridge has carried the packet.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let shared = view.context.shared().borrow();
        let told = shared.known.port(view.context.ingress());
        let port = told.as_ref().and_then(|told| told.value);
        let passes = port.map_or_else(|| self.is_of_none(), |port| self.came_by(port));
        let words = told.map(|told| told.words);
        drop(shared);
        match words {
            Some(words) => view.context.give("physdev", words),
            None => view.context.assume("physdev"),
        }
        Ok(passes)
    }
}

impl Physdev {
    /// What no bridge has carried: all that is asked must be asked with `!`.
    fn is_of_none(&self) -> bool {
        let Self { input, output, is_in, is_out, is_bridged } = self;
        let ports = [input, output].into_iter().flatten().all(|port| port.inverted);
        ports && [is_in, is_out, is_bridged].into_iter().flatten().all(|asked| asked.inverted)
    }

    /// What came by a bridge's port and is routed: it leaves by none, and `--physdev-out` lets
    /// nothing pass then, not even with `!`.
    fn came_by(&self, port: &str) -> bool {
        let Self { input, output, is_in, is_out, is_bridged } = self;
        input.as_ref().is_none_or(|asked| asked.passes(asked.value.covers(port)))
            && output.is_none()
            && is_in.is_none_or(|asked| !asked.inverted)
            && [is_out, is_bridged].into_iter().flatten().all(|asked| asked.inverted)
    }
}
