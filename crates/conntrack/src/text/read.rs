//! Lines read back: what `conntrack -L` prints, with `-o extended` or without, and what
//! /proc/net/nf_conntrack shows.
//!
//! Both have the same words in the same order: the network protocol (not without `-o extended`),
//! the transport's name and number, the seconds left, the state, and then `NAME=VALUE` and
//! `[WORD]`. A word that is not known is an error with its place, not passed over: it may mean
//! something.

use core::fmt;
use core::net::IpAddr;

use stateward_wire::protocol;

use crate::event::{Counter, Labels};
use crate::sctp::SctpState;
use crate::status::{PerDir, Status};
use crate::tcp::TcpState;
use crate::tracker::{Given, GivenState};
use crate::tuple::{L4Key, Tuple, Zone};

/// Why a line is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineError {
    /// The first byte that is meant, from 0.
    pub at: usize,
    /// How many are, at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for LineError {}

/// Reads a line. `None` is a line without a connection: empty, or what conntrack(8) says at the end
/// of a list.
///
/// # Errors
/// When it is anything else than a connection.
pub fn read(line: &str) -> Result<Option<Given>, LineError> {
    if line.trim().is_empty() || line.contains("flow entries have been shown") {
        return Ok(None);
    }
    let mut reader = Reader { line, at: 0, read: Read::default() };
    let (number, mut word) = reader.protocols()?;
    reader.read.protocol = number;
    if let Some(text) = word
        && let Ok(seconds) = text.parse()
    {
        reader.read.timeout = Some(seconds);
        word = reader.next();
    }
    if let Some(text) = word
        && let Some(state) = state(number, text)
    {
        reader.read.state = Some(state);
        word = reader.next();
    }
    while let Some(text) = word {
        reader.word(text)?;
        word = reader.next();
    }
    let line_end = LineError { at: line.len(), length: 1, message: String::new() };
    reader.read.finish().map(Some).map_err(|message| LineError { message, ..line_end })
}

/// What has been read of a line.
#[derive(Default)]
struct Read {
    protocol: u8,
    timeout: Option<u32>,
    state: Option<GivenState>,
    status: Status,
    sides: [Side; 2],
    /// How many sides have begun.
    begun: usize,
    mark: u32,
    zone: u16,
    age: Option<u32>,
    helper: Option<&'static str>,
    labels: Labels,
    replied: Option<bool>,
}

/// One direction.
#[derive(Default, Clone, Copy)]
struct Side {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    ports: [Option<u16>; 2],
    icmp: [Option<u16>; 3],
    keys: [Option<u16>; 2],
    packets: Option<u64>,
    bytes: Option<u64>,
    zone: u16,
}

