//! Packets as people type them: `tcp 198.51.100.7:40000 > 203.0.113.1:22 S`.
//!
//! ```text
//! [+TIME] [in INTERFACE] PROTOCOL SOURCE > DESTINATION [WORD …]
//! ```
//!
//! The words are those of tcpdump where it has any: `S`, `S.`, `.`, `P.`, `F.`, `R`, `seq`, `ack`,
//! `win`, `length`. What is not said is what an ordinary end would send: a [`Typist`] remembers
//! what both ends of a flow have said, so that `S`, `S.` and `.` in a row are a handshake without a
//! number typed. `docs/explain.md` is the language's page, and its examples are run.
//!
//! An error is one [`TypedError`], which shows the text with the place marked.

mod icmp;
mod sctp;
mod talk;
mod tcp;
mod words;

use std::fmt;
use std::net::IpAddr;

use stateward_conntrack::Span;
use stateward_rules::known::{Next, Process};
use stateward_rules::protocol::name as protocol_name;
use stateward_wire::edit::Edit;
use stateward_wire::{Packet, compose, protocol};

use self::talk::Talks;
use self::words::{Word, Words};
use crate::picture::Picture;

/// A packet that somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// How long after the packet before it.
    pub after: Span,
    /// Where it comes in, if that was said; `local` is what this host sends.
    pub interface: Option<String>,
    /// Its mark.
    pub mark: u32,
    /// Who sends it, and the bridge's port by which it came, if that was said.
    pub known: Next,
    /// The IP packet, with right checksums.
    pub bytes: Vec<u8>,
}

/// Why a text is no packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedError {
    /// The text.
    pub text: String,
    /// The first character that is meant, from 0.
    pub column: usize,
    /// How many are, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, column, width, message, hint } = self;
        writeln!(f, "{message}")?;
        Picture { margin: " ", text, column: *column, width: *width }.fmt(f)?;
        if hint.is_empty() { Ok(()) } else { write!(f, " {hint}") }
    }
}

impl std::error::Error for TypedError {}

/// Reads packets, one after the other.
#[derive(Debug, Default)]
pub struct Typist {
    talks: Talks,
    /// A packet is being read that another one quotes.
    quoted: bool,
}

impl Typist {
    /// The next packet.
    ///
    /// # Errors
    /// When the text is none.
    pub fn read(&mut self, text: &str) -> Result<Typed, TypedError> {
        let mut words = Words::new(text)?;
        let after = match words.next_if(|word| word.text.starts_with('+')) {
            Some(word) => span(&words, &word)?,
            None => Span(0),
        };
        let interface = match words.next_if(|word| word.text == "in") {
            Some(_) => Some(words.need("the interface it comes in by", "as: in wan0")?.text),
            None => None,
        };
        self.quoted = false;
        let (bytes, common) = self.packet(&mut words)?;
        let Common { mark, known, .. } = common;
        Ok(Typed { after, interface, mark, known, bytes })
    }

    /// What follows the interface; for a packet quoted in an ICMP error, all of it.
    fn packet(&mut self, words: &mut Words) -> Result<(Vec<u8>, Common), TypedError> {
        let hint = "as: tcp 198.51.100.7:40000 > 203.0.113.1:22 S";
        let word = words.need("a protocol", hint)?;
        let number = protocol_number(words, &word)?;
        let with_ports = has_ports(number);
        let source = end(words, with_ports)?;
        let arrow = words.need("`>` and the destination", hint)?;
        if arrow.text != ">" {
            return Err(words.error(&arrow, "`>` stands between the ends", hint));
        }
        let destination = end(words, with_ports)?;
        let (from, to) = (source.address, destination.address);
        if from.is_ipv4() != to.is_ipv4() {
            let message = "both addresses must be of one family";
            return Err(words.error(&destination.word, message, ""));
        }
        let flow = Flow { source: (from, source.port), destination: (to, destination.port) };
        let mut common = Common::default();
        let mut bytes = match number {
            protocol::TCP => tcp::read(&flow, &mut self.talks, words, &mut common)?,
            protocol::UDP => {
                common.read_all(words, &[])?;
                compose::udp(flow.source, flow.destination, &common.payload)
            }
            protocol::SCTP => sctp::read(&flow, &mut self.talks, words, &mut common)?,
            protocol::ICMP | protocol::ICMPV6 => {
                self.icmp(number, &word, &flow, words, &mut common)?
            }
            _ => {
                common.read_all(words, &[])?;
                let ports = [flow.source.1.to_be_bytes(), flow.destination.1.to_be_bytes()];
                let mut upper = if with_ports { ports.concat() } else { Vec::new() };
                upper.extend_from_slice(&common.payload);
                compose::ip(from, to, number, &upper)
            }
        };
        common.apply(&mut bytes);
        Ok((bytes, common))
    }

