//! `-m conntrack`: the connection's state, both tuples, status, direction and what is left of its
//! time.

use crate::context::{Connection, View};
use crate::evaluate::{Matching, Stop};
use crate::memory::Memory;
use stateward_conntrack::{self as tracker, CtState, L4Key, Status, Tuple};
use stateward_wire::Family;

use crate::address::{Network, Shown};
use crate::extension::{BOTH, Extension};
use crate::matches::udp::PortRange;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// Everything that is tested; all tests must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// `--ctstate`: any of them.
    pub states: Option<Test<States>>,
    /// `--ctproto`.
    pub protocol: Option<Test<u8>>,
    /// `--ctorigsrc`, `--ctorigdst`, `--ctreplsrc`, `--ctrepldst`, in this order; the address keeps
    /// bits outside of the mask, with which nothing matches.
    pub addresses: [Option<Test<Network>>; 4],
    /// `--ctorigsrcport`, `--ctorigdstport`, `--ctreplsrcport`, `--ctrepldstport`, in this order; a
    /// first above the last matches nothing.
    pub ports: [Option<Test<PortRange>>; 4],
    /// `--ctstatus`: any of these bits, with none of them no bit at all.
    pub status: Option<Test<u16>>,
    /// `--ctexpire`: seconds left.
    pub expires: Option<Test<(u32, u32)>>,
    /// `--ctdir`.
    pub direction: Option<Direction>,
}

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Original,
    /// Against it.
    Reply,
}

/// States of a packet's connection, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States(
    /// `States::NEW` and so on, or'ed.
    pub u16,
);

impl States {
    /// The kernel could not make sense of the packet.
    pub const INVALID: u16 = 1 << 0;
    /// A packet of a connection with an answer.
    pub const ESTABLISHED: u16 = 1 << 1;
    /// A packet that a connection has caused or announced.
    pub const RELATED: u16 = 1 << 2;
    /// The first packets of a connection.
    pub const NEW: u16 = 1 << 3;
    /// The source is translated.
    pub const SNAT: u16 = 1 << 6;
    /// The destination is translated.
    pub const DNAT: u16 = 1 << 7;
    /// Not tracked on purpose.
    pub const UNTRACKED: u16 = 1 << 8;

    /// In the order in which `--ctstate` prints them.
    pub(crate) const OF_CTSTATE: Words = &[
        ("INVALID", Self::INVALID),
        ("NEW", Self::NEW),
        ("RELATED", Self::RELATED),
        ("ESTABLISHED", Self::ESTABLISHED),
        ("UNTRACKED", Self::UNTRACKED),
        ("SNAT", Self::SNAT),
        ("DNAT", Self::DNAT),
    ];

    /// In the order in which `--state` prints them.
    pub(crate) const OF_STATE: Words = &[
        ("INVALID", Self::INVALID),
        ("NEW", Self::NEW),
        ("RELATED", Self::RELATED),
        ("ESTABLISHED", Self::ESTABLISHED),
        ("UNTRACKED", Self::UNTRACKED),
    ];

    /// States with commas between them, each in any case and cut short as one likes.
    pub(crate) fn parse(text: &str, words: Words, what: &str) -> Result<Self, Refusal> {
        bits(text, words, what).map(Self)
    }

    /// The names of those that are set.
    pub(crate) fn names(self, words: Words) -> String {
        joined(self.0, words)
    }
}

/// Names of bits.
pub(crate) type Words = &'static [(&'static str, u16)];

/// How iptables takes lists apart: what begins a word stays in it until the next comma, so that an
/// empty word swallows the comma behind it.
fn bits(text: &str, words: Words, what: &str) -> Result<u16, Refusal> {
    let mut bits = 0;
    let mut rest = Some(text);
    while let Some(text) = rest {
        let comma = text.char_indices().skip(1).find(|(_, c)| *c == ',').map(|(at, _)| at);
        let (word, after) = match comma {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            None => (text, None),
        };
        let begins = |name: &str| {
            name.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
        };
        let found = words.iter().find(|(name, _)| !word.is_empty() && begins(name));
        let Some((_, bit)) = found else {
            let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
            let refusal = Refusal::new(format!("bad {what} `{word}`"));
            return Err(refusal.hint(format!("one of {}", names.join(", "))));
        };
        bits |= bit;
        rest = after;
    }
    Ok(bits)
}

