//! What the ends of a protocol with a helper say: greetings, announcements, and texts gone wrong.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::random::Random;
use super::super::world;
use super::{pptp, sip};

pub(super) const CLIENT: usize = 0;
pub(super) const SERVER: usize = 1;

/// A protocol with a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ftp,
    Irc,
    Sane,
    Amanda,
    Tftp,
    Pptp,
    /// By UDP.
    Sip,
    SipByTcp,
}

/// Something said that may announce a connection.
pub(super) struct Text {
    pub(super) by: usize,
    pub(super) bytes: Vec<u8>,
    /// The port at which who said it listens from now on.
    pub(super) listens: Option<u16>,
}

impl Kind {
    /// One that the family has.
    pub(super) fn draw(random: &mut Random, v6: bool) -> Self {
        let kind = random.pick([
            Self::Ftp,
            Self::Ftp,
            Self::Irc,
            Self::Sane,
            Self::Amanda,
            Self::Tftp,
            Self::Pptp,
            Self::Pptp,
            Self::Sip,
            Self::Sip,
            Self::SipByTcp,
        ]);
        if v6 && matches!(kind, Self::Irc | Self::Pptp) { Self::Ftp } else { kind }
    }

    /// The server's.
    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Ftp => 21,
            Self::Irc => 6667,
            Self::Sane => 6566,
            Self::Amanda => 10080,
            Self::Tftp => 69,
            Self::Pptp => 1723,
            Self::Sip | Self::SipByTcp => 5060,
        }
    }

    /// The client's: telephones use the server's as well.
    pub(super) fn client_port(self, random: &mut Random) -> u16 {
        let port = 40000 + random.below(4) as u16;
        let own = matches!(self, Self::Sip | Self::SipByTcp) && random.chance(60);
        if own { 5060 } else { port }
    }

    pub(super) const fn is_tcp(self) -> bool {
        matches!(self, Self::Ftp | Self::Irc | Self::Sane | Self::Pptp | Self::SipByTcp)
    }

    /// What it announces is a TCP connection.
    pub(super) const fn visits_by_tcp(self) -> bool {
        !matches!(self, Self::Tftp | Self::Sip | Self::SipByTcp)
    }

    /// Something that announces nothing.
    pub(super) fn greeting(self, random: &mut Random, by: usize) -> Vec<u8> {
        let text: &[u8] = match (self, by) {
            (Self::Ftp, CLIENT) => random.pick([&b"USER me\r\n"[..], b"LIST\r\n", b"STOR ", b"e"]),
            (Self::Ftp, _) => {
                random.pick([&b"220 hello\r\n"[..], b"150 look\r\n", b"200-\n", b"2"])
            }
            (Self::Irc, CLIENT) => random.pick([&b"JOIN #you\r\n"[..], b"PRIVMSG you :hello\r\n"]),
            (Self::Irc, _) => b":you 001 me :hello\r\n",
            (Self::Sane, CLIENT) => random.pick([&b"\0\0\0\x08\0\0\0\0"[..], b"\0\0\0\x07"]),
            (Self::Sane, _) => random.pick([&b"\0\0\0\0"[..], b"\0\0\0\0\0\0\0\0\0\0"]),
            (Self::Amanda, _) => random.pick([&b"Amanda 2.5 ACK\n"[..], b"CONNECT ", b""]),
            (Self::Pptp, _) => return pptp::greeting(random),
            (Self::Sip | Self::SipByTcp, _) => return sip::greeting(random),
            (Self::Tftp, _) => random.pick([&b"\0\x03\0\x01data"[..], b"\0\x05", b"\0", b""]),
        };
        text.to_vec()
    }

    /// What announces a connection, one text after the other.
    pub(super) fn announcement(self, random: &mut Random, ends: [SocketAddr; 2]) -> Vec<Text> {
        let port = random.pick([1025, 1026, 4000, 40000, 65535, 80, 0]);
        let said = |by, bytes| Text { by, bytes, listens: Some(port) };
        match self {
            Self::Ftp => {
                let by = random.below(2);
                let speaker = ends[by].ip();
                vec![said(by, ftp(random, by, (speaker, port)))]
            }
            Self::Pptp => pptp::call(random),
            Self::Sip | Self::SipByTcp => sip::call(random, ends, self.is_tcp()),
            Self::Irc => vec![said(CLIENT, irc(random, (ends[CLIENT].ip(), port)))],
            Self::Sane => {
                let ask = Text { by: CLIENT, bytes: b"\0\0\0\x07\0\0\0\0".to_vec(), listens: None };
                let mut answer = b"\0\0\0\0\0\0".to_vec();
                answer.extend(port.to_be_bytes());
                answer.extend(random.pick([&b""[..], b"\0\0", b"\0\0\0\0\0\0\0\0"]));
                vec![ask, said(SERVER, answer)]
            }
            Self::Amanda => {
                let mut text = "Amanda 2.5 REP HANDLE 000-0 SEQ 1\n".to_owned();
                text += random.pick(["OPTIONS features=f;\n", ""]);
                text += &format!("CONNECT DATA {port}");
                for name in ["MESG", "INDEX", "STATE"] {
                    if random.chance(60) {
                        text +=
                            &format!(" {name} {}", random.pick([1025, 1026, 4000, 4001, 66561]));
                    }
                }
                text += random.pick(["\n\n", "\n", ""]);
                vec![said(SERVER, text.into_bytes())]
            }
            Self::Tftp => {
                let ask = random.pick([&b"\0\x01file\0octet\0"[..], b"\0\x02f\0netascii\0"]);
                let listens = Some(ends[CLIENT].port());
                vec![Text { by: CLIENT, bytes: ask.to_vec(), listens }]
            }
        }
    }
}

