//! ICMP: `ICMP echo request, id 7, seq 1, length 64`, and the errors with the flow they quote.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use stateward_wire::icmp::{self, v4};
use stateward_wire::{Embedded, Family, IcmpHeader, UdpHeader, protocol};

use super::{Upper, flow, ports, protocol_name};

pub(super) fn describe(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = IcmpHeader::view(upper.bytes) else { return out.write_str("[|icmp]") };
    out.write_str("ICMP ")?;
    let quoted = match v4::is_error(header.kind) {
        true => Embedded::parse(icmp::body(upper.bytes), Family::V4),
        false => None,
    };
    message(header, quoted.as_ref(), out)?;
    write!(out, ", length {}", upper.length)?;
    quoted.map_or(Ok(()), |quoted| quote(&quoted, out))
}

/// The message without its length.
fn message(header: &IcmpHeader, quoted: Option<&Embedded<'_>>, out: &mut dyn Write) -> fmt::Result {
    let (id, sequence) = (header.identifier(), header.sequence());
    match header.kind {
        v4::ECHO => write!(out, "echo request, id {id}, seq {sequence}"),
        v4::ECHO_REPLY => write!(out, "echo reply, id {id}, seq {sequence}"),
        v4::TIMESTAMP => write!(out, "time stamp query id {id} seq {sequence}"),
        v4::TIMESTAMP_REPLY => write!(out, "time stamp reply id {id} seq {sequence}"),
        v4::INFO => out.write_str("information request"),
        v4::INFO_REPLY => out.write_str("information reply"),
        v4::ADDRESS_MASK => out.write_str("address mask request"),
        v4::ADDRESS_MASK_REPLY => out.write_str("address mask reply"),
        v4::SOURCE_QUENCH => out.write_str("source quench"),
        v4::UNREACHABLE => unreachable(header, quoted, out),
        v4::REDIRECT => redirect(header, quoted, out),
        v4::TIME_EXCEEDED => match header.code {
            0 => out.write_str("time exceeded in-transit"),
            1 => out.write_str("ip reassembly time exceeded"),
            code => write!(out, "time exceeded-#{code}"),
        },
        v4::PARAMETER_PROBLEM => match (header.code, header.rest) {
            (0, [octet, ..]) => write!(out, "parameter problem - octet {octet}"),
            (code, _) => write!(out, "parameter problem - code {code}"),
        },
        9 => out.write_str("router advertisement"),
        10 => out.write_str("router solicitation"),
        kind => write!(out, "type-#{kind}"),
    }
}

/// What stands in front of and behind the quoted destination, by code; 2 to 4 need more than that.
const UNREACHABLE: [(&str, &str); 16] = [
    ("net ", " unreachable"),
    ("host ", " unreachable"),
    ("", ""),
    ("", ""),
    ("", ""),
    ("", " unreachable - source route failed"),
    ("net ", " unreachable - unknown"),
    ("host ", " unreachable - unknown"),
    ("", " unreachable - source host isolated"),
    ("net ", " unreachable - admin prohibited"),
    ("host ", " unreachable - admin prohibited"),
    ("net ", " unreachable - tos prohibited"),
    ("host ", " unreachable - tos prohibited"),
    ("host ", " unreachable - admin prohibited filter"),
    ("host ", " unreachable - host precedence violation"),
    ("host ", " unreachable - precedence cutoff"),
];

fn unreachable(
    header: &IcmpHeader,
    quoted: Option<&Embedded<'_>>,
    out: &mut dyn Write,
) -> fmt::Result {
    let Some(quoted) = quoted else { return write!(out, "unreachable - #{}", header.code) };
    let to = quoted.destination();
    match header.code {
        2 => write!(out, "{to} protocol {} unreachable", quoted.protocol()),
        3 => {
            write!(out, "{to} ")?;
            port(quoted, out)?;
            out.write_str(" unreachable")
        }
        4 if header.mtu() == 0 => write!(out, "{to} unreachable - need to frag"),
        4 => write!(out, "{to} unreachable - need to frag (mtu {})", header.mtu()),
        code => match UNREACHABLE.get(usize::from(code)) {
            Some((before, behind)) => write!(out, "{before}{to}{behind}"),
            None => write!(out, "{to} unreachable - #{code}"),
        },
    }
}

/// The protocol and port that a quoted packet wanted.
pub(super) fn port(quoted: &Embedded<'_>, out: &mut dyn Write) -> fmt::Result {
    // Every protocol with ports has them where UDP has.
    let port = UdpHeader::view(quoted.l4()).map(|header| header.destination_port.get());
    match (quoted.protocol(), port) {
        (protocol::TCP, Some(port)) => write!(out, "tcp port {port}"),
        (protocol::UDP, Some(port)) => write!(out, "udp port {port}"),
        (other, Some(port)) => write!(out, "protocol {other} port {port}"),
        (other, None) => write!(out, "protocol {other} port"),
    }
}

fn redirect(
    header: &IcmpHeader,
    quoted: Option<&Embedded<'_>>,
    out: &mut dyn Write,
) -> fmt::Result {
    let gateway = Ipv4Addr::from_octets(header.rest);
    let (word, target) = match header.code {
        0 => ("redirect", "net"),
        1 => ("redirect", "host"),
        2 => ("redirect-tos", "net"),
        3 => ("redirect-tos", "host"),
        code => return write!(out, "redirect-#{code} to {gateway}"),
    };
    match quoted {
        Some(quoted) => write!(out, "{word} {} to {target} {gateway}", quoted.destination()),
        None => write!(out, "{word} to {target} {gateway}"),
    }
}

/// The flow an error quotes; the errors of ICMPv6 use it too. An error is never quoted in turn.
pub(super) fn quote(quoted: &Embedded<'_>, out: &mut dyn Write) -> fmt::Result {
    out.write_str(", quoting ")?;
    let protocol = quoted.protocol();
    flow(quoted.source(), quoted.destination(), ports(protocol, quoted.l4()), out)?;
    match (protocol, protocol_name(protocol)) {
        (protocol::ICMP, Some(name)) => {
            out.write_str(name)?;
            let Some(header) = IcmpHeader::view(quoted.l4()) else { return Ok(()) };
            out.write_char(' ')?;
            message(header, None, out)
        }
        (protocol::ICMPV6, Some(name)) => {
            out.write_str(name)?;
            let Some(header) = IcmpHeader::view(quoted.l4()) else { return Ok(()) };
            out.write_str(", ")?;
            super::icmpv6::message(header, quoted.l4(), None, out)
        }
        (_, Some(name)) => out.write_str(name),
        (_, None) => write!(out, "ip-proto-{protocol}"),
    }
}
