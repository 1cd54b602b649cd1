//! `-j CONNMARK`: changes the connection's mark, or copies between it and the packet's.

use stateward_wire::Family;

use crate::context::Context;
use crate::evaluate::{Acting, Action};
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, Masked, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::ruleset::Hook;
use crate::save::Save;

/// What is done, and then shifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connmark {
    /// What is done with the marks.
    pub work: Work,
    /// `--set-…`: bits that are cleared and turned over; else the bits of the connection's mark.
    pub connection: Masked,
    /// The bits of the packet's mark.
    pub packet: u32,
    /// `--left-shift-mark`, `--right-shift-mark`: the mark is moved by so many bits.
    pub shift: Shift,
}

/// What is done with the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The connection's is changed.
    Set,
    /// The connection's becomes the packet's.
    Save,
    /// The packet's becomes the connection's.
    Restore,
}

/// Where a mark is moved to, by how many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Up.
    Left(u8),
    /// Down.
    Right(u8),
}

impl Connmark {
    pub(crate) const NAMES: &[&str] = &["CONNMARK"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        let connection = Masked { value: 0, mask: u32::MAX };
        Self { work: Work::Set, connection, packet: u32::MAX, shift: Shift::Left(0) }
    }
}

const WORKS: [&str; 7] =
    ["set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark", "save-mark", "restore-mark"];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("set-xmark").excludes(&WORKS),
    OptionSpec::value("set-mark").excludes(&WORKS),
    OptionSpec::value("and-mark").excludes(&WORKS),
    OptionSpec::value("or-mark").excludes(&WORKS),
    OptionSpec::value("xor-mark").excludes(&WORKS),
    OptionSpec::flag("save-mark").excludes(&WORKS),
    OptionSpec::flag("restore-mark").excludes(&WORKS),
    OptionSpec::value("left-shift-mark"),
    OptionSpec::value("right-shift-mark"),
    OptionSpec::value("ctmask").excludes(&["mask"]),
    OptionSpec::value("nfmask").excludes(&["mask"]),
    OptionSpec::value("mask").excludes(&["ctmask", "nfmask"]),
];

impl Extension for Connmark {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "set-xmark" => self.connection = given.masked()?,
            "set-mark" => {
                let Masked { value, mask } = given.masked()?;
                self.connection = Masked { value, mask: mask | value };
            }
            "and-mark" => self.connection = Masked { value: 0, mask: !given.u32()? },
            "or-mark" => {
                let value = given.u32()?;
                self.connection = Masked { value, mask: value };
            }
            "xor-mark" => self.connection = Masked { value: given.u32()?, mask: 0 },
            "save-mark" => self.work = Work::Save,
            "restore-mark" => self.work = Work::Restore,
            "left-shift-mark" => self.shift = Shift::Left(given.number(0..=32)? as u8),
            "right-shift-mark" => self.shift = Shift::Right(given.number(0..=32)? as u8),
            "ctmask" => self.connection.mask = given.u32()?,
            "nfmask" => self.packet = given.u32()?,
            _ => {
                self.packet = given.u32()?;
                self.connection.mask = self.packet;
            }
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match WORKS.iter().any(|work| seen.has(work)) {
            true => Ok(()),
            false => {
                let refusal = Refusal::new("CONNMARK: an option is missing");
                Err(refusal.hint("`--set-mark`, `--save-mark` or `--restore-mark`, mostly"))
            }
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { work, connection: Masked { value, mask }, packet, shift } = self;
        match work {
            Work::Set => _ = save.option("set-xmark", format_args!("{value:#x}/{mask:#x}")),
            Work::Save | Work::Restore => {
                save.flag(if *work == Work::Save { "save-mark" } else { "restore-mark" });
                save.option("nfmask", format_args!("{packet:#x}"));
                save.option("ctmask", format_args!("{mask:#x}"));
            }
        }
        match shift {
            Shift::Left(0) | Shift::Right(0) => {}
            Shift::Left(bits) => _ = save.option("left-shift-mark", bits),
            Shift::Right(bits) => _ = save.option("right-shift-mark", bits),
        }
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        let (Shift::Left(bits) | Shift::Right(bits)) = self.shift;
        match bits < 32 {
            true => Ok(()),
            false => {
                Err(Refusal::table("CONNMARK: a mark has 32 bits").hint("shift by 31 at most"))
            }
        }
    }
}

impl Acting for Connmark {
    fn act(&self, context: &mut dyn Context, _: Hook) -> Action {
        let Some(connection) = context.connection() else { return Action::Continue };
        let (of_connection, of_packet) = (connection.mark, context.mark());
        let Masked { value, mask } = self.connection;
        match self.work {
            Work::Set => {
                context.set_connection_mark(self.shift.of((of_connection & !mask) ^ value));
            }
            Work::Save => {
                let moved = self.shift.of(of_packet & self.packet);
                context.set_connection_mark((of_connection & !mask) ^ moved);
            }
            Work::Restore => {
                let moved = self.shift.of(of_connection & mask);
                context.set_mark((of_packet & !self.packet) ^ moved);
            }
        }
        Action::Continue
    }
}

impl Shift {
    fn of(self, mark: u32) -> u32 {
        match self {
            Self::Left(bits) => mark.checked_shl(bits.into()).unwrap_or(0),
            Self::Right(bits) => mark.checked_shr(bits.into()).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, mangled};

    /// The marks of the connection and the packet after a rule, which were 0xf0 and 0x0f.
    fn after(rule: &str) -> (u32, u32) {
        let mut packet = Alone::udp(53);
        packet.connect(0xf0);
        *packet.marks().1 = 0x0f;
        assert!(mangled(&format!("-j CONNMARK {rule}"), &mut packet).is_some());
        let (connection, packet) = packet.marks();
        (connection.unwrap(), *packet)
    }

    #[test]
    fn marks_are_set_saved_and_restored() {
        assert_eq!(after("--set-xmark 0x11/0x30"), (0xd1, 0x0f));
        assert_eq!(after("--set-mark 0x11/0x30"), (0xd1, 0x0f));
        assert_eq!(after("--and-mark 0x30"), (0x30, 0x0f));
        assert_eq!(after("--save-mark"), (0x0f, 0x0f));
        assert_eq!(after("--restore-mark"), (0xf0, 0xf0));
        // Bits outside of the mask are turned over where the copy has some.
        assert_eq!(after("--save-mark --nfmask 0x0c --ctmask 0x30"), (0xcc, 0x0f));
        assert_eq!(after("--restore-mark --nfmask 0x03 --ctmask 0x30"), (0xf0, 0x3c));
    }

    #[test]
    fn what_is_copied_is_shifted_and_what_is_set_is_shifted_whole() {
        assert_eq!(after("--set-xmark 0x1/0xff --left-shift-mark 4"), (0x10, 0x0f));
        assert_eq!(after("--save-mark --left-shift-mark 31"), (0x8000_0000, 0x0f));
        assert_eq!(after("--restore-mark --mask 0xff --right-shift-mark 4"), (0xf0, 0x0f));
    }

    #[test]
    fn without_a_connection_nothing_is_done() {
        let mut packet = Alone::udp(53);
        assert!(mangled("-j CONNMARK --restore-mark", &mut packet).is_some());
        assert_eq!(packet.marks(), (None, &mut 0));
    }
}
