//! NAT's rewriting on arbitrary packets.
//!
//! The first bytes say to what the packet is rewritten, the rest is the packet. What holds: nothing
//! panics and no length changes; a packet that is refused is untouched; one that is rewritten has
//! the tuple it was given, its checksums verify as they did, and the way back leads to the packet
//! that it was, but for the two ways to write a checksum of nothing. An ICMP error that is
//! translated quotes a packet with the wanted end.

use std::net::IpAddr;

use stateward_conntrack::{Direction, L4Key, PerDir, Status, Tuple, Zone};
use stateward_nat::Manip;
use stateward_nat::rewrite::{Related, icmp_error, rewrite as rewrite_end};
use stateward_wire::checksum::{Verification, verify_transport};
use stateward_wire::edit::{End, Field};
use stateward_wire::{Packet, protocol};

/// Bytes before the packet: two addresses, two ports, and how.
const HEAD: usize = 37;

/// Rewrites a packet there and back, and translates it as an ICMP error.
pub fn nat_rewrite(bytes: &[u8]) {
    let Some((head, bytes)) = bytes.split_first_chunk::<HEAD>() else { return };
    let mut bytes = bytes.to_vec();
    crate::repair(&mut bytes);
    let parsed = if head[36] & 1 == 0 { Packet::parse(&bytes) } else { Packet::parse_cut(&bytes) };
    let Ok(packet) = parsed else { return };
    let layout = packet.layout();
    let old = Tuple::of(&packet, Zone::DEFAULT).unwrap_or_else(|| addresses_of(&packet));
    let Some(target) = target(head, &old) else { return };
    let field = if head[36] & 2 == 0 { Field::Finished } else { Field::Unfinished };
    there_and_back(&bytes, &packet, field, [&old, &target]);
    let tuples = PerDir([old, target]);
    for (number, direction) in [Direction::Original, Direction::Reply].into_iter().enumerate() {
        let manip = if head[36] & 4 == 0 { Manip::Source } else { Manip::Destination };
        let done = Status::SRC_NAT_DONE | Status::DST_NAT_DONE | Status::SRC_NAT | Status::DST_NAT;
        let status = if head[36] & 8 << number == 0 { done } else { Status(head[36].into()) };
        let related = Related { tuples: &tuples, status, direction };
        let mut edited = bytes.clone();
        let result = icmp_error(&mut edited, layout, field, manip, related);
        assert_eq!(edited.len(), bytes.len());
        let rest = Packet::with_layout(&edited, layout).expect("a packet stays one");
        if result.is_ok() && status.has(manip.translated(direction)) {
            assert_quoted(&rest, manip, &tuples[!direction]);
        }
        if result.is_ok() && field == Field::Finished && !rest.is_cut() {
            let protocol = packet.upper().map_or(0, |upper| upper.protocol);
            assert_ne!(verify_transport(&rest, protocol), Verification::Bad);
        }
    }
}

/// The packet that an ICMP error quotes went the other way: its other end is the tuple's.
fn assert_quoted(error: &Packet<'_>, manip: Manip, tuple: &Tuple) {
    const ICMP: usize = 8;
    let upper = error.upper().map(|upper| upper.protocol);
    let Some(quoted) = error.l4().get(ICMP..) else { return };
    let (at, wanted) = match (manip.end(), tuple.source(), tuple.destination()) {
        (End::Source, _, IpAddr::V4(wanted)) => (16, wanted.octets().to_vec()),
        (End::Destination, IpAddr::V4(wanted), _) => (12, wanted.octets().to_vec()),
        (End::Source, _, IpAddr::V6(wanted)) => (24, wanted.octets().to_vec()),
        (End::Destination, IpAddr::V6(wanted), _) => (8, wanted.octets().to_vec()),
    };
    // Of other protocols a checksum may be where the quotation would begin.
    if matches!(upper, Some(protocol::ICMP | protocol::ICMPV6)) {
        assert_eq!(quoted.get(at..at + wanted.len()), Some(&wanted[..]), "the quoted end");
    }
}

fn addresses_of(packet: &Packet<'_>) -> Tuple {
    let (source, destination) = (packet.source(), packet.destination());
    Tuple::new(source, destination, 0, L4Key::None, Zone::DEFAULT).expect("of one family")
}

fn target(head: &[u8; HEAD], old: &Tuple) -> Option<Tuple> {
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let address = |at: usize| -> Option<IpAddr> {
        Some(match old.source() {
            IpAddr::V4(_) => (*head.get(at..)?.first_chunk::<4>()?).into(),
            IpAddr::V6(_) => (*head.get(at..)?.first_chunk::<16>()?).into(),
        })
    };
    let l4 = match old.l4() {
        L4Key::Ports { .. } => L4Key::Ports { source: word(32), destination: word(34) },
        L4Key::Icmp { kind, code, .. } => L4Key::Icmp { kind, code, id: word(32) },
        L4Key::Gre { source, .. } => L4Key::Gre { source, destination: word(34) },
        L4Key::None => L4Key::None,
    };
    Tuple::new(address(0)?, address(16)?, old.protocol(), l4, Zone::DEFAULT)
}

fn there_and_back(original: &[u8], packet: &Packet<'_>, field: Field, [old, new]: [&Tuple; 2]) {
    let mut bytes = original.to_vec();
    let layout = packet.layout();
    for (end, tuple) in
        [(End::Source, new), (End::Destination, new), (End::Destination, old), (End::Source, old)]
    {
        let before = bytes.clone();
        if rewrite_end(&mut bytes, layout, field, end, tuple.endpoint(end)).is_err() {
            assert_eq!(bytes, before, "a refused packet is untouched");
            return;
        }
        let now = Packet::with_layout(&bytes, layout).expect("a packet stays one");
        let (address, wanted) = match end {
            End::Source => (now.source(), tuple.source()),
            End::Destination => (now.destination(), tuple.destination()),
        };
        assert_eq!(address, wanted);
        let upper = packet.upper().map_or(0, |upper| upper.protocol);
        // UDP-Lite without a checksum is wrong, and gets one.
        let none = upper == protocol::UDPLITE && packet.l4().get(6..8) == Some(&[0, 0]);
        if field == Field::Finished && !none && !matches!(upper, protocol::SCTP | protocol::DCCP) {
            // A wrong one may come to look unfinished.
            let verdict = |packet: &Packet<'_>| match verify_transport(packet, upper) {
                Verification::Unfinished => Verification::Bad,
                other => other,
            };
            assert_eq!(verdict(&now), verdict(packet));
        }
    }
    let differ: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != original[at]).collect();
    let upper = packet.upper();
    for at in differ {
        let crc = upper.is_some_and(|upper| upper.protocol == protocol::SCTP);
        let nothing = |at: usize| matches!(original.get(at..at + 2), Some([0, 0] | [0xff, 0xff]));
        assert!(crc || nothing(at) || nothing(at - 1), "byte {at} did not come back");
    }
}
