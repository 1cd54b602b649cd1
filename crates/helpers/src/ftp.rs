//! FTP (RFC 959, 1123, 2428): the data connection is agreed upon in the control connection.
//!
//! The client says where it listens (`PORT`, `EPRT`), or the server answers where it does (227,
//! 229). Only a segment that begins a line is looked at, and only its first line: TCP's bytes may
//! be cut anywhere, and `PORT` within a file name is no command. So of each side the sequence
//! numbers are remembered at which the last two segments with a line's end ended. A side is first
//! heard from there on.
//!
//! A command that is cut, or says what cannot be read, is dropped: its sender sends it again, in
//! one piece perhaps, and without it the data connection would come to nothing anyway. An address
//! other than its sender's is not believed, or else anybody could have holes opened towards third
//! hosts (`loose` believes it).
//!
//! Kernel counterpart: `nf_conntrack_ftp.c`. Numbers overflow as they do there: `PORT
//! 10,0,0,1,300,1` means a port of 16 bits like any other.

use core::net::{IpAddr, Ipv4Addr};

use stateward_conntrack::expect::{ExpectClass, ExpectMask};
use stateward_conntrack::{CtState, Direction, L4Key, Tuple};
use stateward_wire::{Family, protocol};

use crate::text::{ipv6, numbers, port, same_word};
use crate::{Doubt, Help, Helper, Memory, Message, Surroundings, announcement, nat};

/// The helper.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ftp {
    /// Whose addresses are believed.
    pub trust: Trust,
}

/// Whose addresses are believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// The sender's own only.
    #[default]
    Sender,
    /// Anybody's: the module's parameter `loose`.
    Loose,
}

const CLASS: ExpectClass = ExpectClass { number: 0, name: "", max_expected: 1, timeout: 5 * 60 };

/// Where a command says that it listens, and the bytes that say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    /// None is the sender's.
    address: Option<IpAddr>,
    port: u16,
    /// The bytes of the payload that say so.
    at: usize,
    length: usize,
}

/// How an address and a port are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// `192,0,2,1,4,1`.
    Six,
    /// `|1|192.0.2.1|1025|`.
    Extended,
    /// `|||1025|`.
    PortOnly,
}

impl Form {
    fn write(self, address: IpAddr, port: u16) -> String {
        match (self, address) {
            (Form::PortOnly, _) => format!("|||{port}|"),
            (Form::Extended, IpAddr::V4(address)) => format!("|1|{address}|{port}|"),
            (Form::Six, address) => {
                let [a, b, c, d] = first_word(address);
                format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
            }
            (Form::Extended, IpAddr::V6(address)) => {
                let groups = address.segments().map(|group| format!("{group:04x}"));
                format!("|2|{}|{port}|", groups.join(":"))
            }
        }
    }
}

/// A command, or an answer, that names an address.
struct Command {
    word: &'static str,
    /// What comes before the address.
    skip: Option<u8>,
    form: Form,
    read: fn(&[u8], Family) -> Option<Place>,
}

const COMMANDS: [Command; 2] = [
    Command {
        word: "PORT",
        skip: Some(b' '),
        form: Form::Six,
        read: |bytes, _| six(bytes, Some(b'\r')),
    },
    Command { word: "EPRT", skip: Some(b' '), form: Form::Extended, read: eprt },
];

const ANSWERS: [Command; 2] = [
    Command { word: "227 ", skip: None, form: Form::Six, read: |bytes, _| passive(bytes) },
    Command {
        word: "229 ",
        skip: Some(b'('),
        form: Form::PortOnly,
        read: |bytes, _| extended_passive(bytes),
    },
];

/// How a segment begins.
enum Found {
    Nothing,
    /// A command that is cut or cannot be read.
    Partial(&'static str),
    Whole(Place, Form),
}

impl Helper for Ftp {
    fn name(&self) -> &'static str {
        "ftp"
    }

