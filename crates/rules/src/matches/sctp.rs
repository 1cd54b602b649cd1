//! `-m sctp`: ports, and which chunks a packet has.

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

/// What of an SCTP packet is tested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sctp {
    /// `--sport`.
    pub source: Option<Test<PortRange>>,
    /// `--dport`.
    pub destination: Option<Test<PortRange>>,
    /// `--chunk-types`.
    pub chunks: Option<Test<Chunks>>,
}

/// Which chunks, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// How many of them.
    pub amount: Amount,
    /// The kinds, one bit for each.
    pub kinds: Kinds,
    /// What is asked of the flags of at most four kinds.
    pub flags: [Option<Flags>; 4],
}

/// How many of the kinds must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// One.
    Any,
    /// All.
    All,
    /// Nothing but these.
    Only,
}

/// Kinds of chunks as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds([u64; 4]);

impl Kinds {
    const ALL: Self = Self([u64::MAX; 4]);
    const NONE: Self = Self([0; 4]);

    const fn has(self, kind: u8) -> bool {
        self.0[kind as usize / 64] & (1 << (kind % 64)) != 0
    }

    const fn with(mut self, kind: u8) -> Self {
        self.0[kind as usize / 64] |= 1 << (kind % 64);
        self
    }

    const fn without(mut self, kind: u8) -> Self {
        self.0[kind as usize / 64] &= !(1 << (kind % 64));
        self
    }
}

/// What is asked of a chunk's flags: `flags & mask == set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Whose flags.
    pub kind: u8,
    /// Which of them count.
    pub mask: u8,
    /// Which of these must be set.
    pub set: u8,
}

impl Sctp {
    pub(crate) const NAMES: &[&str] = &["sctp"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("source-port").aliases(&["sport"]).invertible(),
    OptionSpec::value("destination-port").aliases(&["dport"]).invertible(),
    OptionSpec::value("chunk-types").invertible(),
];

impl Extension for Sctp {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let ports = |given: &Given<'_>| {
            let value = PortRange::parse(given.text, protocol::SCTP)?;
            Ok(Some(Test { value, inverted }))
        };
        match given.option {
            "source-port" => self.source = ports(given)?,
            "destination-port" => self.destination = ports(given)?,
            _ => self.chunks = Some(Test { value: chunks(given)?, inverted }),
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        for (name, ports) in [("sport", self.source), ("dport", self.destination)] {
            if let Some(Test { value, inverted }) = ports {
                save.inverted(inverted).option(name, value);
            }
        }
        if let Some(Test { value, inverted }) = self.chunks {
            let amount = match value.amount {
                Amount::Any => "any",
                Amount::All => "all",
                Amount::Only => "only",
            };
            save.inverted(inverted).option("chunk-types", amount).word(value.names());
        }
    }

    fn demands(&self) -> Demands {
        Demands::protocols(&[protocol::SCTP])
    }
}

fn chunks(given: &mut Given<'_>) -> Result<Chunks, Refusal> {
    let amount = match given.text {
        text if text.eq_ignore_ascii_case("any") => Amount::Any,
        text if text.eq_ignore_ascii_case("all") => Amount::All,
        text if text.eq_ignore_ascii_case("only") => Amount::Only,
        _ => return Err(given.bad().hint("any, all or only, and then the chunks")),
    };
    let Some(list) = given.second() else {
        let refusal = Refusal::new("sctp: `--chunk-types` needs two words");
        return Err(refusal.hint("any, all or only, and then the chunks"));
    };
    let mut chunks = Chunks { amount, kinds: Kinds::NONE, flags: [None; 4] };
    if list.eq_ignore_ascii_case("all") {
        chunks.kinds = Kinds::ALL;
        return Ok(chunks);
    }
    if list.eq_ignore_ascii_case("none") {
        return Ok(chunks);
    }
    for word in list.split(',').filter(|word| !word.is_empty()) {
        chunks.add(word)?;
    }
    Ok(chunks)
}

impl Chunks {
    /// `NAME[:FLAGS]`: a large letter is a flag that is set, a small one a flag that is not.
    fn add(&mut self, word: &str) -> Result<(), Refusal> {
        let (name, flags) = word.split_once(':').unwrap_or((word, ""));
        let place = NAMES.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let known = place.and_then(|place| Some((place, NAMES.get(place)?)));
        let Some((place, (name, kind))) = known else {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            let refusal = Refusal::new(format!("sctp: unknown chunk `{name}`"));
            return Err(refusal.hint(format!("one of {}", names.join(", "))));
        };
        self.kinds = self.kinds.with(*kind);
        for letter in flags.chars() {
            let is = |one: char| one == letter.to_ascii_uppercase();
            let Some(bit) = letters(*kind).chars().position(is) else {
                return Err(Refusal::new(format!("sctp: chunk {name} has no flag `{letter}`")));
            };
            let bit = 0x80 >> bit;
            let set = if letter.is_ascii_uppercase() { bit } else { 0 };
            // iptables notes the place in its list, which is the kind of the first 15 only: the
            // flags of the others are read and then without effect.
            let Some(flags) = self.flags_of(place as u8) else {
                return Err(Refusal::new("sctp: flags of more than four kinds of chunks"));
            };
            flags.mask |= bit;
            flags.set |= set;
        }
        Ok(())
    }

    /// What is asked of the kind's flags, if there is room for it.
    fn flags_of(&mut self, kind: u8) -> Option<&mut Flags> {
        let is = |flags: &Option<Flags>| flags.is_none_or(|flags| flags.kind == kind);
        let place = self.flags.iter_mut().find(|flags| is(flags))?;
        Some(place.get_or_insert(Flags { kind, mask: 0, set: 0 }))
    }

