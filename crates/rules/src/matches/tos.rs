//! `-m tos`: the byte of an IPv4 header that was called so first, or an IPv6 header's traffic
//! class.

use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// `[!] --tos VALUE[/MASK]` or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tos {
    /// The packet's byte under the mask is compared with the value, which may have bits outside of
    /// it.
    pub tos: Test<Bits>,
}

/// A byte and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The bits.
    pub value: u8,
    /// Which of them count.
    pub mask: u8,
}

impl Tos {
    pub(crate) const NAMES: &[&str] = &["tos"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { tos: Test::plain(Bits { value: 0, mask: 0 }) }
    }
}

impl Extension for Tos {
    fn options(&self) -> &'static [OptionSpec] {
        const { &[OptionSpec::value("tos").invertible().mandatory()] }
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        self.tos = Test { value: bits(given)?, inverted: given.inverted };
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Bits { value, mask } = self.tos.value;
        save.inverted(self.tos.inverted).option("tos", format_args!("{value:#04x}/{mask:#04x}"));
    }
}

/// `VALUE[/MASK]`, or a name, which says nothing of the precedence.
pub(crate) fn bits(given: &Given<'_>) -> Result<Bits, Refusal> {
    let byte = |value: u64| u8::try_from(value).ok();
    let begin = number::prefix(given.text).and_then(|(value, rest)| Some((byte(value)?, rest)));
    let Some((value, rest)) = begin else {
        let known = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given.text));
        let value = known.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            given.bad().hint(format!("a number from 0 to 255, or one of {}", names.join(", ")))
        })?;
        return Ok(Bits { value, mask: 0x3f });
    };
    let mask = match rest.strip_prefix('/') {
        Some(mask) => number::whole(mask, 255).and_then(byte),
        None => rest.is_empty().then_some(0xff),
    };
    let refusal = || given.bad().hint("the mask is a number from 0 to 255");
    Ok(Bits { value, mask: mask.ok_or_else(refusal)? })
}

const NAMES: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];

impl Matching for Tos {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Bits { value, mask } = self.tos.value;
        Ok(self.tos.passes(view.packet.tos() & mask == value))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    #[test]
    fn a_byte_under_a_mask() {
        for family in BOTH {
            let mut packet = Alone::udp_of(*family, 53);
            packet.set_tos(0x50);
            assert_eq!(met("-m tos --tos Minimize-Delay", &mut packet), Some(true));
            assert_eq!(met("-m tos --tos 0x10", &mut packet), Some(false));
            assert_eq!(met("-m tos ! --tos 0x40/0xc0", &mut packet), Some(false));
            // A bit outside of the mask is never there.
            assert_eq!(met("-m tos --tos 0x51/0x50", &mut packet), Some(false));
        }
    }
}