/// The names of those that are set.
pub(crate) fn joined(bits: u16, words: Words) -> String {
    let set = words.iter().filter(|(_, bit)| bits & bit != 0);
    let names: Vec<_> = set.map(|(name, _)| *name).collect();
    names.join(",")
}

/// Bits of a connection's status that can be asked for.
pub(crate) const STATUS: Words = &[
    ("NONE", 0),
    ("EXPECTED", 1 << 0),
    ("SEEN_REPLY", 1 << 1),
    ("ASSURED", 1 << 2),
    ("CONFIRMED", 1 << 3),
];

impl Conntrack {
    pub(crate) const NAMES: &[&str] = &["conntrack"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const ADDRESSES: [&str; 4] = ["ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst"];
const PORTS: [&str; 4] = ["ctorigsrcport", "ctorigdstport", "ctreplsrcport", "ctrepldstport"];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("ctstate").invertible(),
    OptionSpec::value("ctproto").invertible(),
    OptionSpec::value("ctorigsrc").invertible(),
    OptionSpec::value("ctorigdst").invertible(),
    OptionSpec::value("ctreplsrc").invertible(),
    OptionSpec::value("ctrepldst").invertible(),
    OptionSpec::value("ctstatus").invertible(),
    OptionSpec::value("ctexpire").invertible(),
    OptionSpec::value("ctorigsrcport").invertible(),
    OptionSpec::value("ctorigdstport").invertible(),
    OptionSpec::value("ctreplsrcport").invertible(),
    OptionSpec::value("ctrepldstport").invertible(),
    OptionSpec::value("ctdir"),
];

impl Extension for Conntrack {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        let option = given.option;
        let at = |names: [&str; 4]| names.iter().position(|name| *name == option);
        if let Some(place) = at(ADDRESSES).and_then(|at| self.addresses.get_mut(at)) {
            *place = Some(Test { value: given.host_mask()?, inverted });
            return Ok(());
        }
        if let Some(place) = at(PORTS).and_then(|at| self.ports.get_mut(at)) {
            let (first, last) = given.ports()?;
            *place = Some(Test { value: PortRange { first, last }, inverted });
            return Ok(());
        }
        match option {
            "ctstate" => {
                let value = States::parse(given.text, States::OF_CTSTATE, option)?;
                self.states = Some(Test { value, inverted });
            }
            "ctproto" => self.protocol = Some(Test { value: given.protocol()?, inverted }),
            "ctstatus" => {
                self.status = Some(Test { value: bits(given.text, STATUS, option)?, inverted });
            }
            "ctexpire" => {
                let (least, most) = given.range(u32::MAX.into())?;
                self.expires = Some(Test { value: (least as u32, most as u32), inverted });
            }
            _ => self.direction = Some(direction(given)?),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => {
                Err(Refusal::new("conntrack: an option is missing").hint("`--ctstate`, mostly"))
            }
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { states, protocol, addresses, ports, status, expires, direction } = self;
        if let Some(Test { value, inverted }) = states {
            save.inverted(*inverted).option("ctstate", value.names(States::OF_CTSTATE));
        }
        if let Some(Test { value, inverted }) = protocol {
            save.inverted(*inverted).option("ctproto", value);
        }
        for (name, address) in ADDRESSES.iter().zip(addresses) {
            if let Some(address) = address {
                save_address(save, name, address);
            }
        }
        for (name, range) in PORTS.iter().zip(ports) {
            if let Some(Test { value, inverted }) = range {
                save.inverted(*inverted).option(name, value);
            }
        }
        if let Some(Test { value, inverted }) = status {
            let names = if *value == 0 { "NONE".to_owned() } else { joined(*value, STATUS) };
            save.inverted(*inverted).option("ctstatus", names);
        }
        if let Some(Test { value: (least, most), inverted }) = expires {
            save.inverted(*inverted).option("ctexpire", least);
            if least != most {
                save.text(format_args!(":{most}"));
            }
        }
        match direction {
            None => {}
            Some(Direction::Original) => _ = save.option("ctdir", "ORIGINAL"),
            Some(Direction::Reply) => _ = save.option("ctdir", "REPLY"),
        }
    }
}

/// The whole address and its mask, unless that is the whole address or not contiguous.
pub(crate) fn save_address(save: &mut Save, name: &str, network: &Test<Network>) {
    let Network { address, .. } = network.value;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    save.inverted(network.inverted).option(name, Shown(address));
    match network.value.prefix_length() {
        Some(length) if length < longest => _ = save.text(format_args!("/{length}")),
        _ => {}
    }
}

fn direction(given: &Given<'_>) -> Result<Direction, Refusal> {
    match given.text {
        text if text.eq_ignore_ascii_case("ORIGINAL") => Ok(Direction::Original),
        text if text.eq_ignore_ascii_case("REPLY") => Ok(Direction::Reply),
        _ => Err(given.bad().hint("ORIGINAL or REPLY")),
    }
}

impl States {
    /// What a packet is. Before the tracker, and for a packet it gave up, that is INVALID.
    pub(crate) fn of(state: Option<CtState>) -> Self {
        Self(match state {
            None | Some(CtState::Invalid) => Self::INVALID,
            Some(CtState::New) => Self::NEW,
            Some(CtState::Established) => Self::ESTABLISHED,
            Some(CtState::Related) => Self::RELATED,
            Some(CtState::Untracked) => Self::UNTRACKED,
        })
    }
}

impl Matching for Conntrack {
    fn passes(&self, view: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        let States(mut state) = States::of(view.context.state());
        let connection = match self.asks_for_state_alone() {
            true => None,
            false => view.context.connection(),
        };
        if let Some(Connection { status, .. }) = connection {
            state |= if status.has(Status::SRC_NAT) { States::SNAT } else { 0 };
            state |= if status.has(Status::DST_NAT) { States::DNAT } else { 0 };
        }
        if let Some(states) = &self.states
            && !states.passes(states.value.0 & state != 0)
        {
            return Ok(false);
        }
        match connection {
            Some(connection) => Ok(self.connection_passes(&connection)),
            // Of a packet without a connection the state is all that can be asked.
            None => Ok(self.states.is_some()),
        }
    }
}

impl Conntrack {
    fn asks_for_state_alone(&self) -> bool {
        let Self { states, protocol, addresses, ports, status, expires, direction } = self;
        let translated = States::SNAT | States::DNAT;
        states.is_some_and(|states| states.value.0 & translated == 0)
            && (protocol, status, expires, direction) == (&None, &None, &None, &None)
            && addresses.iter().all(Option::is_none)
            && ports.iter().all(Option::is_none)
    }