    fn port(&self) -> Option<u16> {
        Some(21)
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn gathers(&self, message: &Message<'_>) -> bool {
        message.state == CtState::Established
    }

    fn help(
        &self,
        message: &Message<'_>,
        memory: &mut Memory,
        around: &mut dyn Surroundings,
    ) -> Help {
        // Nobody has anything to say before both have spoken.
        if message.state != CtState::Established || message.payload.is_empty() {
            return Help::Pass;
        }
        let mut lines = Lines(memory);
        let direction = message.direction;
        let begins = lines.begins(direction, message.sequence) || lines.pick_up(direction);
        let help = match begins {
            true => self.read(message, around),
            false => Help::Pass,
        };
        // What was dropped comes again.
        if !matches!(help, Help::Drop(Doubt::Partial { .. })) && message.payload.ends_with(b"\n") {
            let next = message.sequence.wrapping_add(message.payload.len() as u32);
            lines.remember(direction, next);
        }
        help
    }
}

impl Ftp {
    fn read(&self, message: &Message<'_>, around: &mut dyn Surroundings) -> Help {
        let (place, form) = match find(message) {
            Found::Nothing => return Help::Pass,
            Found::Partial(command) => return Help::Drop(Doubt::Partial { command }),
            Found::Whole(place, form) => (place, form),
        };
        // Who connects, and whither, as the other direction has it.
        let other = message.tuples[!message.direction];
        let mut destination = other.destination();
        if let Some(named) = place.address.map(|named| beside(named, message.source()))
            && named != message.source()
        {
            if self.trust == Trust::Sender {
                return Help::Doubt(Doubt::ThirdHost { host: named });
            }
            destination = named;
        }
        let l4 = L4Key::Ports { source: 0, destination: place.port };
        let source = other.source();
        let Some(tuple) = Tuple::new(source, destination, protocol::TCP, l4, other.zone()) else {
            return Help::Pass;
        };
        let data = announcement(self.name(), tuple, ExpectMask::ADDRESS, CLASS);
        if !nat::is_translated(message) {
            return Help::expecting(around, &data);
        }
        // The other side is told how it knows the sender.
        let known = other.destination();
        match nat::announce(around, nat::follow(data, !message.direction, place.port)) {
            Ok(port) => {
                around.replace(
                    place.at..place.at + place.length,
                    form.write(known, port).into_bytes(),
                );
                Help::Pass
            }
            Err(doubt) => Help::Drop(doubt),
        }
    }
}

fn find(message: &Message<'_>) -> Found {
    let commands = match message.direction {
        Direction::Original => &COMMANDS,
        Direction::Reply => &ANSWERS,
    };
    let family = message.tuples[message.direction].family();
    for command in commands {
        match command.find(message.payload, family) {
            Found::Nothing => {}
            found => return found,
        }
    }
    Found::Nothing
}

impl Command {
    fn find(&self, payload: &[u8], family: Family) -> Found {
        let (word, partial) = (self.word.as_bytes(), Found::Partial(self.word));
        let Some(rest) = payload.get(word.len()..).filter(|rest| !rest.is_empty()) else {
            // Too short for more than the word: it may go on in the next segment.
            let begins = word.get(..payload.len()).is_some_and(|word| same_word(word, payload));
            return if begins { partial } else { Found::Nothing };
        };
        if !payload.get(..word.len()).is_some_and(|begin| same_word(begin, word)) {
            return Found::Nothing;
        }
        let rest = match self.skip {
            None => Some(rest),
            Some(skip) => {
                let at = rest.iter().position(|byte| *byte == skip);
                at.and_then(|at| rest.get(at + 1..))
            }
        };
        let Some(rest) = rest else { return partial };
        let begin = payload.len() - rest.len();
        match (self.read)(rest, family) {
            Some(place) => Found::Whole(Place { at: begin + place.at, ..place }, self.form),
            None => partial,
        }
    }
}

/// `192,0,2,1,4,1`.
fn six(bytes: &[u8], end: Option<u8>) -> Option<Place> {
    let ([a, b, c, d, high, low], length) = numbers(bytes, b',', end)?;
    let (address, port) = (Some(four([a, b, c, d])), (high << 8 | low) as u16);
    Some(Place { address, port, at: 0, length })
}

/// What is beyond a byte goes into its neighbour's.
fn four([a, b, c, d]: [u32; 4]) -> IpAddr {
    Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d).into()
}

