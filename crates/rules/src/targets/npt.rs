//! What `-j SNPT` and `-j DNPT` have in common: two prefixes of at most 64 bits.

use std::net::{IpAddr, Ipv6Addr};

use crate::address::{self, Network, Shown};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--src-pfx` becomes `--dst-pfx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// `--src-pfx`.
    pub from: Network,
    /// `--dst-pfx`.
    pub to: Network,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { from: NONE, to: NONE }
    }
}

pub(crate) const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("src-pfx").mandatory(), OptionSpec::value("dst-pfx").mandatory()];

const NONE: Network = {
    let zeroes = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    Network { address: zeroes, mask: zeroes }
};

/// The longest prefix in bits.
const LONGEST: u32 = 64;

impl Prefixes {
    pub(crate) fn set(&mut self, given: &Given<'_>) -> Result<(), Refusal> {
        let prefix = given.host_mask()?;
        match given.option {
            "src-pfx" => self.from = prefix,
            _ => self.to = prefix,
        }
        Ok(())
    }

    pub(crate) fn save(&self, save: &mut Save) {
        for (name, prefix) in [("src-pfx", self.from), ("dst-pfx", self.to)] {
            // iptables takes all zeroes for an option that was not given.
            if prefix != NONE {
                save.option(name, Shown(prefix.address));
                save.text(format_args!("/{}", length(prefix)));
            }
        }
    }

    /// What the kernel asks of them.
    pub(crate) fn accepted(&self, target: &str) -> Result<(), Refusal> {
        for prefix in [self.from, self.to] {
            if length(prefix) > LONGEST {
                let refusal = Refusal::table(format!("{target}: a prefix of more than 64 bits"));
                return Err(refusal);
            }
            if address::masked(prefix.address, prefix.mask) != prefix.address {
                let refusal = Refusal::table(format!("{target}: bits beyond the prefix"));
                return Err(refusal.hint("they must be 0"));
            }
        }
        Ok(())
    }
}

/// A mask that is no prefix is longer than any.
fn length(prefix: Network) -> u32 {
    prefix.prefix_length().unwrap_or(u32::MAX)
}
