//! `net.ipv4.conf.NAME.…`: what interfaces ask of IPv4 sources.
//!
//! A value stands under an interface's name, under `default` for those that have none of their own,
//! and under `all`, beside which the interface's own still counts: for `rp_filter` the greater
//! holds, for `accept_local` either.

use std::collections::BTreeMap;

use stateward_conntrack::SysctlError;
use stateward_engine::route::Network;
use stateward_engine::source::{OwnSource, ReversePath, SourceCheck};

/// What was said under one name.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    reverse_path: Option<ReversePath>,
    own: Option<OwnSource>,
}

/// All that was said, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Ipv4Conf {
    said: BTreeMap<String, Said>,
}

impl Ipv4Conf {
    /// Takes `NAME.rp_filter` or `NAME.accept_local`, the name being that of an interface, `all` or
    /// `default`. Where the network has no interfaces yet, any name will do.
    pub(super) fn set(
        &mut self,
        network: &Network,
        key: &str,
        value: &str,
    ) -> Result<(), SysctlError> {
        let (name, setting) = key.rsplit_once('.').ok_or(SysctlError::Unknown)?;
        let known = |name| network.interface_named(name).is_some();
        if !matches!(name, "all" | "default") && !network.interfaces().is_empty() && !known(name) {
            return Err(SysctlError::Unknown);
        }
        let number: i32 = value.trim().parse().map_err(|_| SysctlError::NotANumber)?;
        let mut said = self.said.get(name).copied().unwrap_or_default();
        match setting {
            "rp_filter" => {
                // The kernel takes any number.
                said.reverse_path = Some(match number {
                    ..=0 => ReversePath::Any,
                    1 => ReversePath::Strict,
                    _ => ReversePath::Loose,
                });
            }
            "accept_local" => {
                let yes = number != 0;
                said.own = Some(if yes { OwnSource::Accepted } else { OwnSource::Refused });
            }
            _ => return Err(SysctlError::Unknown),
        }
        self.said.insert(name.to_owned(), said);
        Ok(())
    }

    /// Lets the network's interfaces ask for what was said.
    pub(super) fn apply(&self, network: &mut Network) {
        let said = |name: &str| self.said.get(name).copied().unwrap_or_default();
        let (all, default) = (said("all"), said("default"));
        for interface in network.interfaces_mut() {
            let own = said(&interface.name);
            let here = own.reverse_path.or(default.reverse_path).unwrap_or_default();
            let reverse_path = here.max(all.reverse_path.unwrap_or_default());
            let accepts = [own.own.or(default.own), all.own].contains(&Some(OwnSource::Accepted));
            let own = if accepts { OwnSource::Accepted } else { OwnSource::Refused };
            interface.source_check = SourceCheck { reverse_path, own };
        }
    }
}
