//! IRC's DCC: a client tells another one, through the server, where it listens.
//!
//! `PRIVMSG friend :^ADCC SEND file 3232235783 1025 …^A` names the sender's address as one number,
//! and its port. Whoever it is for may come from anywhere, so that any source is expected. Only
//! what clients say is read, only the first 4095 bytes of a segment, and only if it begins with
//! `PRIVMSG`. The address must be the sender's, as the client or as the server knows it.
//!
//! Kernel counterpart: `nf_conntrack_irc.c`, IPv4 only.

use core::net::{IpAddr, Ipv4Addr};

use stateward_conntrack::expect::{ExpectClass, ExpectMask};
use stateward_conntrack::{CtState, Direction, L4Key, Tuple};
use stateward_wire::{Family, protocol};

use crate::text::{number, same_word};
use crate::{Doubt, Help, Helper, Memory, Message, Surroundings, announcement, nat};

/// The helper.
#[derive(Clone, Copy, Debug)]
pub struct Irc {
    /// What a client may announce at a time: the module's `max_dcc_channels`.
    pub max_dcc_channels: u32,
    /// For how many seconds it is expected: `dcc_timeout`.
    pub dcc_timeout: u32,
}

impl Default for Irc {
    fn default() -> Irc {
        Irc { max_dcc_channels: 8, dcc_timeout: 300 }
    }
}

impl Irc {
    fn class(self) -> ExpectClass {
        let Irc { max_dcc_channels: max_expected, dcc_timeout: timeout } = self;
        ExpectClass { number: 0, name: "", max_expected, timeout }
    }
}

/// So much of a segment is read.
const READ: usize = 4095;

const COMMANDS: [&[u8]; 5] = [b"SEND ", b"CHAT ", b"MOVE ", b"TSEND ", b"SCHAT "];

/// Bytes of the shortest message there is: its beginning, and all of it from " :" on.
const SHORTEST: usize = "PRIVMSG x ".len();
const SHORTEST_DCC: usize = " :\x01DCC SEND t AAAAAAAA P\x01\n".len();
/// Bytes from a command's argument on.
const SHORTEST_ADDRESS: usize = "AAAAAAAA P\x01\n".len();

/// Where a client listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    address: Ipv4Addr,
    port: u16,
    /// The bytes of the payload that say so.
    at: usize,
    length: usize,
}

impl Helper for Irc {
    fn name(&self) -> &'static str {
        "irc"
    }

    fn port(&self) -> Option<u16> {
        Some(6667)
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn family(&self) -> Option<Family> {
        Some(Family::V4)
    }

    fn help(&self, message: &Message<'_>, _: &mut Memory, around: &mut dyn Surroundings) -> Help {
        if message.direction == Direction::Reply || message.state != CtState::Established {
            return Help::Pass;
        }
        let payload = message.payload.get(..READ).unwrap_or(message.payload);
        let Some(Place { address, port, at, length }) = find(payload) else { return Help::Pass };
        let answers = message.tuples[Direction::Reply];
        let host = IpAddr::from(address);
        if host != message.source() && host != answers.destination() {
            return Help::Doubt(Doubt::ThirdHost { host });
        }
        if port == 0 {
            return Help::Doubt(Doubt::PortZero);
        }
        let l4 = L4Key::Ports { source: 0, destination: port };
        let anybody = Ipv4Addr::UNSPECIFIED.into();
        let known = answers.destination();
        let Some(tuple) = Tuple::new(anybody, known, protocol::TCP, l4, answers.zone()) else {
            return Help::Pass;
        };
        let dcc = announcement(self.name(), tuple, ExpectMask::NONE, self.class());
        let IpAddr::V4(known) = known else { return Help::Pass };
        if !nat::is_translated(message) {
            return Help::expecting(around, &dcc);
        }
        match nat::announce(around, nat::follow(dcc, Direction::Reply, port)) {
            Ok(port) => {
                around.replace(at..at + length, format!("{} {port}", known.to_bits()).into_bytes());
                Help::Pass
            }
            Err(doubt) => Help::Drop(doubt),
        }
    }
}

/// The first DCC command of a segment that has one.
fn find(payload: &[u8]) -> Option<Place> {
    let blanks = payload.iter().take_while(|byte| matches!(byte, b' ' | b'\r' | b'\n')).count();
    let mut at = blanks.min(payload.len().saturating_sub(SHORTEST));
    if at + SHORTEST < payload.len() {
        const PRIVMSG: &[u8] = b"PRIVMSG ";
        if !same_word(payload.get(at..at + PRIVMSG.len())?, PRIVMSG) {
            return None;
        }
        at += PRIVMSG.len();
    }
    while at + SHORTEST_DCC < payload.len() {
        let Some(text) = payload.get(at..)?.strip_prefix(b" :") else {
            at += 1;
            continue;
        };
        let text = text.strip_prefix(b"\x01DCC ")?;
        at = payload.len() - text.len();
        if let Some(rest) = COMMANDS.iter().find_map(|command| text.strip_prefix(*command)) {
            let place = place(rest)?;
            return Some(Place { at: payload.len() - rest.len() + place.at, ..place });
        }
    }
    None
}

/// `file address port`, before the end of a line.
fn place(text: &[u8]) -> Option<Place> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    // There must have been room for the rest before each byte of the name.
    if blank > 0 && blank + SHORTEST_ADDRESS > text.len() {
        return None;
    }
    let at = blank + 1;
    let text = text.get(at..)?;
    let line = text.get(..text.iter().position(|byte| *byte == b'\n')? + 1)?;
    let (address, length) = number(line);
    let rest = line.get(length..)?;
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let (port, digits) = number(rest.get(blanks..)?);
    let length = length + blanks + digits;
    Some(Place { address: Ipv4Addr::from_bits(address), port: port as u16, at, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(text: &str) -> Option<(String, u16)> {
        find(text.as_bytes()).map(|place| (place.address.to_string(), place.port))
    }

    #[test]
    fn every_command_names_a_place() {
        let place = Some(("192.168.1.7".to_owned(), 1025));
        for command in ["SEND", "CHAT", "MOVE", "TSEND", "SCHAT"] {
            let text = format!("PRIVMSG you :\x01DCC {command} file 3232235783 1025 9\x01\n");
            assert_eq!(listens(&text), place, "{command}");
        }
        assert_eq!(listens("\r\n  privmsg you :\x01DCC CHAT chat 3232235783   1025\x01\n"), place);
    }

    #[test]
    fn what_does_not_begin_with_a_message_or_ends_too_early_is_let_be() {
        for text in [
            "",
            "PRIVMSG",
            "NOTICE you :\x01DCC CHAT chat 3232235783 1025\x01\n",
            "PRIVMSG you :DCC CHAT chat 3232235783 1025\x01\n",
            "PRIVMSG you :\x01DCC CHAT chat 3232235783 1025\x01",
            "PRIVMSG you :\x01DCC LIST chat 3232235783 1025\x01\n",
            "PRIVMSG you :hello :\x01DCC CHAT chat 3232235783 1025\x01\n",
        ] {
            assert_eq!(listens(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_0_and_those_that_are_too_large_wrap() {
        let text = "PRIVMSG you :\x01DCC CHAT chat x 1025\x01\naaaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(listens(text), Some(("0.0.0.0".to_owned(), 0)));
        let text = "PRIVMSG you :\x01DCC CHAT chat 4294967297 65537\x01\naaaaaaaaaaaa";
        assert_eq!(listens(text), Some(("0.0.0.1".to_owned(), 1)));
    }
}
