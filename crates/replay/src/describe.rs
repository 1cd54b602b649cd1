//! One packet, one line, in tcpdump's manner.
//!
//! `IP 192.0.2.1.40000 > 198.51.100.2.80: Flags [S], seq 1234, win 64240, options [mss 1460],
//! length 0`: who reads captures reads this without learning anything. The words are those of
//! `tcpdump -n -S` (numbers never resolved, sequence numbers never made relative), with these
//! differences, all of them where tcpdump leaves out what matters to a firewall or says more than
//! it:
//!
//! - an ICMP error ends with the flow it quotes: `…, quoting 192.0.2.1.40000 > 198.51.100.2.53:
//!   UDP`;
//! - a fragment ends with its place: `…, frag (4660:1480+)`, identification, offset in bytes, and
//!   `+` if more follow;
//! - ports stand with the addresses also behind IPv6 extension headers;
//! - payloads are not looked into.
//!
//! Cut headers are `[|tcp]`, as tcpdump says it. Any bytes can be described; nothing is allocated.
//! What a packet is was decided by [`Packet::parse_cut`]; bytes that refuses are described by the
//! reason.

mod icmp;
mod icmpv6;
mod sctp;
mod simple;
mod tcp;

use std::fmt::{self, Write};
use std::net::IpAddr;

use stateward_wire::{Family, Fragment, Malformed, Network, Packet, ipv6, protocol};

/// Packets in packets are described down to this depth.
const DEPTH: u32 = 3;
/// Extension headers shown; a packet of many tiny ones would make an endless line.
const EXTENSIONS: usize = 16;

/// Describes the IP packet in `bytes`, without a newline.
///
/// # Errors
/// Those of `out`.
pub fn describe(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    packet(bytes, 0, out)
}

/// An IP packet that [`describe`]s itself: `println!("{}", Described(bytes))`.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a>(pub &'a [u8]);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self.0, f)
    }
}

/// The upper layer of a packet, as its protocol's description takes it.
#[derive(Clone, Copy)]
struct Upper<'a> {
    protocol: u8,
    family: Family,
    /// From its header on, as far as captured.
    bytes: &'a [u8],
    /// Stated length, header included.
    length: usize,
    /// It is the first piece of a packet that was cut in fragments.
    fragment: bool,
    /// How many packets this one is in.
    depth: u32,
}

fn packet(bytes: &[u8], depth: u32, out: &mut dyn Write) -> fmt::Result {
    // tcpdump shows a packet with a wrong header checksum like any other.
    let parsed = Packet::parse_cut(bytes).or_else(|why| match why {
        Malformed::HeaderChecksum => Packet::parse_trusted(bytes).map_err(|_| why),
        _ => Err(why),
    });
    match parsed {
        Ok(packet) => whole(&packet, depth, out),
        Err(why) => malformed(bytes, why, out),
    }
}

fn whole(packet: &Packet<'_>, depth: u32, out: &mut dyn Write) -> fmt::Result {
    out.write_str(match packet.family() {
        Family::V4 => "IP ",
        Family::V6 => "IP6 ",
    })?;
    let fragment = packet.fragment();
    let (source, destination) = (packet.source(), packet.destination());
    let Some(upper) = packet.upper() else {
        write!(out, "{source} > {destination}: ")?;
        return headless(packet, fragment, out);
    };
    flow(source, destination, ports(upper.protocol, packet.l4()), out)?;
    extensions(packet, upper.offset, out)?;
    let upper = Upper {
        protocol: upper.protocol,
        family: packet.family(),
        bytes: packet.l4(),
        length: packet.l4_length(),
        fragment: fragment.is_some_and(|fragment| fragment.more),
        depth,
    };
    upper.describe(out)?;
    fragment.map_or(Ok(()), |fragment| place(packet.family(), fragment, out))
}

impl Upper<'_> {
    fn describe(&self, out: &mut dyn Write) -> fmt::Result {
        match (self.protocol, self.family) {
            (protocol::TCP, _) => tcp::describe(self, out),
            (protocol::UDP, _) => simple::udp(self, out),
            (protocol::UDPLITE, _) => simple::udplite(self, out),
            (protocol::ICMP, Family::V4) => icmp::describe(self, out),
            (protocol::ICMPV6, Family::V6) => icmpv6::describe(self, out),
            (protocol::SCTP, _) => sctp::describe(self, out),
            (protocol::DCCP, _) => simple::dccp(self, out),
            (protocol::GRE, _) => simple::gre(self, out),
            (protocol::ESP, _) => simple::esp(self, out),
            (protocol::AH, _) => simple::ah(self, out),
            (protocol::IGMP, Family::V4) => simple::igmp(self, out),
            (protocol::IPV4 | protocol::IPV6, _) => self.inner(self.bytes, out),
            (other, _) => write!(out, "ip-proto-{other} {}", self.length),
        }
    }

    /// The packet in this one.
    fn inner(&self, bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
        if self.depth >= DEPTH {
            return write!(out, "another packet, length {}", self.length);
        }
        packet(bytes, self.depth + 1, out)
    }
}

