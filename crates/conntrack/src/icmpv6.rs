//! ICMPv6: as ICMP, but for what neighbours and multicast routers tell each other, which is
//! UNTRACKED.
//!
//! Kernel counterpart: `nf_conntrack_proto_icmpv6.c`. Sources: RFC 4443, RFC 4861 (neighbours,
//! redirect), RFC 4620 (node information), RFC 2710 and 3810 (multicast listeners).

use stateward_wire::{Embedded, Family, Icmpv6Header, Network, Packet, protocol};

use crate::decision::L4Decision;
use crate::icmp::{Message, query};
use crate::reason::Reason;
use crate::sysctl::span;
use crate::tracker::L4Context;

const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;
const LISTENER_QUERY: u8 = 130;
const LISTENER_DONE: u8 = 132;
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const NODE_QUERY: u8 = 139;
const NODE_REPLY: u8 = 140;
const LISTENER_REPORT_V2: u8 = 143;
const ROUTER_MULTICAST_ADVERTISEMENT: u8 = 151;
const ROUTER_MULTICAST_SOLICITATION: u8 = 152;

/// Types below this are errors.
const FIRST_QUERY: u8 = 128;

/// The type of the answer to a question, and the other way round.
#[inline]
pub(crate) const fn inverse_type(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        NODE_QUERY => NODE_REPLY,
        NODE_REPLY => NODE_QUERY,
        _ => return None,
    })
}

/// Talk between neighbours, which no entry could account for.
const fn is_untracked(kind: u8) -> bool {
    matches!(kind, LISTENER_QUERY..=LISTENER_DONE)
        || matches!(kind, ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT)
        || matches!(kind, LISTENER_REPORT_V2)
        || matches!(kind, ROUTER_MULTICAST_ADVERTISEMENT | ROUTER_MULTICAST_SOLICITATION)
}

/// Reads a message: kernel `nf_conntrack_icmpv6_error`.
pub(crate) fn classify<'a>(
    context: &L4Context<'_>,
    packet: &Packet<'a>,
) -> Result<Message<'a>, Reason> {
    const PROTOCOL: u8 = protocol::ICMPV6;
    let l4 = packet.l4();
    let header = Icmpv6Header::view(l4).ok_or(Reason::ShortHeader { protocol: PROTOCOL })?;
    context.verify_checksum(packet, PROTOCOL)?;
    let kind = header.kind;
    if is_untracked(kind) {
        return Ok(Message::Untracked);
    }
    if kind == REDIRECT {
        return redirect(packet);
    }
    if kind >= FIRST_QUERY {
        return Ok(Message::Query);
    }
    let quoted = l4.get(size_of::<Icmpv6Header>()..).unwrap_or_default();
    Embedded::parse(quoted, Family::V6).map(Message::Error).ok_or(Reason::IcmpUnquotable)
}

/// A redirect must come from a router on the link and bring the packet it is about.
fn redirect<'a>(packet: &Packet<'a>) -> Result<Message<'a>, Reason> {
    /// Header, target, destination.
    const FIXED: usize = 40;
    const REDIRECTED_HEADER: u8 = 4;
    /// Type, length in units of 8 bytes, then 6 reserved bytes before the packet.
    const OPTION_HEADER: usize = 8;
    let l4 = packet.l4();
    if l4.len() < FIXED {
        return Err(Reason::ShortHeader { protocol: protocol::ICMPV6 });
    }
    // A code that RFC 4861 does not know: looked up as a query, where it has no answer.
    if l4.get(1) != Some(&0) {
        return Ok(Message::Query);
    }
    let from_neighbour = match packet.network() {
        Network::V6(header) => {
            let link_local = header.source[0] == 0xfe && header.source[1] & 0xc0 == 0x80;
            header.hop_limit == 255 && link_local
        }
        Network::V4(_) => false,
    };
    if !from_neighbour {
        return Err(Reason::RedirectNotLinkLocal);
    }
    let option = l4.get(FIXED..).unwrap_or_default();
    match option {
        [_, 0, ..] | [] | [_] => Err(Reason::RedirectUnquoted),
        [REDIRECTED_HEADER, ..] => {
            let quoted = option.get(OPTION_HEADER..).unwrap_or_default();
            Embedded::parse(quoted, Family::V6).map(Message::Error).ok_or(Reason::IcmpUnquotable)
        }
        // Only the first option is looked at; about which packet it is stays unknown.
        _ => Ok(Message::Query),
    }
}

/// One question or answer of a connection.
pub(crate) fn packet(context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    if packet.family() != Family::V6 {
        return L4Decision::Invalid(Reason::IcmpWrongFamily);
    }
    let asks = |kind| matches!(kind, ECHO | NODE_QUERY);
    query(context, packet, asks, span(context.timeouts.icmpv6_timeout))
}
