//! `-m tcp`: ports, flags, and whether an option is there.

use crate::context::View;
use crate::evaluate::{Matching, Stop};
use crate::matches::udp::ports_of;
use crate::memory::Memory;
use stateward_wire::Family;

use crate::extension::{BOTH, Demands, Extension};
use crate::matches::udp::{PortRange, save_ports};
use crate::number;
use crate::option::{Given, OptionSpec, Refusal};
use crate::protocol;
use crate::rule::Test;
use crate::save::Save;

/// What of a TCP header is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// `--sport`.
    pub source: Test<PortRange>,
    /// `--dport`.
    pub destination: Test<PortRange>,
    /// `--tcp-flags` and `--syn`: `flags & mask == compare`.
    pub flags: Test<Flags>,
    /// `--tcp-option`: an option of this kind is there; 0 is no test.
    pub option: Test<u8>,
}

/// Bits as in the header: FIN is 1, CWR and ECE are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Which flags count.
    pub mask: u8,
    /// Which of them must be set.
    pub compare: u8,
}

impl Tcp {
    pub(crate) const NAMES: &[&str] = &["tcp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self {
            source: Test::plain(PortRange::ANY),
            destination: Test::plain(PortRange::ANY),
            flags: Test::plain(Flags::default()),
            option: Test::plain(0),
        }
    }
}

/// iptables' own way for this match: what may stand once is said by `set`.
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("source-port").aliases(&["sport"]).invertible().repeatable(),
    OptionSpec::value("destination-port").aliases(&["dport"]).invertible().repeatable(),
    OptionSpec::flag("syn").invertible().repeatable(),
    OptionSpec::value("tcp-flags").invertible().repeatable(),
    OptionSpec::value("tcp-option").invertible().repeatable(),
];

/// `--syn`: the first packet of a connection.
pub(crate) const SYN: Flags = Flags { mask: 0x17, compare: 0x02 };

impl Extension for Tcp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let option = given.option;
        let is_flags = option == "syn" || option == "tcp-flags";
        if is_flags && (given.seen.has("syn") || given.seen.has("tcp-flags")) {
            return Err(Refusal::new("only one of `--syn` and `--tcp-flags`, and only once"));
        }
        if given.seen.has(option) {
            return Err(Refusal::new(format!("only one `--{option}`")));
        }
        match option {
            "source-port" => {
                self.source =
                    Test { value: PortRange::parse(given.text, protocol::TCP)?, inverted };
            }
            "destination-port" => {
                let value = PortRange::parse(given.text, protocol::TCP)?;
                self.destination = Test { value, inverted };
            }
            "syn" => self.flags = Test { value: SYN, inverted },
            "tcp-flags" => self.flags = Test { value: flags(given)?, inverted },
            _ => self.option = Test { value: option_kind(given.text)?, inverted },
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        save_ports(save, "sport", self.source);
        save_ports(save, "dport", self.destination);
        if self.option.value != 0 || self.option.inverted {
            save.inverted(self.option.inverted).option("tcp-option", self.option.value);
        }
        let Test { value: Flags { mask, compare }, inverted } = self.flags;
        if mask != 0 || inverted {
            save.inverted(inverted).option("tcp-flags", names(mask)).word(names(compare));
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::TCP])
    }
}

fn option_kind(text: &str) -> Result<u8, Refusal> {
    let kind = number::whole(text, 255).filter(|kind| *kind > 0);
    let kind = kind.and_then(|kind| u8::try_from(kind).ok());
    kind.ok_or_else(|| {
        Refusal::new(format!("bad TCP option `{text}`")).hint("its kind is a number from 1 to 255")
    })
}

fn flags(given: &mut Given<'_>) -> Result<Flags, Refusal> {
    let mask = given.text;
    let Some(compare) = given.second() else {
        let refusal = Refusal::new("`--tcp-flags` needs two words");
        return Err(refusal.hint("the flags that count, then those of them that must be set"));
    };
    Ok(Flags { mask: set(mask)?, compare: set(compare)? })
}

/// The bits of flags with commas between them.
fn set(text: &str) -> Result<u8, Refusal> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(bit).try_fold(0, |bits, bit| Ok(bits | bit?))
}

fn bit(word: &str) -> Result<u8, Refusal> {
    let found = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, bit)| *bit).ok_or_else(|| {
        let refusal = Refusal::new(format!("unknown TCP flag `{word}`"));
        refusal.hint("flags are FIN, SYN, RST, PSH, ACK, URG, ALL and NONE")
    })
}

/// The names of flags.
pub(crate) fn names(bits: u8) -> String {
    let set = NAMES.iter().filter(|(_, bit)| bit.count_ones() == 1 && bits & bit != 0);
    let names: Vec<_> = set.map(|(name, _)| *name).collect();
    if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
}

const NAMES: &[(&str, u8)] = &[
    ("FIN", 0x01),
    ("SYN", 0x02),
    ("RST", 0x04),
    ("PSH", 0x08),
    ("ACK", 0x10),
    ("URG", 0x20),
    ("ALL", 0x3f),
    ("NONE", 0),
];

impl Matching for Tcp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        const FLAGS: usize = 13;
        if view.is_later_fragment() {
            return later_fragment(view);
        }
        let header: &[u8; 20] = view.upper_header().ok_or(Stop::Hotdrop)?;
        let [source, destination] = ports_of(header);
        let flags = self.flags.value;
        if !self.source.passes(self.source.value.contains(source))
            || !self.destination.passes(self.destination.value.contains(destination))
            || !self.flags.passes(header[FLAGS] & flags.mask == flags.compare)
        {
            return Ok(false);
        }
        if self.option.value == 0 {
            return Ok(true);
        }
        let there = options(view)?.any(|option| option.first() == Some(&self.option.value));
        Ok(self.option.passes(there))
    }
}

/// A fragment that begins within the header could overwrite its flags (RFC 1858). Of IPv6's the
/// kernel does not notice it: those it counts in bytes, and looks for one that begins at the first.
fn later_fragment(view: &View<'_>) -> Result<bool, Stop> {
    match view.packet.fragment() {
        Some(fragment) if fragment.offset == 8 && view.packet.family() == Family::V4 => {
            Err(Stop::Hotdrop)
        }
        _ => Ok(false),
    }
}

/// The packet's options as the kernel's matches walk them, each with all that follows it: a length
/// of 0 counts as 1, one beyond the end ends the walk. A header or options that are cut end the
/// packet.
pub(crate) fn options<'a>(view: &View<'a>) -> Result<impl Iterator<Item = &'a [u8]>, Stop> {
    let (header, rest) = view.supposed_upper().split_first_chunk::<20>().ok_or(Stop::Hotdrop)?;
    let length = (usize::from(header[12] >> 4) * 4).checked_sub(header.len());
    let first = length.and_then(|length| rest.get(..length)).ok_or(Stop::Hotdrop)?;
    let after = |option: &&'a [u8]| {
        let length = match option.first()? {
            0 | 1 => 1,
            _ => option.get(1).map_or(1, |length| usize::from(*length).max(1)),
        };
        option.get(length..)
    };
    Ok(std::iter::successors(Some(first), after))
}
