//! A packet as the kernel's log tells it: `IN=eth0 OUT= MAC=… SRC=… DST=… LEN=… …`.
//!
//! Words, their order and the conditions under which they appear are the kernel's `nf_log_syslog`:
//! tools that read firewall logs know them. What is cut short is told as INCOMPLETE or TRUNCATED,
//! and the packet that an ICMP error quotes stands in brackets, one level deep.

use core::fmt::{self, Write};
use core::net::Ipv6Addr;

use stateward_wire::ipv6::{ExtensionHeader, FragmentHeader, extension_length};
use stateward_wire::{
    Family, IcmpHeader, Ipv4Header, Ipv6Header, TcpFlags, TcpHeader, UdpHeader, protocol,
};

use super::Log;
use crate::context::Context;

/// The line for the packet that `context` holds.
pub(super) fn line(log: &Log, context: &dyn Context) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, and a packet cut short ends the line where it is cut.
    let _ = write_line(&mut text, log, context);
    text
}

fn write_line(text: &mut String, log: &Log, context: &dyn Context) -> Told {
    let (input, output) = (context.input(), context.output());
    write!(text, "{}IN={input} OUT={output} ", log.prefix)?;
    let shared = context.shared().borrow();
    if let Some(port) = shared.known.port(context.ingress()).and_then(|told| told.value) {
        write!(text, "PHYSIN={port} ")?;
    }
    drop(shared);
    if !input.is_empty() {
        link_header(text, log, context)?;
    }
    let Some(packet) = context.packet() else { return Err(fmt::Error) };
    let mark = context.mark();
    let mut dump = Dump { text, flags: log.flags, level: Level::Outer };
    match packet.family() {
        Family::V4 => dump.ipv4(packet.bytes()),
        Family::V6 => dump.ipv6(packet.bytes()),
    }?;
    if mark != 0 {
        write!(text, "MARK=0x{mark:x} ")?;
    }
    Ok(())
}

/// The link's header of a packet that came in; of a link without one just the word.
fn link_header(text: &mut String, log: &Log, context: &dyn Context) -> fmt::Result {
    let header = context.link_header();
    if log.flags & MAC_DECODE != 0
        && let Some([d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, p0, p1]) = header
    {
        let address = |bytes: [&u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
        let (source, destination) =
            (address([s0, s1, s2, s3, s4, s5]), address([d0, d1, d2, d3, d4, d5]));
        return write!(text, "MACSRC={source} MACDST={destination} MACPROTO={p0:02x}{p1:02x} ");
    }
    text.push_str("MAC=");
    for (at, byte) in header.into_iter().flatten().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        write!(text, "{colon}{byte:02x}")?;
    }
    text.write_char(' ')
}

const TCP_SEQUENCE: u8 = 0x01;
const TCP_OPTIONS: u8 = 0x02;
const IP_OPTIONS: u8 = 0x04;
const MAC_DECODE: u8 = 0x20;

/// `Err` where the packet is cut so that nothing more is said.
type Told = fmt::Result;

/// The packet itself, or the one that it quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Outer,
    Quoted,
}

struct Dump<'a> {
    text: &'a mut String,
    flags: u8,
    level: Level,
}

/// Whether the bytes at hand begin with the upper header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    First,
    Later,
}