/// The speaker's address, or one of somebody else.
fn named(random: &mut Random, speaker: IpAddr) -> IpAddr {
    let v6 = speaker.is_ipv6();
    match random.below(20) {
        0 => world::lan(random, v6).address,
        1 => world::wan(random, v6).address,
        2 => world::host(random, v6).address,
        _ => speaker,
    }
}

fn ftp(random: &mut Random, by: usize, (speaker, port): (IpAddr, u16)) -> Vec<u8> {
    let address = named(random, speaker);
    let extended = if speaker.is_ipv6() { 90 } else { 30 };
    let six = |address: IpAddr| {
        let [a, b, c, d] = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => v6.octets().first_chunk().copied().unwrap_or_default(),
        };
        format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
    };
    let text = match (by, random.chance(extended)) {
        (CLIENT, false) => format!("PORT {}", six(address)),
        (CLIENT, true) => {
            let family = if address.is_ipv6() { 2 } else { 1 };
            format!("EPRT |{family}|{address}|{port}|")
        }
        (_, false) => {
            let [open, close] = random.pick([["(", ")"], ["=", ""], ["", "."]]);
            format!("227 Entering Passive Mode {open}{}{close}", six(address))
        }
        (_, true) => format!("229 Entering Extended Passive Mode (|||{port}|)"),
    };
    (text + "\r\n").into_bytes()
}

fn irc(random: &mut Random, (speaker, port): (IpAddr, u16)) -> Vec<u8> {
    let address = match named(random, speaker) {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let command = random.pick(["SEND", "CHAT", "MOVE", "TSEND", "SCHAT", "LIST"]);
    let begin = random.pick(["", "", " ", "\r\n", ":hello "]);
    let end = random.pick(["\x01\r\n", " 1234\x01\n", "\x01", "\n"]);
    let number = address.to_bits();
    format!("{begin}PRIVMSG you :\x01DCC {command} file {number} {port}{end}").into_bytes()
}

/// Makes a text another one: cut, longer, in another case, with other bytes.
pub(super) fn spoil(random: &mut Random, text: &mut Vec<u8>) {
    let at = random.below(text.len());
    match random.below(10) {
        0 | 1 => text.truncate(at),
        2 => text.iter_mut().for_each(u8::make_ascii_lowercase),
        3 => {
            let byte = random.byte();
            text.get_mut(at).into_iter().for_each(|place| *place = byte);
        }
        4 => text.insert(at, random.pick([b' ', b',', b'|', b'0', b'9', 0xff, 0, b'\n'])),
        5 => drop((at < text.len()).then(|| text.remove(at))),
        6 => text.extend(random.pick([&b"\n"[..], b"\r\n", b"x", b"PORT 192,168,1,10,4,1\r\n"])),
        7 => {
            let before = random.pick([&b" "[..], b"LIST\r\n", b"\n", b"2"]);
            text.splice(0..0, before.iter().copied());
        }
        8 => {
            let length = random.pick([300, 1000, 1150]);
            let byte = random.pick([b' ', b'0', b'x']);
            text.splice(at..at, std::iter::repeat_n(byte, length));
        }
        _ => {
            // Numbers that are too large, or count in another way.
            let digit = text.iter().rposition(u8::is_ascii_digit).unwrap_or(at);
            let more = random.pick([&b"65536"[..], b"4294967296", b"00000", b"-1"]);
            text.splice(digit..digit, more.iter().copied());
        }
    }
}
