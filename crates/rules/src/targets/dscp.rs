//! `-j DSCP`: sets the upper six bits of the former TOS byte.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Demands, Extension};
use crate::matches::dscp::class;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::{Hook, TableName};
use crate::save::Save;

/// `--set-dscp VALUE` or `--set-dscp-class NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dscp {
    /// 0 to 63.
    pub value: u8,
}

impl Dscp {
    pub(crate) const NAMES: &[&str] = &["DSCP"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { value: 0 }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-dscp").excludes(&["set-dscp-class"]),
    OptionSpec::value("set-dscp-class").excludes(&["set-dscp"]),
];

impl Extension for Dscp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.value = match given.option {
            "set-dscp" => given.number(0..=63)? as u8,
            _ => class(given)?,
        };
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("DSCP: `--set-dscp` must be given")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        save.option("set-dscp", format_args!("{:#04x}", self.value));
    }

    fn demands(&self) -> Demands {
        Demands::tables(&[TableName::Mangle])
    }
}

impl Acting for Dscp {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        const CONGESTION: u8 = 0x03;
        if let Some(now) = context.packet().map(|packet| packet.tos()) {
            context.edit_header().set_tos(now & CONGESTION | self.value << 2);
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
    fn the_lower_two_bits_stay() {
        for family in BOTH {
            for before in [0x02, 0xff] {
                let mut packet = Alone::udp_of(*family, 53);
                packet.set_tos(before);
                let bytes = mangled("-j DSCP --set-dscp-class EF", &mut packet).unwrap();
                assert_eq!(Packet::parse(&bytes).unwrap().tos(), 0xb8 | before & 3);
            }
        }
    }
}
