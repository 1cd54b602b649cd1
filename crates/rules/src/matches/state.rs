//! `-m state`: the old name of `-m conntrack --ctstate`, with five states.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{BOTH, Extension};
use crate::matches::conntrack::States;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --state STATES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Any of them.
    pub states: Test<States>,
}

impl State {
    pub(crate) const NAMES: &[&str] = &["state"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { states: Test::plain(States::default()) }
    }
}

impl Extension for State {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("state").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        if given.text.is_empty() {
            let refusal = Refusal::new("`--state` needs a list of states without blanks");
            return Err(refusal.hint("for example ESTABLISHED,RELATED"));
        }
        let states = States::parse(given.text, States::OF_STATE, "state")?;
        self.states = Test { value: states, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let names = self.states.value.names(States::OF_STATE);
        save.inverted(self.states.inverted).option("state", names);
    }
}

impl Matching for State {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.states.passes(self.states.value.0 & States::of(view.context.state()).0 != 0))
    }
}