/// Four numbers cannot name an IPv6 address: the kernel takes them for the first word of one whose
/// others are the sender's.
fn beside(named: IpAddr, source: IpAddr) -> IpAddr {
    match (named, source) {
        (IpAddr::V4(first), IpAddr::V6(source)) => {
            let [_, _, _, _, others @ ..] = source.octets();
            let mut octets = [0; 16];
            octets
                .iter_mut()
                .zip(first.octets().into_iter().chain(others))
                .for_each(|(to, from)| *to = from);
            octets.into()
        }
        _ => named,
    }
}

fn first_word(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.octets();
            [a, b, c, d]
        }
    }
}

/// The answer's words are anybody's, parentheses or none: the numbers begin at the first digit.
fn passive(bytes: &[u8]) -> Option<Place> {
    let first = bytes.iter().position(u8::is_ascii_digit)?;
    Some(Place { at: first, ..six(bytes.get(first..)?, None)? })
}

/// `|1|192.0.2.1|1025|` or `|2|2001:db8::1|1025|`, with any delimiter.
fn eprt(bytes: &[u8], family: Family) -> Option<Place> {
    let [delimiter, number, second, rest @ ..] = bytes else { return None };
    let is_family = match family {
        Family::V4 => *number == b'1',
        Family::V6 => *number == b'2',
    };
    if !delimits(*delimiter) || second != delimiter || !is_family || rest.is_empty() {
        return None;
    }
    let (address, length) = match family {
        Family::V4 => {
            let (numbers, length) = numbers(rest, b'.', Some(*delimiter))?;
            (four(numbers), length)
        }
        Family::V6 => {
            let length = rest.iter().position(|byte| byte == delimiter)?;
            (ipv6(rest.get(..length)?)?.into(), length)
        }
    };
    let (port, digits) = port(rest.get(length + 1..)?, *delimiter)?;
    let length = bytes.len() - rest.len() + length + 1 + digits;
    Some(Place { address: Some(address), port, at: 0, length })
}

/// `|||1025|`.
fn extended_passive(bytes: &[u8]) -> Option<Place> {
    let [delimiter, second, third, rest @ ..] = bytes else { return None };
    if !delimits(*delimiter) || second != delimiter || third != delimiter {
        return None;
    }
    let (port, digits) = port(rest, *delimiter)?;
    Some(Place { address: None, port, at: 0, length: bytes.len() - rest.len() + digits })
}

fn delimits(byte: u8) -> bool {
    byte.is_ascii_graphic() && !byte.is_ascii_digit()
}

/// Where lines begin: of each direction two sequence numbers, then how many of them there are.
struct Lines<'a>(&'a mut Memory);

impl Lines<'_> {
    const COUNTS: usize = 4;

    fn known(&self, direction: Direction) -> &[u32] {
        let first = direction as usize * 2;
        let count =
            self.0.words.get(Self::COUNTS + direction as usize).copied().unwrap_or(0) as usize;
        self.0.words.get(first..first + count.min(2)).unwrap_or_default()
    }

    /// Whether a segment at this number begins a line.
    fn begins(&self, direction: Direction, sequence: u32) -> bool {
        self.known(direction).contains(&sequence)
    }

    /// Whether this is the first to be heard of a direction of a connection that began elsewhere:
    /// its segment is believed to begin a line.
    fn pick_up(&mut self, direction: Direction) -> bool {
        core::mem::take(&mut self.0.unheard[direction])
    }

    /// A line begins at this number: the older of two gives way, unless it is later.
    fn remember(&mut self, direction: Direction, sequence: u32) {
        let known = self.known(direction);
        if known.contains(&sequence) {
            return;
        }
        let later = |one: u32, other: u32| (one.wrapping_sub(other) as i32) > 0;
        let at = match known {
            [] => 0,
            [_] => 1,
            [one, other, ..] => {
                let (at, oldest) = if later(*other, *one) { (0, *one) } else { (1, *other) };
                if !later(sequence, oldest) {
                    return;
                }
                at
            }
        };
        let count = (known.len() + 1).min(2) as u32;
        let slots = (direction as usize * 2 + at, Self::COUNTS + direction as usize);
        if let Some(slot) = self.0.words.get_mut(slots.0) {
            *slot = sequence;
        }
        if let Some(slot) = self.0.words.get_mut(slots.1) {
            *slot = count;
        }
    }
}

#[cfg(test)]
mod tests;
