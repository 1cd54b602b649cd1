//! `-m connbytes`: how many packets or bytes a connection has had, or how long its packets are.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
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

impl Matching for Connbytes {}