struct Reader<'a> {
    line: &'a str,
    at: usize,
    read: Read,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.line.get(self.at..)?;
        let blanks = rest.len() - rest.trim_start().len();
        let word = rest.split_whitespace().next()?;
        self.at += blanks + word.len();
        Some(word)
    }

    /// An error at the word that was read last.
    fn error(&self, word: &str, message: impl Into<String>) -> LineError {
        let (at, length) = (self.at.saturating_sub(word.len()), word.len().max(1));
        LineError { at, length, message: message.into() }
    }

    /// The protocol's number, and the word behind it.
    fn protocols(&mut self) -> Result<(u8, Option<&'a str>), LineError> {
        let mut name = self.next().unwrap_or_default();
        if let "ipv4" | "ipv6" = name {
            // Its number says nothing more.
            self.next();
            name = self.next().unwrap_or_default();
        }
        if name.starts_with('[') {
            return Err(self.error(name, "this is an event, not an entry of a table: conntrack -L"));
        }
        if name.starts_with(['<', '-']) {
            let message = "only the plain output of conntrack -L, or with -o extended, is read";
            return Err(self.error(name, message));
        }
        let number = self.next().unwrap_or_default();
        match number.parse() {
            Ok(number) if name.starts_with(|letter: char| letter.is_ascii_lowercase()) => {
                Ok((number, self.next()))
            }
            _ => Err(self.error(number, "a protocol and its number are missing")),
        }
    }

    fn word(&mut self, word: &'a str) -> Result<(), LineError> {
        if let Some(flag) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            return self.flag(word, flag);
        }
        // The times of -o ktimestamp hold blanks.
        if word.starts_with("[start=") || word.starts_with("[stop=") {
            while self.next().is_some_and(|word| !word.ends_with(']')) {}
            return Ok(());
        }
        let Some((name, value)) = word.split_once('=') else {
            return Err(self.error(word, format!("`{word}` is not known")));
        };
        self.field(word, name, value.trim_end_matches(','))
    }

    fn flag(&mut self, word: &str, flag: &str) -> Result<(), LineError> {
        let read = &mut self.read;
        match flag {
            "UNREPLIED" => read.replied = Some(false),
            "ASSURED" => _ = read.status.set(Status::ASSURED),
            "OFFLOAD" => _ = read.status.set(Status::OFFLOAD),
            "HW_OFFLOAD" => {
                read.status.set(Status::OFFLOAD);
                read.status.set(Status::HW_OFFLOAD);
            }
            _ => return Err(self.error(word, format!("`{word}` is not known"))),
        }
        Ok(())
    }

    fn field(&mut self, word: &str, name: &str, value: &str) -> Result<(), LineError> {
        let begun = self.read.begun;
        match name {
            "src" if begun < 2 => {
                let source = self.address(word, value)?;
                self.read.begun += 1;
                self.side().source = Some(source);
            }
            "dst" => self.side().destination = Some(self.address(word, value)?),
            "sport" => self.side().ports[0] = Some(self.number(word, value)?),
            "dport" => self.side().ports[1] = Some(self.number(word, value)?),
            "type" => self.side().icmp[0] = Some(self.number::<u8>(word, value)?.into()),
            "code" => self.side().icmp[1] = Some(self.number::<u8>(word, value)?.into()),
            "id" if begun > 0 && self.is_icmp() && self.side().icmp[2].is_none() => {
                self.side().icmp[2] = Some(self.number(word, value)?);
            }
            "srckey" => self.side().keys[0] = Some(self.key(word, value)?),
            "dstkey" => self.side().keys[1] = Some(self.key(word, value)?),
            "packets" => self.side().packets = Some(self.number(word, value)?),
            "bytes" => self.side().bytes = Some(self.number(word, value)?),
            "zone-orig" | "zone-reply" => self.side().zone = self.number(word, value)?,
            "zone" => self.read.zone = self.number(word, value)?,
            "mark" => self.read.mark = self.number(word, value)?,
            "delta-time" => self.read.age = Some(self.number(word, value)?),
            "helper" => {
                let known = HELPERS.iter().copied().find(|helper| *helper == value);
                let unknown = || self.error(word, format!("there is no helper `{value}`"));
                self.read.helper = Some(known.ok_or_else(unknown)?);
            }
            // Names are in another file of the machine's.
            "labels" => {
                let numbers = value.split(',').filter_map(|label| label.parse::<u32>().ok());
                let bits = numbers.filter_map(|label| Labels::checked_shl(1, label));
                self.read.labels = bits.fold(0, |labels, bit| labels | bit);
            }
            // GRE's own in /proc; who else holds on to the entry; what no rule here asks for.
            "timeout" | "stream_timeout" | "use" | "id" | "secctx" | "secmark" => {}
            _ => return Err(self.error(word, format!("`{word}` is not known"))),
        }
        Ok(())
    }

    /// The direction that is being read.
    fn side(&mut self) -> &mut Side {
        let [original, reply] = &mut self.read.sides;
        if self.read.begun < 2 { original } else { reply }
    }

    fn is_icmp(&self) -> bool {
        matches!(self.read.protocol, protocol::ICMP | protocol::ICMPV6)
    }

    fn address(&self, word: &str, value: &str) -> Result<IpAddr, LineError> {
        value.parse().map_err(|_| self.error(word, format!("`{value}` is no address")))
    }

    fn number<T: core::str::FromStr>(&self, word: &str, value: &str) -> Result<T, LineError> {
        value.parse().map_err(|_| self.error(word, format!("`{value}` cannot be here")))
    }

    fn key(&self, word: &str, value: &str) -> Result<u16, LineError> {
        let digits = value.strip_prefix("0x").unwrap_or(value);
        u16::from_str_radix(digits, 16).map_err(|_| self.error(word, "no key of GRE"))
    }
}

