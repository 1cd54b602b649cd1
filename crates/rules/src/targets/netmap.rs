//! `-j NETMAP`: a whole network becomes another one, host by host.

use stateward_wire::Family;

use crate::address::{self, Network, Shown};
use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::{Hook, TableName};
use crate::save::Save;
use crate::targets::nat::Translation;

/// `--to ADDRESS[/MASK]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netmap {
    /// The bits of the mask become those of the address.
    pub to: Network,
}

impl Netmap {
    pub(crate) const NAMES: &[&str] = &["NETMAP"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { to: Network::any(family) }
    }
}

impl Extension for Netmap {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("to").mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let Network { address, mask } = given.host_mask()?;
        self.to = Network { address: address::masked(address, mask), mask };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Network { address, mask } = self.to;
        save.option("to", Shown(address));
        match address::prefix_length(mask) {
            Some(length) => save.text('/').text(length),
            None => save.text('/').text(Shown(mask)),
        };
    }

    fn demands(&self) -> Demands {
        let all = &[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting];
        Demands::tables(&[TableName::Nat]).hooks(all)
    }
}

impl Acting for Netmap {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        context
            .translate(Translation::Netmap(&self.to))
            .map_or(Action::NotEvaluated, Action::Verdict)
    }
}