impl Dump<'_> {
    fn ipv4(&mut self, bytes: &[u8]) -> Told {
        let Some(header) = Ipv4Header::view(bytes) else { return self.cut("TRUNCATED") };
        let (source, destination) = (header.source(), header.destination());
        write!(self.text, "SRC={source} DST={destination} ")?;
        let (length, tos) = (header.total_length.get(), header.tos);
        let (service, precedence) = (tos & 0x1e, tos & 0xe0);
        write!(self.text, "LEN={length} TOS=0x{service:02X} PREC=0x{precedence:02X} ")?;
        write!(self.text, "TTL={} ID={} ", header.ttl, header.identification.get())?;
        let fragment = header.fragmentation.get();
        for (flag, word) in [(0x8000, "CE "), (0x4000, "DF "), (0x2000, "MF ")] {
            self.text.push_str(if fragment & flag != 0 { word } else { "" });
        }
        let offset = fragment & 0x1fff;
        if offset > 0 {
            write!(self.text, "FRAG:{offset} ")?;
        }
        let fixed = size_of::<Ipv4Header>();
        let length = header.header_length();
        if self.flags & IP_OPTIONS != 0 && length > fixed {
            let Some(options) = bytes.get(fixed..length) else { return self.cut("TRUNCATED") };
            self.options(options)?;
        }
        let upper = bytes.get(length..).unwrap_or_default();
        let piece = if offset > 0 { Piece::Later } else { Piece::First };
        match header.protocol {
            protocol::TCP => self.tcp(upper, piece),
            number @ (protocol::UDP | protocol::UDPLITE) => self.udp(number, upper, piece),
            protocol::ICMP => self.icmp(upper, piece),
            protocol::AH => self.ipsec("AH", upper, piece),
            protocol::ESP => self.ipsec("ESP", upper, piece),
            number => write!(self.text, "PROTO={number} "),
        }
    }

    fn ipv6(&mut self, bytes: &[u8]) -> Told {
        let Some(header) = Ipv6Header::view(bytes) else { return self.cut("TRUNCATED") };
        let (source, destination) = (header.source(), header.destination());
        write!(self.text, "SRC={} DST={} ", Full(source), Full(destination))?;
        let fixed = size_of::<Ipv6Header>();
        let length = usize::from(header.payload_length.get()) + fixed;
        let (class, hops) = (header.traffic_class(), header.hop_limit);
        let label = header.flow_label();
        write!(self.text, "LEN={length} TC={class} HOPLIMIT={hops} FLOWLBL={label} ")?;
        let (mut next, mut at, mut piece) = (header.next_header, fixed, Piece::First);
        while matches!(
            next,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::ESP
                | protocol::AH
                | protocol::DEST
        ) {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = self.extension(next, rest, &mut piece)?;
            next = rest.first().copied().unwrap_or(protocol::NONE);
            at += length;
        }
        let upper = bytes.get(at..).unwrap_or_default();
        match next {
            protocol::TCP => self.tcp(upper, piece),
            number @ (protocol::UDP | protocol::UDPLITE) => self.udp(number, upper, piece),
            protocol::ICMPV6 => self.icmpv6(upper, piece),
            number => write!(self.text, "PROTO={number} "),
        }
    }

    /// An extension header; says how long it is.
    fn extension(&mut self, kind: u8, rest: &[u8], piece: &mut Piece) -> Result<usize, fmt::Error> {
        let told = self.flags & IP_OPTIONS != 0;
        let Some(header) = ExtensionHeader::view(rest) else { return self.cut("TRUNCATED") };
        if told {
            self.text.push_str("OPT ( ");
        }
        let mut length = extension_length(kind, header.length);
        match kind {
            protocol::FRAGMENT => {
                self.text.push_str("FRAG:");
                let Some(fragment) = FragmentHeader::view(rest) else {
                    return self.cut("TRUNCATED ");
                };
                write!(self.text, "{} ", fragment.offset())?;
                if fragment.more() {
                    self.text.push_str("INCOMPLETE ");
                }
                write!(self.text, "ID:{:08x} ", fragment.identification.get())?;
                if fragment.offset() > 0 {
                    *piece = Piece::Later;
                }
                length = size_of::<FragmentHeader>();
            }
            protocol::AH if !told => {}
            protocol::ESP if !told => return Err(fmt::Error),
            protocol::AH | protocol::ESP => self.ipsec_extension(kind, rest, *piece)?,
            _ if *piece == Piece::Later => return self.cut(if told { ")" } else { "" }),
            _ => {}
        }
        if told {
            self.text.push_str(") ");
        }
        Ok(length)
    }

    fn ipsec_extension(&mut self, kind: u8, rest: &[u8], piece: Piece) -> Told {
        let (name, spi, whole) = match kind {
            protocol::AH => ("AH ", 4, 12),
            _ => ("ESP ", 0, 8),
        };
        self.text.push_str(name);
        if piece == Piece::Later {
            return self.cut(")");
        }
        let index = rest.get(spi..).and_then(|rest| rest.first_chunk());
        match index.filter(|_| rest.len() >= whole) {
            None => {
                write!(self.text, "INCOMPLETE [{} bytes] )", rest.len())?;
                Err(fmt::Error)
            }
            Some(index) => {
                write!(self.text, "SPI=0x{:x} ", u32::from_be_bytes(*index))?;
                match kind {
                    protocol::AH => Ok(()),
                    _ => self.cut(")"),
                }
            }
        }
    }

    fn tcp(&mut self, upper: &[u8], piece: Piece) -> Told {
        self.text.push_str("PROTO=TCP ");
        if piece == Piece::Later {
            return Ok(());
        }
        let Some(header) = TcpHeader::view(upper) else { return self.incomplete(upper) };
        let (source, destination) = (header.source_port.get(), header.destination_port.get());
        write!(self.text, "SPT={source} DPT={destination} ")?;
        if self.flags & TCP_SEQUENCE != 0 {
            let (sequence, ack) = (header.sequence.get(), header.acknowledgment.get());
            write!(self.text, "SEQ={sequence} ACK={ack} ")?;
        }
        // The four reserved bits stand where six once did.
        let reserved = (header.offset_reserved & 0xf) << 2;
        write!(self.text, "WINDOW={} RES=0x{reserved:02x} ", header.window.get())?;
        for (flag, word) in FLAGS {
            self.text.push_str(if header.flags().contains(flag) { word } else { "" });
        }
        write!(self.text, "URGP={} ", header.urgent.get())?;
        let fixed = size_of::<TcpHeader>();
        if self.flags & TCP_OPTIONS != 0 && header.header_length() > fixed {
            let Some(options) = upper.get(fixed..header.header_length()) else {
                return self.cut("OPT (TRUNCATED)");
            };
            self.options(options)?;
        }
        Ok(())
    }

    fn udp(&mut self, number: u8, upper: &[u8], piece: Piece) -> Told {
        let name = if number == protocol::UDP { "UDP" } else { "UDPLITE" };
        write!(self.text, "PROTO={name} ")?;
        if piece == Piece::Later {
            return Ok(());
        }
        let Some(header) = UdpHeader::view(upper) else { return self.incomplete(upper) };
        let (source, destination) = (header.source_port.get(), header.destination_port.get());
        write!(self.text, "SPT={source} DPT={destination} LEN={} ", header.length.get())
    }

    fn icmp(&mut self, upper: &[u8], piece: Piece) -> Told {
        use stateward_wire::icmp::v4::*;
        self.text.push_str("PROTO=ICMP ");
        if piece == Piece::Later {
            return Ok(());
        }
        let Some(header) = IcmpHeader::view(upper) else { return self.incomplete_so_far(upper) };
        let IcmpHeader { kind, code, .. } = *header;
        write!(self.text, "TYPE={kind} CODE={code} ")?;
        let needed = match kind {
            UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM => 28,
            TIMESTAMP | TIMESTAMP_REPLY => 20,
            ADDRESS_MASK | ADDRESS_MASK_REPLY => 12,
            _ => 0,
        };
        if upper.len() < needed {
            return self.incomplete_so_far(upper);
        }
        match kind {
            ECHO_REPLY | ECHO => {
                write!(self.text, "ID={} SEQ={} ", header.identifier(), header.sequence())
            }
            PARAMETER_PROBLEM => write!(self.text, "PARAMETER={} ", header.rest[0]),
            REDIRECT | UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED => {
                if kind == REDIRECT {
                    let [a, b, c, d] = header.rest;
                    write!(self.text, "GATEWAY={a}.{b}.{c}.{d} ")?;
                }
                self.quoted(upper, Family::V4)?;
                match (kind, code) {
                    (UNREACHABLE, 4) => {
                        write!(self.text, "MTU={} ", header.mtu())
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn icmpv6(&mut self, upper: &[u8], piece: Piece) -> Told {
        use stateward_wire::icmp::v6::*;
        self.text.push_str("PROTO=ICMPv6 ");
        if piece == Piece::Later {
            return Ok(());
        }
        let Some(header) = IcmpHeader::view(upper) else { return self.incomplete(upper) };
        let IcmpHeader { kind, code, .. } = *header;
        write!(self.text, "TYPE={kind} CODE={code} ")?;
        match kind {
            ECHO | ECHO_REPLY => {
                write!(self.text, "ID={} SEQ={} ", header.identifier(), header.sequence())
            }
            PARAMETER_PROBLEM | UNREACHABLE | TOO_BIG | TIME_EXCEEDED => {
                if kind == PARAMETER_PROBLEM {
                    write!(self.text, "POINTER={:08x} ", header.word())?;
                }
                self.quoted(upper, Family::V6)?;
                match kind {
                    TOO_BIG => write!(self.text, "MTU={} ", header.word()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The packet that an ICMP error quotes; where that is cut, the error goes on.
    fn quoted(&mut self, upper: &[u8], family: Family) -> Told {
        if self.level == Level::Quoted {
            return Ok(());
        }
        self.text.push('[');
        let quote = stateward_wire::icmp::body(upper);
        let mut dump = Dump { text: &mut *self.text, flags: self.flags, level: Level::Quoted };
        let _ = match family {
            Family::V4 => dump.ipv4(quote),
            Family::V6 => dump.ipv6(quote),
        };
        self.text.push_str("] ");
        Ok(())
    }

    fn ipsec(&mut self, name: &str, upper: &[u8], piece: Piece) -> Told {
        let (spi, whole) = if name == "AH" { (4, 12) } else { (0, 8) };
        write!(self.text, "PROTO={name} ")?;
        if piece == Piece::Later {
            return Ok(());
        }
        let index = upper.get(spi..).and_then(|rest| rest.first_chunk());
        match index.filter(|_| upper.len() >= whole) {
            None => self.incomplete_so_far(upper),
            Some(index) => write!(self.text, "SPI=0x{:x} ", u32::from_be_bytes(*index)),
        }
    }

    fn options(&mut self, options: &[u8]) -> fmt::Result {
        self.text.push_str("OPT (");
        for byte in options {
            write!(self.text, "{byte:02X}")?;
        }
        self.text.write_str(") ")
    }

    /// A header is cut, and what could still be said is.
    fn incomplete_so_far(&mut self, upper: &[u8]) -> fmt::Result {
        write!(self.text, "INCOMPLETE [{} bytes] ", upper.len())
    }

    /// A header is cut, and nothing more is said.
    fn incomplete(&mut self, upper: &[u8]) -> Told {
        self.incomplete_so_far(upper)?;
        Err(fmt::Error)
    }

    fn cut<T>(&mut self, word: &str) -> Result<T, fmt::Error> {
        self.text.push_str(word);
        Err(fmt::Error)
    }
}

const FLAGS: [(TcpFlags, &str); 8] = [
    (TcpFlags::CWR, "CWR "),
    (TcpFlags::ECE, "ECE "),
    (TcpFlags::URG, "URG "),
    (TcpFlags::ACK, "ACK "),
    (TcpFlags::PSH, "PSH "),
    (TcpFlags::RST, "RST "),
    (TcpFlags::SYN, "SYN "),
    (TcpFlags::FIN, "FIN "),
];

/// An IPv6 address with all its digits.
struct Full(Ipv6Addr);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.segments().iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{group:04x}")?;
        }
        Ok(())
    }
}