    fn connection_passes(&self, connection: &Connection) -> bool {
        let Connection { direction, status, original, reply, expires, mark: _ } = connection;
        let way = match self.direction {
            None => true,
            Some(Direction::Original) => *direction == tracker::Direction::Original,
            Some(Direction::Reply) => *direction == tracker::Direction::Reply,
        };
        let ends = [original.source(), original.destination(), reply.source(), reply.destination()];
        let ports = [port_words(original), port_words(reply)].concat();
        let passes = |asked: &Option<Test<u8>>, value| {
            asked.is_none_or(|asked| asked.passes(asked.value == value))
        };
        way && self
            .addresses
            .iter()
            .zip(ends)
            .all(|(asked, end)| asked.is_none_or(|asked| asked.passes(asked.value.contains(end))))
            && passes(&self.protocol, original.protocol())
            && self.ports.iter().zip(ports).all(|(asked, port)| {
                asked.is_none_or(|asked| asked.passes(asked.value.contains(port)))
            })
            && self.status.is_none_or(|asked| asked.passes(asked.value & status.0 != 0))
            && self.expires.is_none_or(|asked| {
                let (least, most) = asked.value;
                asked.passes((least..=most).contains(expires))
            })
    }
}

/// What stands in the places of ports, whatever the protocol.
pub(crate) fn port_words(tuple: &Tuple) -> [u16; 2] {
    match tuple.l4() {
        L4Key::Ports { source, destination } | L4Key::Gre { source, destination } => {
            [source, destination]
        }
        L4Key::Icmp { kind, code, id } => [id, u16::from_be_bytes([kind, code])],
        L4Key::None => [0, 0],
    }
}
