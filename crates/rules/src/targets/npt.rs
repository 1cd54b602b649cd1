//! What `DNPT` and `SNPT` have in common: one prefix takes another's place (RFC 6296).

use stateward_wire::Family;

use crate::address::{self, Network, Shown};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--src-pfx PREFIX --dst-pfx PREFIX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// What is taken away.
    pub from: Network,
    /// What takes its place.
    pub to: Network,
}

pub(crate) const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("src-pfx").mandatory(), OptionSpec::value("dst-pfx").mandatory()];

const LONGEST: u32 = 64;

impl Prefixes {
    pub(crate) fn begin() -> Self {
        let any = Network::any(Family::V6);
        Self { from: any, to: any }
    }

    pub(crate) fn set(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        let network = given.host_mask()?;
        match given.option {
            "src-pfx" => self.from = network,
            _ => self.to = network,
        }
        Ok(())
    }

    pub(crate) fn save(&self, save: &mut Save) {
        for (name, network) in [("src-pfx", self.from), ("dst-pfx", self.to)] {
            let length = network.prefix_length().unwrap_or(0);
            // iptables takes a prefix of no length for one that was not given.
            if length > 0 {
                save.option(name, format_args!("{}/{length}", Shown(network.address)));
            }
        }
    }

    /// A prefix has no more than 64 bits and nothing behind them.
    pub(crate) fn accepted(&self) -> Result<(), Refusal> {
        let stands = |network: Network| {
            network.prefix_length().is_some_and(|length| length <= LONGEST)
                && address::masked(network.address, network.mask) == network.address
        };
        match stands(self.from) && stands(self.to) {
            true => Ok(()),
            false => Err(Refusal::table("a prefix has 64 bits at most, and nothing behind them")),
        }
    }
}
