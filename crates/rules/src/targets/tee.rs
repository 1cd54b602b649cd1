//! `-j TEE`: sends a copy of the packet to a gateway; the packet goes on.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::address::{Shown, unspecified};
use crate::evaluate::Acting;
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal};
use crate::save::Save;

/// `--gateway ADDRESS [--oif INTERFACE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tee {
    /// Who gets it.
    pub gateway: IpAddr,
    /// The interface it must leave by.
    pub output: Option<String>,
}

impl Tee {
    pub(crate) const NAMES: &[&str] = &["TEE"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(family: Family) -> Self {
        Self { gateway: unspecified(family), output: None }
    }
}

const LONGEST: usize = 15;
const OPTIONS: &[OptionSpec] =
    &[OptionSpec::value("gateway").mandatory(), OptionSpec::value("oif")];

impl Extension for Tee {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "gateway" => self.gateway = given.host()?,
            _ => self.output = Some(given.cut(LONGEST)).filter(|name| !name.is_empty()),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save.option("gateway", Shown(self.gateway));
        if let Some(output) = &self.output {
            save.option("oif", output);
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match self.gateway.is_unspecified() {
            true => Err(Refusal::table("TEE: a gateway of all zeroes")),
            false => Ok(()),
        }
    }
}

impl Acting for Tee {}
