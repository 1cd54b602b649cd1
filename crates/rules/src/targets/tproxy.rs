//! `-j TPROXY`: hands the packet to a socket of this host without changing it.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::address::{Shown, unspecified};
use crate::evaluate::Acting;
use crate::extension::{BOTH, Demands, Extension};
use crate::option::{Given, Masked, OptionSpec, Refusal};
use crate::protocol;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// Which socket, and the packet's new mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tproxy {
    /// `--on-port`; 0 is the packet's own.
    pub port: u16,
    /// `--on-ip`; all zeroes are the address of the interface it came in by.
    pub address: IpAddr,
    /// `--tproxy-mark`: bits of the mask are cleared, then those of the value turned over.
    pub mark: Masked,
}

impl Tproxy {
    pub(crate) const NAMES: &[&str] = &["TPROXY"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { port: 0, address: unspecified(family), mark: Masked { value: 0, mask: 0 } }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("on-port").mandatory(),
    OptionSpec::value("on-ip"),
    OptionSpec::value("tproxy-mark"),
];

impl Extension for Tproxy {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "on-port" => self.port = given.port()?,
            "on-ip" => self.address = given.host()?,
            _ => self.mark = given.masked()?,
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { port, address, mark: Masked { value, mask } } = self;
        save.option("on-port", port).option("on-ip", Shown(*address));
        save.option("tproxy-mark", format_args!("{value:#x}/{mask:#x}"));
    }

    fn demands(&self) -> Demands {
        let protocols = &[protocol::TCP, protocol::UDP];
        let tables = Demands::tables(&[TableName::Mangle]).hooks(&[Hook::Prerouting]);
        Demands { protocols, ..tables }
    }
}

impl Acting for Tproxy {}
