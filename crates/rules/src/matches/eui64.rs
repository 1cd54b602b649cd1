//! `-m eui64`: an IPv6 source address that is made of the Ethernet address the packet came from.

use std::net::IpAddr;

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{Demands, Extension, V6};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::ruleset::Hook;
use crate::save::Save;

/// It takes no options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eui64;

impl Eui64 {
    pub(crate) const NAMES: &[&str] = &["eui64"];
    pub(crate) const FAMILIES: &[Family] = V6;

    pub(crate) fn begin(_: Family) -> Self {
        Self
    }
}

impl Extension for Eui64 {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn set(&mut self, _: &mut Given<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn save(&self, _: &mut Save) {}

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Prerouting, Hook::Input, Hook::Forward])
    }
}

impl Matching for Eui64 {
    /// A packet that came without an Ethernet header is none.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let IpAddr::V6(source) = view.source else { return Ok(false) };
        let Some(header) = view.context.link_header() else { return Ok(false) };
        let [_, _, _, _, _, _, a, b, c, d, e, f, 0x86, 0xdd] = *header else { return Ok(false) };
        let [.., i, j, k, l, m, n, o, p] = source.octets();
        Ok([i, j, k, l, m, n, o, p] == [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn the_address_is_made_of_the_other() {
        let mut packet = Alone::udp_of(Family::V6, 53);
        assert_eq!(met("-m eui64", &mut packet), Some(false));
        let header = [0, 0, 0, 0, 0, 0, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd];
        packet.set_link_header(header);
        assert_eq!(met("-m eui64", &mut packet), Some(false));
        packet.set_source_end([0, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55]);
        assert_eq!(met("-m eui64", &mut packet), Some(true));
    }
}
