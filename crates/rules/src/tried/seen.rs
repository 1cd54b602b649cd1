//! What a packet has of what an option asks for, in a word.

use std::net::IpAddr;

use stateward_conntrack::{Direction, Status};

use crate::context::View;
use crate::matches::Match;
use crate::matches::conntrack::{Conntrack, STATUS, States, joined, port_words};
use crate::matches::multiport::Side;
use crate::matches::udp::{PortRange, ports_of};
use crate::matches::{addrtype, tcp};
use crate::protocol;
use crate::rule::Header;

/// Of a header with one option.
pub(super) fn of_header(part: &Header, view: &View<'_>) -> Option<String> {
    let interface = |name: &str, none: &str| match name {
        "" => none.to_owned(),
        name => name.to_owned(),
    };
    if !part.source.value.is_any() || part.source.inverted {
        return Some(view.source.to_string());
    }
    if !part.destination.value.is_any() || part.destination.inverted {
        return Some(view.destination.to_string());
    }
    if part.input.is_some() {
        return Some(interface(view.input(), "made by this host"));
    }
    if part.output.is_some() {
        return Some(interface(view.output(), "no way out yet"));
    }
    if part.protocol.value != 0 {
        let number = view.protocol()?;
        return Some(protocol::name(number).map_or_else(|| number.to_string(), str::to_owned));
    }
    let later = view.is_later_fragment();
    Some(if later { "a later fragment" } else { "no later fragment" }.to_owned())
}

/// Of a match with one option.
pub(super) fn of_match(part: &Match, view: &View<'_>) -> Option<String> {
    match part {
        Match::Tcp(part) if part.source.value != PortRange::ANY => port(view, 0),
        Match::Tcp(part) if part.destination.value != PortRange::ANY => port(view, 1),
        Match::Tcp(part) if part.option.value == 0 => {
            let header: &[u8; 14] = view.upper_header()?;
            Some(tcp::names(header[13] & 0x3f))
        }
        Match::Udp(part) if part.source.value != PortRange::ANY => port(view, 0),
        Match::Udp(_) => port(view, 1),
        Match::Multiport(part) => match part.side {
            Side::Source => port(view, 0),
            Side::Destination => port(view, 1),
            Side::Either => Some(format!("{} and {}", port(view, 0)?, port(view, 1)?)),
        },
        Match::Sctp(part) if part.source.is_some() => port(view, 0),
        Match::Sctp(part) if part.destination.is_some() => port(view, 1),
        Match::State(_) => Some(states(view)),
        Match::Conntrack(part) => of_connection(part, view),
        Match::Icmp(_) | Match::Icmp6(_) => {
            let [kind, code] = *view.upper_header::<2>()?;
            Some(format!("{kind}/{code}"))
        }
        Match::Mark(_) => Some(format!("{:#x}", view.context.mark())),
        Match::Connmark(_) => Some(format!("{:#x}", view.context.connection()?.mark)),
        Match::Length(_) => Some(view.packet.length().to_string()),
        Match::Ttl(_) | Match::Hl(_) => Some(view.packet.ttl().to_string()),
        Match::Tos(_) => Some(format!("{:#04x}", view.packet.tos())),
        Match::Dscp(_) => Some(format!("{:#04x}", view.packet.tos() >> 2)),
        Match::Iprange(part) if part.source.is_some() => Some(view.source.to_string()),
        Match::Iprange(_) => Some(view.destination.to_string()),
        Match::Addrtype(part) => {
            let address = if part.source.is_some() { view.source } else { view.destination };
            Some(types(part, address, view))
        }
        _ => None,
    }
}

fn port(view: &View<'_>, which: usize) -> Option<String> {
    let header: &[u8; 4] = view.upper_header()?;
    ports_of(header).get(which).map(u16::to_string)
}

/// The packet's states as `--ctstate` has them.
fn states(view: &View<'_>) -> String {
    let States(mut bits) = States::of(view.context.state());
    let status = view.context.connection().map_or(Status(0), |connection| connection.status);
    bits |= if status.has(Status::SRC_NAT) { States::SNAT } else { 0 };
    bits |= if status.has(Status::DST_NAT) { States::DNAT } else { 0 };
    States(bits).names(States::OF_CTSTATE)
}

fn of_connection(part: &Conntrack, view: &View<'_>) -> Option<String> {
    if part.states.is_some() {
        return Some(states(view));
    }
    let Some(connection) = view.context.connection() else {
        return Some("no connection".to_owned());
    };
    let (original, reply) = (connection.original, connection.reply);
    let ends = [original.source(), original.destination(), reply.source(), reply.destination()];
    let address = part.addresses.iter().zip(ends).find(|(asked, _)| asked.is_some());
    if let Some((_, end)) = address {
        return Some(end.to_string());
    }
    let words = [port_words(&original), port_words(&reply)].concat();
    let port = part.ports.iter().zip(words).find(|(asked, _)| asked.is_some());
    if let Some((_, word)) = port {
        return Some(word.to_string());
    }
    if part.direction.is_some() {
        return Some(match connection.direction {
            Direction::Original => "ORIGINAL".to_owned(),
            Direction::Reply => "REPLY".to_owned(),
        });
    }
    if part.protocol.is_some() {
        let number = original.protocol();
        return Some(protocol::name(number).map_or_else(|| number.to_string(), str::to_owned));
    }
    if part.status.is_some() {
        let names = joined(connection.status.0, STATUS);
        return Some(if names.is_empty() { "NONE".to_owned() } else { names });
    }
    Some(connection.expires.to_string())
}

fn types(part: &addrtype::Addrtype, address: IpAddr, view: &View<'_>) -> String {
    let types = view.context.address_types(address, part.device(view));
    format!("{address} is {}", addrtype::names(types))
}
