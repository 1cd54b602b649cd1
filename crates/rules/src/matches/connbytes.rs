//! `-m connbytes`: how many packets or bytes a connection has had, or how long its packets are.

use stateward_conntrack::{Counter, Direction, PerDir};
use stateward_wire::Family;

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::extension::{BOTH, Extension};
use crate::memory::Memory;
use crate::option::{Given, OptionSpec, Refusal};
use crate::rule::Test;
use crate::save::Save;

/// What is counted, and how much of it there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connbytes {
    /// `--connbytes`: from the least to the most.
    pub amount: Test<(u64, u64)>,
    /// `--connbytes-dir`.
    pub side: Side,
    /// `--connbytes-mode`.
    pub mode: Mode,
}

/// Whose packets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those of the one who began.
    Original,
    /// The answers.
    Reply,
    /// All.
    Both,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
    /// Bytes a packet.
    Average,
}

impl Connbytes {
    pub(crate) const NAMES: &[&str] = &["connbytes"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { amount: Test::plain((0, 0)), side: Side::Original, mode: Mode::Packets }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("connbytes").invertible().mandatory(),
    OptionSpec::value("connbytes-dir").mandatory(),
    OptionSpec::value("connbytes-mode").mandatory(),
];

const SIDES: [(&str, Side); 3] =
    [("original", Side::Original), ("reply", Side::Reply), ("both", Side::Both)];
const MODES: [(&str, Mode); 3] =
    [("packets", Mode::Packets), ("bytes", Mode::Bytes), ("avgpkt", Mode::Average)];

impl Extension for Connbytes {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let text = given.text;
        match given.option {
            "connbytes" => {
                let (least, most) = amount(given)?;
                // iptables inverts by swapping both, which a single number does not show.
                let inverted = given.inverted && least != most;
                self.amount = Test { value: (least, most), inverted };
            }
            "connbytes-dir" => {
                let side = SIDES.iter().find(|(name, _)| *name == text);
                let refusal = || given.bad().hint("original, reply or both");
                self.side = side.ok_or_else(refusal)?.1;
            }
            _ => {
                let mode = MODES.iter().find(|(name, _)| *name == text);
                let refusal = || given.bad().hint("packets, bytes or avgpkt");
                self.mode = mode.ok_or_else(refusal)?.1;
            }
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { amount: Test { value: (least, most), inverted }, side, mode } = self;
        save.inverted(*inverted).option("connbytes", least);
        if (1..u64::MAX).contains(most) {
            save.text(format_args!(":{most}"));
        }
        if let Some((name, _)) = MODES.iter().find(|(_, one)| one == mode) {
            save.option("connbytes-mode", name);
        }
        if let Some((name, _)) = SIDES.iter().find(|(_, one)| one == side) {
            save.option("connbytes-dir", name);
        }
    }
}

/// Without a most there is none.
fn amount(given: &Given<'_>) -> Result<(u64, u64), Refusal> {
    let (least, most) = given.range(u64::MAX)?;
    let most = if given.text.contains(':') { most } else { u64::MAX };
    match least <= most {
        true => Ok((least, most)),
        false => Err(given.bad().hint(format!("the lower number first: {most}:{least}"))),
    }
}

impl Matching for Connbytes {
    /// A connection that does not count, and none at all, passes neither way.
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let Some(counters) = view.context.counters() else { return Ok(false) };
        let Counter { packets, bytes } = self.side.of(counters);
        let found = match self.mode {
            Mode::Packets => packets,
            Mode::Bytes => bytes,
            Mode::Average => bytes.checked_div(packets).unwrap_or(0),
        };
        let (least, most) = self.amount.value;
        Ok(self.amount.passes((least..=most).contains(&found)))
    }
}

impl Side {
    fn of(self, counters: PerDir<Counter>) -> Counter {
        let (original, reply) = (counters[Direction::Original], counters[Direction::Reply]);
        match self {
            Self::Original => original,
            Self::Reply => reply,
            Self::Both => Counter {
                packets: original.packets.wrapping_add(reply.packets),
                bytes: original.bytes.wrapping_add(reply.bytes),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::{Alone, met};

    #[test]
    fn packets_bytes_and_their_average() {
        let mut packet = Alone::udp(53);
        let asks = |range: &str, side: &str, mode: &str, packet: &mut Alone| {
            let sides = format!("--connbytes-dir {side} --connbytes-mode {mode}");
            met(&format!("-m connbytes {range} {sides}"), packet).unwrap()
        };
        assert!(!asks("--connbytes 0:", "both", "bytes", &mut packet));
        let counter = |packets, bytes| Counter { packets, bytes };
        packet.counters = Some(PerDir([counter(3, 301), counter(1, 1000)]));
        assert!(asks("--connbytes 3:3", "original", "packets", &mut packet));
        assert!(asks("--connbytes 1301", "both", "bytes", &mut packet));
        assert!(!asks("--connbytes 1302", "both", "bytes", &mut packet));
        assert!(asks("--connbytes 100:100", "original", "avgpkt", &mut packet));
        assert!(asks("! --connbytes 0:999", "reply", "bytes", &mut packet));
        assert!(!asks("! --connbytes 0:1000", "reply", "bytes", &mut packet));
        packet.counters = Some(PerDir::default());
        assert!(asks("--connbytes 0:0", "reply", "avgpkt", &mut packet));
    }
}
