//! `-m dccp`: ports, the packet's type, and whether an option is there.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::udp::{PortRange, ports_of};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::rule::Test;
use crate::save::Save;

/// What of a DCCP packet is tested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dccp {
    /// `--sport`; a first above the last matches nothing.
    pub source: Option<Test<PortRange>>,
    /// `--dport`.
    pub destination: Option<Test<PortRange>>,
    /// `--dccp-types`, one bit for each.
    pub types: Option<Test<u16>>,
    /// `--dccp-option`: an option of this kind is there.
    pub option: Option<Test<u8>>,
}

impl Dccp {
    pub(crate) const NAMES: &[&str] = &["dccp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("source-port").aliases(&["sport"]).invertible(),
    OptionSpec::value("destination-port").aliases(&["dport"]).invertible(),
    OptionSpec::value("dccp-types").invertible(),
    OptionSpec::value("dccp-option").invertible(),
];

impl Extension for Dccp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let ports = |given: &Given<'_>| {
            let (first, last) = given.ports()?;
            Ok(Some(Test { value: PortRange { first, last }, inverted }))
        };
        match given.option {
            "source-port" => self.source = ports(given)?,
            "destination-port" => self.destination = ports(given)?,
            "dccp-types" => self.types = Some(Test { value: types(given)?, inverted }),
            _ => {
                let value = given.number(1..=u8::MAX.into())? as u8;
                self.option = Some(Test { value, inverted });
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        for (name, ports) in [("sport", self.source), ("dport", self.destination)] {
            if let Some(Test { value, inverted }) = ports {
                save.inverted(inverted).option(name, value);
            }
        }
        if let Some(Test { value, inverted }) = self.types {
            let set = TYPES.iter().enumerate().filter(|(bit, _)| value & (1 << bit) != 0);
            let names: Vec<_> = set.map(|(_, name)| *name).collect();
            save.inverted(inverted).option("dccp-types", names.join(","));
        }
        if let Some(Test { value, inverted }) = self.option {
            save.inverted(inverted).option("dccp-option", value);
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::DCCP])
    }
}

fn types(given: &Given<'_>) -> Result<u16, Refusal> {
    let words = given.text.split(',').filter(|word| !word.is_empty());
    words.map(bit).try_fold(0, |bits, bit| Ok(bits | bit?))
}

fn bit(word: &str) -> Result<u16, Refusal> {
    let place = TYPES.iter().position(|name| name.eq_ignore_ascii_case(word));
    place.map(|place| 1 << place).ok_or_else(|| {
        let refusal = Refusal::new(format!("dccp: unknown type `{word}`"));
        refusal.hint(format!("one of {}", TYPES.join(", ")))
    })
}

/// In the order of their numbers.
const TYPES: [&str; 11] = [
    "REQUEST", "RESPONSE", "DATA", "ACK", "DATAACK", "CLOSEREQ", "CLOSE", "RESET", "SYNC",
    "SYNCACK", "INVALID",
];

impl Matching for Dccp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        const TYPE: usize = 8;
        const INVALID: u8 = TYPES.len() as u8 - 1;
        if view.is_later_fragment() {
            return Ok(false);
        }
        let header: &[u8; 12] = view.upper_header().ok_or(Stop::Hotdrop)?;
        let [source, destination] = ports_of(header);
        let port = |asked: Option<Test<PortRange>>, port| {
            asked.is_none_or(|asked| asked.passes(asked.value.contains(port)))
        };
        // Whatever is beyond the known types is INVALID, as Linux 6.18 was seen to have it.
        let kind = (header[TYPE] >> 1 & 0xf).min(INVALID);
        if !port(self.source, source)
            || !port(self.destination, destination)
            || !self.types.is_none_or(|asked| asked.passes(asked.value & (1 << kind) != 0))
        {
            return Ok(false);
        }
        let Some(asked) = self.option else { return Ok(true) };
        let options = options(view.packet.l4()).ok_or(asked.broken())?;
        Ok(asked.passes(has_option(options, asked.value)))
    }
}

/// The options behind the header, whose length depends on its type.
fn options(packet: &[u8]) -> Option<&[u8]> {
    let [.., offset, _, _, _, kind, _, _, _] = *packet.first_chunk::<12>()?;
    let extended = if kind & 1 == 1 { 4 } else { 0 };
    let of_type = match kind >> 1 & 0xf {
        2 => 0,
        3..=6 | 8 | 9 => 8,
        0 => 4,
        _ => 12,
    };
    packet.get(12 + extended + of_type..usize::from(offset) * 4)
}

fn has_option(mut options: &[u8], kind: u8) -> bool {
    while let Some(&found) = options.first() {
        if found == kind {
            return true;
        }
        let length = match found {
            0 | 1 => 1,
            _ => options.get(1).map_or(1, |length| usize::from(*length).max(1)),
        };
        options = options.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::evaluate::ChainVerdict;
    use crate::evaluate::tests::{Alone, met, verdict};
    use crate::extension::BOTH;

    #[test]
    fn ports_types_and_options() {
        // A request with long sequence numbers, its service, and the options 0, 5 (3 bytes) and 7.
        let bytes = [
            [0x0f, 0xa0, 0, 80, 7, 0, 0, 0, 1, 0, 0, 0].as_slice(),
            &[0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 5, 3, 9, 7, 3, 0, 0],
        ];
        let bytes = bytes.concat();
        for (rule, expected) in [
            ("--sport 4000 --dport 70:90", true),
            ("! --dport 80", false),
            ("--dccp-types REQUEST,ACK", true),
            ("--dccp-types RESPONSE", false),
            ("--dccp-option 5", true),
            ("--dccp-option 7", true),
            ("--dccp-option 9", false),
            ("! --dccp-option 9", true),
        ] {
            for family in BOTH {
                let mut packet = Alone::of(*family, 33, &bytes);
                let rule = format!("-p dccp -m dccp {rule}");
                assert_eq!(met(&rule, &mut packet), Some(expected), "{rule}");
            }
        }
    }

    #[test]
    fn options_that_are_not_there_break_the_packet() {
        for family in BOTH {
            let mut packet = Alone::of(*family, 33, &[0, 1, 0, 2, 9, 0, 0, 0, 4, 0, 0, 0]);
            assert_eq!(met("-p dccp -m dccp --dccp-option 5", &mut packet), None);
            // Inverted, the rule is met, and the packet ends all the same.
            let inverted = "-p dccp -m dccp ! --dccp-option 5";
            assert_eq!(met(inverted, &mut packet), Some(true));
            assert_eq!(verdict(&format!("{inverted} -j ACCEPT"), &mut packet), ChainVerdict::Drop);
        }
    }
}
