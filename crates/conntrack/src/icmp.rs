//! ICMP: questions open connections, answers belong to them, errors are RELATED to what they quote.
//!
//! An error has no entry of its own: it belongs to the connection of the packet it quotes, in the
//! direction of that packet's answer, and changes nothing there. Kernel counterpart:
//! `nf_conntrack_proto_icmp.c`. Sources: RFC 792, RFC 950 (address mask), RFC 1122, 3.2.2.

use stateward_wire::{Embedded, Family, IcmpHeader, Packet, protocol};

use crate::decision::{Accept, L4Decision};
use crate::reason::Reason;
use crate::sysctl::span;
use crate::time::Span;
use crate::tracker::L4Context;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;
const ECHO: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;
const INFORMATION: u8 = 15;
const INFORMATION_REPLY: u8 = 16;
const ADDRESS_MASK: u8 = 17;
const ADDRESS_MASK_REPLY: u8 = 18;

/// The highest type that RFC 1122 knows; the kernel discards what is above.
const LAST_TYPE: u8 = ADDRESS_MASK_REPLY;

/// The type of the answer to a question, and the other way round.
#[inline]
pub(crate) const fn inverse_type(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        TIMESTAMP => TIMESTAMP_REPLY,
        TIMESTAMP_REPLY => TIMESTAMP,
        INFORMATION => INFORMATION_REPLY,
        INFORMATION_REPLY => INFORMATION,
        ADDRESS_MASK => ADDRESS_MASK_REPLY,
        ADDRESS_MASK_REPLY => ADDRESS_MASK,
        _ => return None,
    })
}

/// What an ICMP or ICMPv6 message is, before any lookup.
pub(crate) enum Message<'a> {
    /// Looked up by its own tuple.
    Query,
    /// Looked up by the packet it quotes.
    Error(Embedded<'a>),
    /// None of the tracker's business.
    Untracked,
}

/// Reads a message: kernel `nf_conntrack_icmpv4_error`.
pub(crate) fn classify<'a>(
    context: &L4Context<'_>,
    packet: &Packet<'a>,
) -> Result<Message<'a>, Reason> {
    const PROTOCOL: u8 = protocol::ICMP;
    let l4 = packet.l4();
    let header = IcmpHeader::view(l4).ok_or(Reason::ShortHeader { protocol: PROTOCOL })?;
    context.verify_checksum(packet, PROTOCOL)?;
    let kind = header.kind;
    if kind > LAST_TYPE {
        return Err(Reason::IcmpUnknownType { kind });
    }
    let is_error =
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED | PARAMETER_PROBLEM | REDIRECT);
    if !is_error {
        return Ok(Message::Query);
    }
    let quoted = l4.get(size_of::<IcmpHeader>()..).unwrap_or_default();
    Embedded::parse(quoted, Family::V4).map(Message::Error).ok_or(Reason::IcmpUnquotable)
}

/// One question or answer of a connection.
pub(crate) fn packet(context: &L4Context<'_>, packet: &Packet<'_>) -> L4Decision {
    if packet.family() != Family::V4 {
        return L4Decision::Invalid(Reason::IcmpWrongFamily);
    }
    let asks = |kind| matches!(kind, ECHO | TIMESTAMP | INFORMATION | ADDRESS_MASK);
    query(context, packet, asks, span(context.timeouts.icmp_timeout))
}

/// What ICMP and ICMPv6 have in common: a question may open, every message refreshes.
pub(crate) fn query(
    context: &L4Context<'_>,
    packet: &Packet<'_>,
    asks: impl Fn(u8) -> bool,
    timeout: Span,
) -> L4Decision {
    if context.is_new {
        let kind = packet.l4().first().copied().unwrap_or_default();
        if !asks(kind) {
            return L4Decision::Invalid(Reason::IcmpUnasked { kind });
        }
    }
    // The entry outlives the answer: answers may come twice, and each pair of events would cost
    // those who share their state more than the entry.
    L4Decision::Accept(Accept::refresh(timeout))
}
