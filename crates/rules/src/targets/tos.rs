//! `-j TOS`: `tos = (tos & !mask) ^ value`; the packet goes on.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::tos::{Bits, bits};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// One of four ways to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tos {
    /// Bits of the mask are cleared, then those of the value turned over.
    pub set: Bits,
}

impl Tos {
    pub(crate) const NAMES: &[&str] = &["TOS"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { set: Bits { value: 0, mask: 0 } }
    }
}

const WAYS: [&str; 4] = ["set-tos", "and-tos", "or-tos", "xor-tos"];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-tos").excludes(&WAYS),
    OptionSpec::value("and-tos").excludes(&WAYS),
    OptionSpec::value("or-tos").excludes(&WAYS),
    OptionSpec::value("xor-tos").excludes(&WAYS),
];

impl Extension for Tos {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.set = match given.option {
            "set-tos" => bits(given)?,
            "and-tos" => Bits { value: 0, mask: !given.u8()? },
            "or-tos" => {
                let value = given.u8()?;
                Bits { value, mask: value }
            }
            _ => Bits { value: given.u8()?, mask: 0 },
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("TOS: an option is missing").hint("`--set-tos`, mostly")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Bits { value, mask } = self.set;
        save.option("set-tos", format_args!("{value:#04x}/{mask:#04x}"));
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Tos {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let Bits { value, mask } = self.set;
        if let Some(now) = context.packet().map(|packet| packet.tos()) {
            context.edit_header().set_tos((now & !mask) ^ value);
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use stateward_wire::Packet;

    use crate::evaluate::tests::{Alone, mangled};
    use crate::extension::BOTH;

    #[test]
    fn bits_are_set_cleared_and_turned_over() {
        for family in BOTH {
            let after = |rule: &str| {
                let mut packet = Alone::udp_of(*family, 53);
                packet.set_tos(0x5a);
                let bytes = mangled(&format!("-j TOS {rule}"), &mut packet).unwrap();
                // The header's checksum is good still.
                Packet::parse(&bytes).unwrap().tos()
            };
            assert_eq!(after("--set-tos 0x10/0xff"), 0x10);
            // A name leaves the two highest bits alone.
            assert_eq!(after("--set-tos Minimize-Delay"), 0x50);
            assert_eq!(after("--and-tos 0x0f"), 0x0a);
            assert_eq!(after("--or-tos 0x05"), 0x5f);
            assert_eq!(after("--xor-tos 0xff"), 0xa5);
        }
    }
}