    fn icmp(
        &mut self,
        number: u8,
        word: &Word,
        flow: &Flow,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<Vec<u8>, TypedError> {
        let (v4, family) = (flow.source.0.is_ipv4(), if number == protocol::ICMP { 4 } else { 6 });
        if v4 != (number == protocol::ICMP) {
            let hint = if v4 { "icmp?" } else { "icmp6?" };
            let other = if v4 { 4 } else { 6 };
            let message = format!("ICMP of IPv{family} between addresses of IPv{other}");
            return Err(words.error(word, message, hint));
        }
        icmp::read(self, flow, words, common)
    }
}

/// Source and destination of a packet; ports are 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Flow {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

/// What can be said of every packet.
#[derive(Debug, Default)]
struct Common {
    ttl: Option<u8>,
    tos: Option<u8>,
    mark: u32,
    known: Next,
    payload: Vec<u8>,
}

/// Bytes of the longest payload: with all headers a packet stays below 65,536.
const LONGEST: u64 = 65_000;

impl Common {
    /// Reads the words behind the ends, none of which may be of another protocol; `more` names
    /// words that this protocol has besides, for the hint.
    fn read_all(&mut self, words: &mut Words, more: &[&str]) -> Result<(), TypedError> {
        while let Some(word) = words.next() {
            self.read(&word, words, more)?;
        }
        Ok(())
    }

    fn read(&mut self, word: &Word, words: &mut Words, more: &[&str]) -> Result<(), TypedError> {
        match word.text.as_str() {
            "ttl" | "hlim" => self.ttl = Some(words.number(word, u8::MAX.into())? as u8),
            "tos" => self.tos = Some(words.number(word, u8::MAX.into())? as u8),
            "mark" => self.mark = words.number(word, u32::MAX.into())? as u32,
            "uid" => {
                let user = words.number(word, u32::MAX.into())? as u32;
                self.known.sender = Some(Process::of(user));
            }
            "gid" => {
                let Some(sender) = &mut self.known.sender else {
                    return Err(words.error(word, "a group without a user", "`uid` before it"));
                };
                sender.group = words.number(word, u32::MAX.into())? as u32;
            }
            "port" => {
                let hint = "as: port vnet0";
                let port = words.need("the port of a bridge by which it came", hint)?;
                self.known.port = Some(port.text.into());
            }
            "len" | "length" => {
                let length = words.number(word, LONGEST)? as usize;
                self.payload = vec![0; length];
            }
            "data" => {
                let data = words.need("the payload", "as: data \"GET / HTTP/1.1\"")?;
                if data.text.len() as u64 > LONGEST {
                    let hint = format!("at most {LONGEST} bytes");
                    return Err(words.error(&data, "this is too long", hint));
                }
                self.payload = data.text.into_bytes();
            }
            unknown => {
                let known = ["length", "data", "ttl", "tos", "mark", "uid", "gid", "port"];
                let known = known.iter().chain(more);
                let known: Vec<_> = known.copied().collect();
                let message = format!("`{unknown}` is not known here");
                return Err(words.error(word, message, format!("there is {}", known.join(", "))));
            }
        }
        Ok(())
    }