impl Read {
    fn finish(self) -> Result<Given, String> {
        let [original, reply] = self.sides;
        let zoned = |side: Side| Zone(if self.zone == 0 { side.zone } else { self.zone });
        let original = original.tuple(self.protocol, zoned(original))?;
        let reply = reply.tuple(self.protocol, zoned(reply))?;
        if original.family() != reply.family() {
            return Err("both directions must be of one family".to_owned());
        }
        let has_state = matches!(self.protocol, protocol::TCP | protocol::SCTP);
        let mut status = self.status;
        if has_state && self.state.is_none() && !status.has(Status::OFFLOAD) {
            return Err("the state is missing".to_owned());
        }
        if self.replied.unwrap_or(true) {
            status.set(Status::SEEN_REPLY);
        }
        // /proc shows no state of what is offloaded: only what stands is.
        let offloaded = (self.protocol == protocol::TCP && status.has(Status::OFFLOAD))
            .then_some(GivenState::Tcp(TcpState::Established));
        let [there, back] = self.sides.map(Side::counter);
        Ok(Given {
            original,
            reply,
            status,
            timeout: self.timeout,
            state: self.state.or(offloaded),
            mark: self.mark,
            counters: there.zip(back).map(|(there, back)| PerDir([there, back])),
            age: self.age,
            helper: self.helper,
            labels: self.labels,
        })
    }
}

impl Side {
    fn tuple(self, number: u8, zone: Zone) -> Result<Tuple, String> {
        let missing = |what: &str| format!("`{what}` is missing");
        let source = self.source.ok_or_else(|| missing("src="))?;
        let destination = self.destination.ok_or_else(|| missing("dst="))?;
        let l4 = match (number, self.ports, self.icmp, self.keys) {
            (protocol::ICMP | protocol::ICMPV6, _, [kind, code, id], _) => match (kind, code, id) {
                (Some(kind), Some(code), Some(id)) => {
                    L4Key::Icmp { kind: kind as u8, code: code as u8, id }
                }
                _ => return Err(missing("type=, code= or id=")),
            },
            (protocol::GRE, .., [source, destination]) => L4Key::Gre {
                source: source.unwrap_or_default(),
                destination: destination.unwrap_or_default(),
            },
            (protocol::DCCP, ..) => L4Key::None,
            (_, [Some(source), Some(destination)], ..) => L4Key::Ports { source, destination },
            (
                protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP,
                [None, _] | [_, None],
                ..,
            ) => return Err(missing("sport= or dport=")),
            _ => L4Key::None,
        };
        let tuple = Tuple::new(source, destination, number, l4, zone);
        tuple.ok_or_else(|| "both addresses must be of one family".to_owned())
    }

    fn counter(self) -> Option<Counter> {
        Some(Counter { packets: self.packets?, bytes: self.bytes? })
    }
}

fn state(number: u8, word: &str) -> Option<GivenState> {
    match number {
        protocol::TCP => {
            let found = TcpState::ALL.into_iter().find(|state| state.name() == word);
            found.map(GivenState::Tcp)
        }
        protocol::SCTP => {
            let found = SctpState::ALL.into_iter().find(|state| state.name() == word);
            found.map(GivenState::Sctp)
        }
        _ => None,
    }
}

/// The kernel's helpers.
const HELPERS: [&str; 13] = [
    "amanda",
    "ftp",
    "h323",
    "H.245",
    "Q.931",
    "RAS",
    "irc",
    "netbios-ns",
    "pptp",
    "sane",
    "sip",
    "snmp",
    "tftp",
];
