//! ICMPv6: queries, errors with the flow they quote, neighbour discovery and multicast listeners.

use std::fmt::{self, Write};
use std::net::Ipv6Addr;

use stateward_wire::icmp::{self, v6};
use stateward_wire::{Embedded, Family, Icmpv6Header};

use super::Upper;
use super::icmp::{port, quote};

/// Where the first address of neighbour discovery and multicast listener messages lies.
const FIRST_ADDRESS: usize = 8;
const SECOND_ADDRESS: usize = 24;
/// A multicast listener query of version 2 is longer than this one of version 1.
const QUERY_V1: usize = 24;

pub(super) fn describe(upper: &Upper<'_>, out: &mut dyn Write) -> fmt::Result {
    let Some(header) = Icmpv6Header::view(upper.bytes) else { return out.write_str("[|icmp6]") };
    out.write_str("ICMP6, ")?;
    let quoted = match v6::is_error(header.kind) {
        true => Embedded::parse(icmp::body(upper.bytes), Family::V6),
        false => None,
    };
    message(header, upper.bytes, quoted.as_ref(), out)?;
    write!(out, ", length {}", upper.length)?;
    quoted.map_or(Ok(()), |quoted| quote(&quoted, out))
}

/// The message without its length.
pub(super) fn message(
    header: &Icmpv6Header,
    bytes: &[u8],
    quoted: Option<&Embedded<'_>>,
    out: &mut dyn Write,
) -> fmt::Result {
    let (id, sequence) = (header.identifier(), header.sequence());
    match header.kind {
        v6::ECHO => write!(out, "echo request, id {id}, seq {sequence}"),
        v6::ECHO_REPLY => write!(out, "echo reply, id {id}, seq {sequence}"),
        v6::UNREACHABLE => unreachable(header.code, quoted, out),
        v6::TOO_BIG => write!(out, "packet too big, mtu {}", header.word()),
        v6::TIME_EXCEEDED => time_exceeded(header.code, quoted, out),
        v6::PARAMETER_PROBLEM => parameter_problem(header, out),
        v6::LISTENER_QUERY if bytes.len() > QUERY_V1 => {
            listener("multicast listener query v2 [gaddr ", bytes, "]", out)
        }
        v6::LISTENER_QUERY => delayed("query", header, bytes, out),
        v6::LISTENER_REPORT => delayed("report", header, bytes, out),
        v6::LISTENER_DONE => delayed("done", header, bytes, out),
        v6::LISTENER_REPORT_V2 => {
            write!(out, "multicast listener report v2, {sequence} group record(s)")
        }
        v6::ROUTER_SOLICITATION => out.write_str("router solicitation"),
        v6::ROUTER_ADVERTISEMENT => out.write_str("router advertisement"),
        v6::NEIGHBOUR_SOLICITATION => listener("neighbor solicitation, who has ", bytes, "", out),
        v6::NEIGHBOUR_ADVERTISEMENT => listener("neighbor advertisement, tgt is ", bytes, "", out),
        v6::REDIRECT => redirect(bytes, out),
        v6::NODE_QUERY => out.write_str("node information query"),
        v6::NODE_REPLY => out.write_str("node information reply"),
        kind => write!(out, "type-#{kind}"),
    }
}

fn unreachable(code: u8, quoted: Option<&Embedded<'_>>, out: &mut dyn Write) -> fmt::Result {
    out.write_str("destination unreachable, ")?;
    let Some(quoted) = quoted else { return write!(out, "code-#{code}") };
    let to = quoted.destination();
    match code {
        0 => write!(out, "unreachable route {to}"),
        1 => write!(out, "unreachable prohibited {to}"),
        2 => write!(out, "beyond scope {to}, source address {}", quoted.source()),
        3 => write!(out, "unreachable address {to}"),
        4 => {
            write!(out, "unreachable port, {to} ")?;
            port(quoted, out)
        }
        5 => write!(out, "failed ingress/egress policy {to}"),
        6 => write!(out, "reject route {to}"),
        code => write!(out, "code-#{code} {to}"),
    }
}

fn time_exceeded(code: u8, quoted: Option<&Embedded<'_>>, out: &mut dyn Write) -> fmt::Result {
    match code {
        0 => out.write_str("time exceeded in-transit")?,
        1 => out.write_str("ip reassembly time exceeded")?,
        code => write!(out, "time exceeded, unknown code {code}")?,
    }
    match (code, quoted) {
        (0, Some(quoted)) => write!(out, " for {}", quoted.destination()),
        _ => Ok(()),
    }
}

fn parameter_problem(header: &Icmpv6Header, out: &mut dyn Write) -> fmt::Result {
    let octet = header.word();
    match header.code {
        0 => write!(out, "parameter problem, errorneous - octet {octet}"),
        1 => write!(out, "parameter problem, next header - octet {octet}"),
        2 => write!(out, "parameter problem, option - octet {octet}"),
        code => write!(out, "parameter problem, code-#{code}"),
    }
}

fn delayed(word: &str, header: &Icmpv6Header, bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    let delay = header.identifier();
    write!(out, "multicast listener {word} max resp delay: {delay}")?;
    listener(" addr: ", bytes, "", out)
}

/// An address between two texts.
fn listener(before: &str, bytes: &[u8], behind: &str, out: &mut dyn Write) -> fmt::Result {
    match address(bytes, FIRST_ADDRESS) {
        Some(address) => write!(out, "{before}{address}{behind}"),
        None => write!(out, "{before}[|icmp6]"),
    }
}

fn redirect(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    match (address(bytes, FIRST_ADDRESS), address(bytes, SECOND_ADDRESS)) {
        (Some(target), Some(destination)) => write!(out, "redirect, {destination} to {target}"),
        _ => out.write_str("redirect, [|icmp6]"),
    }
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk().map(|octets: &[u8; 16]| Ipv6Addr::from_octets(*octets))
}