    /// What stands in the IP header.
    fn apply(&self, bytes: &mut [u8]) {
        if let Some(tos) = self.tos {
            set_tos(bytes, tos);
        }
        let Ok(layout) = Packet::parse_trusted(bytes).map(|packet| packet.layout()) else { return };
        if let Some(ttl) = self.ttl {
            Edit::new(bytes, layout).set_ttl(ttl);
        }
    }
}

/// Sets the byte that was called type of service, or the traffic class.
fn set_tos(bytes: &mut [u8], tos: u8) {
    if let Some([version, class, ..]) = bytes.first_chunk_mut::<40>()
        && *version >> 4 == 6
    {
        *version = 0x60 | tos >> 4;
        *class = (*class & 0x0f) | tos << 4;
    } else if let Some(header) = bytes.first_chunk_mut::<20>() {
        header[1] = tos;
        (header[10], header[11]) = (0, 0);
        let [high, low] = stateward_wire::checksum::of(header).to_be_bytes();
        (header[10], header[11]) = (high, low);
    }
}

/// One end of a packet.
struct End {
    word: Word,
    address: IpAddr,
    port: u16,
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`; without ports also without brackets.
fn end(words: &mut Words, with_port: bool) -> Result<End, TypedError> {
    let hint = match with_port {
        true => "as 192.0.2.1:80 or [2001:db8::1]:80",
        false => "as 192.0.2.1 or 2001:db8::1",
    };
    let word = words.need("an address", hint)?;
    let text = word.text.as_str();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        if with_port {
            let hint = match address {
                IpAddr::V4(_) => format!("{address}:80?"),
                IpAddr::V6(_) => format!("[{address}]:80?"),
            };
            return Err(words.error(&word, "a port is missing", hint));
        }
        return Ok(End { word, address, port: 0 });
    }
    let Some((address, port)) = text.rsplit_once(':') else {
        return Err(words.error(&word, format!("`{text}` is no address"), hint));
    };
    let bare = address.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_six = address.contains(':');
    let Ok(address) = bare.unwrap_or(address).parse::<IpAddr>() else {
        return Err(words.error(&word, format!("`{text}` is no address"), hint));
    };
    if is_six && bare.is_none() {
        let hint = format!("[{address}]:{port}?");
        return Err(words.error(&word, "an IPv6 address with a port stands in brackets", hint));
    }
    if !with_port {
        let hint = format!("{address}?");
        return Err(words.error(&word, "this protocol has no ports", hint));
    }
    match port.parse() {
        Ok(port) => Ok(End { address, port, word }),
        Err(_) => Err(words.error(&word, format!("`{port}` is no port"), "0 to 65535")),
    }
}

fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDPLITE | protocol::DCCP
    )
}

fn protocol_number(words: &Words, word: &Word) -> Result<u8, TypedError> {
    let text = word.text.to_lowercase();
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.as_str() {
        "icmp6" | "icmpv6" | "ipv6-icmp" => return Ok(protocol::ICMPV6),
        "ip" | "ip6" => {
            let hint = "tcp, udp, icmp, icmp6, sctp or another's name or number";
            return Err(words.error(word, "which protocol in it?", hint));
        }
        _ => {}
    }
    (1..=u8::MAX).find(|number| protocol_name(*number) == Some(text.as_str())).ok_or_else(|| {
        let hint = "tcp, udp, icmp, icmp6, sctp or another's name or number";
        words.error(word, format!("`{}` is no protocol", word.text), hint)
    })
}

/// `+2s`, `+1.5s`, `+200ms`, `+3m`, `+1h`, `+5d`.
fn span(words: &Words, word: &Word) -> Result<Span, TypedError> {
    let wrong = || {
        let message = format!("`{}` is no time", word.text);
        words.error(word, message, "as +2s, +0.5s, +200ms, +3m, +1h or +5d")
    };
    let text = word.text.trim_start_matches('+');
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1.0,
        Some("ms") => 0.001,
        Some("us") => 0.000_001,
        Some("m" | "min") => 60.0,
        Some("h") => 3_600.0,
        Some("d") => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    /// Ten years, in seconds.
    const LONGEST: f64 = 315_360_000.0;
    let seconds = number * unit;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Span((seconds * 1e9).round() as u64))
}

#[cfg(test)]
mod tests;
