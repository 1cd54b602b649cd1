//! `-m mac`: the link address that the packet came from.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::ruleset::Hook;
use crate::save::Save;

/// `[!] --mac-source XX:XX:XX:XX:XX:XX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mac {
    /// The Ethernet source.
    pub source: Test<[u8; 6]>,
}

impl Mac {
    pub(crate) const NAMES: &[&str] = &["mac"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { source: Test::plain([0; 6]) }
    }
}

impl Extension for Mac {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("mac-source").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let value = parse(given.text)
            .ok_or_else(|| given.bad().hint("six bytes in hexadecimal with colons between them"))?;
        self.source = Test { value, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let bytes: Vec<_> = self.source.value.iter().map(|byte| format!("{byte:02x}")).collect();
        save.inverted(self.source.inverted).option("mac-source", bytes.join(":"));
    }

    fn demands(&self) -> Demands {
        Demands::NONE.hooks(&[Hook::Prerouting, Hook::Input, Hook::Forward])
    }
}

/// Six bytes as C reads hexadecimal: none at all is 0.
pub(crate) fn parse(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        *byte = if part.is_empty() { 0 } else { u8::from_str_radix(part, 16).ok()? };
    }
    parts.next().is_none().then_some(bytes)
}

impl Matching for Mac {
    /// A packet that did not come from a station passes neither way.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let station = view.context.station();
        Ok(station.is_some_and(|station| self.source.passes(station == self.source.value)))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn the_station_it_came_from() {
        let mut packet = Alone::udp(53);
        assert_eq!(met("-m mac --mac-source 02:00:00:00:00:01", &mut packet), Some(false));
        assert_eq!(met("-m mac ! --mac-source 02:00:00:00:00:01", &mut packet), Some(false));
        packet.set_link_header([9, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(met("-m mac --mac-source 02:00:00:00:00:01", &mut packet), Some(true));
        assert_eq!(met("-m mac ! --mac-source 02:00:00:00:00:01", &mut packet), Some(false));
        assert_eq!(met("-m mac ! --mac-source 02:00:00:00:00:02", &mut packet), Some(true));
    }
}