    fn names(&self) -> String {
        match self.kinds {
            Kinds::ALL => return "ALL".to_owned(),
            Kinds::NONE => return "NONE".to_owned(),
            _ => {}
        }
        let there = NAMES.iter().filter(|(_, kind)| self.kinds.has(*kind));
        let shown = there.map(|(name, kind)| {
            let asked = self.flags.iter().flatten().find(|flags| flags.kind == *kind);
            asked.map_or((*name).to_owned(), |flags| format!("{name}:{}", flags.letters()))
        });
        shown.collect::<Vec<_>>().join(",")
    }

    fn flags_pass(&self, kind: u8, flags: u8) -> bool {
        let asked = self.flags.iter().flatten().find(|asked| asked.kind == kind);
        asked.is_none_or(|asked| flags & asked.mask == asked.set)
    }

    /// Whether the chunks have what is asked for; `None` if the packet is broken: there is one, and
    /// it says how long it is.
    fn pass(&self, mut bytes: &[u8]) -> Option<bool> {
        let mut missing = self.kinds;
        loop {
            let [kind, flags, high, low] = *bytes.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 {
                return None;
            }
            let is_asked = self.kinds.has(kind) && self.flags_pass(kind, flags);
            match self.amount {
                Amount::Any if is_asked => return Some(true),
                Amount::All if is_asked => missing = missing.without(kind),
                Amount::Only if !is_asked => return Some(false),
                _ => {}
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if bytes.is_empty() {
                return Some(match self.amount {
                    Amount::Any => false,
                    Amount::All => missing == Kinds::NONE,
                    Amount::Only => true,
                });
            }
        }
    }
}

impl Flags {
    fn letters(self) -> String {
        let places = letters(self.kind).chars().enumerate();
        let counted = places.filter(|(place, _)| self.mask & (0x80 >> place) != 0);
        let letter = |(place, letter): (usize, char)| match self.set & (0x80 >> place) {
            0 => letter.to_ascii_lowercase(),
            _ => letter,
        };
        counted.map(letter).collect()
    }
}

/// The kind's flags from the highest bit down.
const fn letters(kind: u8) -> &'static str {
    match kind {
        0 | 64 => "----IUBE",
        6 | 14 => "-------T",
        _ => "--------",
    }
}

/// In the order in which they are printed.
#[rustfmt::skip]
const NAMES: &[(&str, u8)] = &[
    ("DATA", 0), ("INIT", 1), ("INIT_ACK", 2), ("SACK", 3), ("HEARTBEAT", 4), ("HEARTBEAT_ACK", 5),
    ("ABORT", 6), ("SHUTDOWN", 7), ("SHUTDOWN_ACK", 8), ("ERROR", 9), ("COOKIE_ECHO", 10),
    ("COOKIE_ACK", 11), ("ECN_ECNE", 12), ("ECN_CWR", 13), ("SHUTDOWN_COMPLETE", 14), ("I_DATA", 64),
    ("ASCONF_ACK", 128), ("RE_CONFIG", 130), ("PAD", 132), ("FORWARD_TSN", 192), ("ASCONF", 193),
    ("I_FORWARD_TSN", 194),
];

impl Matching for Sctp {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        if view.is_later_fragment() {
            return Ok(false);
        }
        let header: &[u8; 12] = view.upper_header().ok_or(Stop::Hotdrop)?;
        let [source, destination] = ports_of(header);
        let port = |asked: Option<Test<PortRange>>, port| {
            asked.is_none_or(|asked| asked.passes(asked.value.contains(port)))
        };
        if !port(self.source, source) || !port(self.destination, destination) {
            return Ok(false);
        }
        let Some(asked) = &self.chunks else { return Ok(true) };
        let chunks = view.packet.l4().get(header.len()..).unwrap_or_default();
        Ok(asked.passes(asked.value.pass(chunks).ok_or(asked.broken())?))
    }
}

#[cfg(test)]
mod tests {
    use crate::evaluate::tests::{Alone, met};
    use crate::extension::BOTH;

    fn with(chunks: &[u8], rule: &str) -> [Option<bool>; 2] {
        let header = [0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0].as_slice();
        let bytes = [header, chunks].concat();
        let rule = format!("-p sctp -m sctp {rule}");
        [0, 1].map(|at| met(&rule, &mut Alone::of(BOTH[at], 132, &bytes)))
    }

    #[test]
    fn ports() {
        let chunk = [1, 0, 0, 4];
        assert_eq!(with(&chunk, "--sport 4000 --dport 79:80"), [Some(true); 2]);
        assert_eq!(with(&chunk, "! --dport 80"), [Some(false); 2]);
    }

    #[test]
    fn any_all_and_only() {
        // SACK, and DATA that begins and ends a message.
        let two = [3, 0, 0, 4, 0, 3, 0, 5, 9, 0, 0, 0];
        for (rule, met) in [
            ("any INIT,DATA", true),
            ("any INIT", false),
            ("any DATA:BE", true),
            ("any DATA:b", false),
            ("any DATA:uBE", true),
            ("any DATA:I", false),
            ("all SACK,DATA", true),
            ("all SACK,DATA,INIT", false),
            ("only SACK,DATA,INIT", true),
            ("only SACK", false),
            ("only ALL", true),
            ("all NONE", true),
        ] {
            assert_eq!(with(&two, &format!("--chunk-types {rule}")), [Some(met); 2], "{rule}");
            assert_eq!(with(&two, &format!("! --chunk-types {rule}")), [Some(!met); 2], "{rule}");
        }
    }

    #[test]
    fn a_chunk_without_a_length_breaks_the_packet() {
        assert_eq!(with(&[1, 0, 0, 0], "--chunk-types any DATA"), [None; 2]);
        assert_eq!(with(&[], "--chunk-types any DATA"), [None; 2]);
    }
}
