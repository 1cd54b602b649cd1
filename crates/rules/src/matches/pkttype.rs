//! `-m pkttype`: to whom the link layer sent the packet.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --pkt-type TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkttype {
    /// To whom.
    pub to: Test<To>,
}

/// Receivers as the link layer tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// This host.
    Us,
    /// Everyone.
    Broadcast,
    /// A group.
    Multicast,
    /// Another host.
    OtherHost,
}

impl Pkttype {
    pub(crate) const NAMES: &[&str] = &["pkttype"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { to: Test::plain(To::Us) }
    }
}

impl Extension for Pkttype {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("pkt-type").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let name = given.text;
        let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, value)) = found else {
            let refusal = Refusal::new(format!("bad packet type `{name}`"));
            return Err(refusal.hint("unicast, broadcast, multicast or otherhost"));
        };
        self.to = Test { value: *value, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        if let Some((name, _)) = NAMES.iter().find(|(_, to)| *to == self.to.value) {
            save.inverted(self.to.inverted).option("pkt-type", name);
        }
    }
}

/// Names, and below them names that are taken but not printed.
const NAMES: [(&str, To); 7] = [
    ("unicast", To::Us),
    ("broadcast", To::Broadcast),
    ("multicast", To::Multicast),
    ("otherhost", To::OtherHost),
    ("bcast", To::Broadcast),
    ("mcast", To::Multicast),
    ("host", To::Us),
];

impl Matching for Pkttype {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Ok(self.to.passes(view.context.sent_to() == self.to.value))
    }
}

#[cfg(test)]
mod tests {
    use super::To;
    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn to_whom_the_frame_was() {
        let mut packet = Alone::udp(53);
        assert_eq!(met("-m pkttype --pkt-type unicast", &mut packet), Some(true));
        packet.sent_to = To::Broadcast;
        assert_eq!(met("-m pkttype --pkt-type unicast", &mut packet), Some(false));
        assert_eq!(met("-m pkttype --pkt-type broadcast", &mut packet), Some(true));
        assert_eq!(met("-m pkttype ! --pkt-type multicast", &mut packet), Some(true));
    }
}