/// A packet without an upper layer: a fragment other than the first, or an IPv6 chain that leads
/// nowhere.
fn headless(packet: &Packet<'_>, fragment: Option<Fragment>, out: &mut dyn Write) -> fmt::Result {
    let (next, length) = match packet.network() {
        Network::V4(header) => (header.protocol, packet.length() - header.header_length()),
        Network::V6(header) => {
            let at = packet.fragment_header().unwrap_or(Family::V6.header_length());
            extensions(packet, at, out)?;
            let place = packet.fragment_header().and_then(|at| packet.bytes().get(at..));
            match place.and_then(ipv6::FragmentHeader::view) {
                Some(fragment) => {
                    let behind = at + size_of::<ipv6::FragmentHeader>();
                    (fragment.next_header, packet.length().saturating_sub(behind))
                }
                None => (header.next_header, packet.length() - Family::V6.header_length()),
            }
        }
    };
    let Some(fragment) = fragment else {
        return match next {
            protocol::NONE => out.write_str("no next header"),
            _ => out.write_str("[|ip6]"),
        };
    };
    match protocol_name(next) {
        Some(name) => write!(out, "{name}, length {length}")?,
        None => write!(out, "ip-proto-{next}, length {length}")?,
    }
    place(packet.family(), fragment, out)
}

/// The IPv6 extension headers in front of `end`; IPv4 has none.
fn extensions(packet: &Packet<'_>, end: usize, out: &mut dyn Write) -> fmt::Result {
    let Network::V6(header) = packet.network() else { return Ok(()) };
    let (mut next, mut at) = (header.next_header, Family::V6.header_length());
    for _ in 0..EXTENSIONS {
        if at >= end {
            return Ok(());
        }
        let rest = packet.bytes().get(at..).unwrap_or_default();
        let Some(header) = ipv6::ExtensionHeader::view(rest) else { return Ok(()) };
        let length = match next {
            protocol::FRAGMENT => size_of::<ipv6::FragmentHeader>(),
            _ => ipv6::extension_length(next, header.length),
        };
        match next {
            protocol::HOP_BY_HOP => out.write_str("HBH ")?,
            protocol::DEST => out.write_str("DSTOPT ")?,
            protocol::ROUTING => match ipv6::RoutingHeader::view(rest) {
                Some(routing) => {
                    let ipv6::RoutingHeader { length, kind, segments_left, .. } = routing;
                    write!(out, "srcrt (len={length}, type={kind}, segleft={segments_left}) ")?;
                }
                None => return out.write_str("[|srcrt]"),
            },
            protocol::AH => {
                simple::ah_numbers(rest, out)?;
                out.write_str(" ")?;
            }
            _ => {}
        }
        next = header.next_header;
        at += length;
    }
    if at < end { out.write_str("… ") } else { Ok(()) }
}

/// Source and destination, with their ports if there are.
fn flow(
    source: IpAddr,
    destination: IpAddr,
    ports: Option<(u16, u16)>,
    out: &mut dyn Write,
) -> fmt::Result {
    match ports {
        Some((from, to)) => write!(out, "{source}.{from} > {destination}.{to}: "),
        None => write!(out, "{source} > {destination}: "),
    }
}

fn ports(protocol: u8, l4: &[u8]) -> Option<(u16, u16)> {
    let has_ports = matches!(
        protocol,
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP
    );
    let [a, b, c, d] = *l4.first_chunk().filter(|_| has_ports)?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// A protocol's name where its header is not there to be described.
fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        protocol::ICMP => "ICMP",
        protocol::IGMP => "igmp",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::DCCP => "DCCP",
        protocol::GRE => "GRE",
        protocol::ESP => "ESP",
        protocol::AH => "AH",
        protocol::ICMPV6 => "ICMP6",
        protocol::SCTP => "sctp",
        protocol::UDPLITE => "UDP-Lite",
        _ => return None,
    })
}

/// IPv4 identifications are decimal and IPv6's hexadecimal, in tcpdump as here.
fn place(family: Family, fragment: Fragment, out: &mut dyn Write) -> fmt::Result {
    let Fragment { id, offset, more, df: _ } = fragment;
    let more = if more { "+" } else { "" };
    match family {
        Family::V4 => write!(out, ", frag ({id}:{offset}{more})"),
        Family::V6 => write!(out, ", frag ({id:#010x}:{offset}{more})"),
    }
}

fn malformed(bytes: &[u8], why: Malformed, out: &mut dyn Write) -> fmt::Result {
    let version = bytes.first().map_or(0, |first| first >> 4);
    let network = match version {
        4 => stateward_wire::Ipv4Header::view(bytes).map(Network::V4),
        6 => stateward_wire::Ipv6Header::view(bytes).map(Network::V6),
        _ => return write!(out, "IP version {version}, length {}", bytes.len()),
    };
    out.write_str(if version == 4 { "IP " } else { "IP6 " })?;
    match network {
        Some(network) => {
            flow(network.source(), network.destination(), None, out)?;
            write!(out, "malformed: {why}")
        }
        None if version == 4 => out.write_str("[|ip]"),
        None => out.write_str("[|ip6]"),
    }
}

#[cfg(test)]
mod tests;
