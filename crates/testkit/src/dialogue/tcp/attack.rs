//! Segments of those who know the numbers of a connection nearly, or do not care.

use super::super::random::Random;
use super::{Connection, Segment};
use crate::build::{
    Checksum, Packet, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, TcpOption, Transport,
};

/// What a TCP may send.
const LEGAL: [u8; 9] = [
    TCP_SYN,
    TCP_SYN | TCP_ACK,
    TCP_ACK,
    TCP_ACK | TCP_PSH,
    TCP_ACK | TCP_URG,
    TCP_FIN | TCP_ACK,
    TCP_RST,
    TCP_RST | TCP_ACK,
    TCP_SYN | TCP_URG,
];

/// The rows of the state tables.
const TABLE: [u8; 5] = [TCP_SYN, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_ACK, TCP_RST];

/// A segment of an attacker, or of an end that has lost its memory. The ends do not know of it but,
/// now and then, the one it pretends to come from.
pub(super) fn segment(connection: &mut Connection, random: &mut Random) -> Segment {
    let by = random.below(2);
    let flags = match random.below(20) {
        0 => random.byte(),
        _ if connection.tour.is_some() => random.pick(TABLE),
        _ => random.pick(LEGAL),
    };
    let mut segment = connection.segment(by, flags, random.pick([0, 0, 0, 1, 100, 1400]));
    let (end, peer) = (&connection.ends[by], &connection.ends[1 - by]);
    let edge = peer.expected.wrapping_add(peer.room());
    let seqs = [end.first, end.acknowledged, peer.expected, edge, edge.wrapping_add(peer.room())];
    segment.seq = near(random, end.next, &seqs);
    let acks = [peer.first, peer.acknowledged, end.expected, peer.next.wrapping_sub(66_000)];
    segment.ack = near(random, peer.next, &acks);
    if random.chance(40) {
        segment.ack = end.expected;
    }
    if connection.tour.is_some() && random.chance(60) {
        segment.seq = end.next;
    }
    if random.chance(30) {
        segment.window = random.pick([0, 1, 1000, 65535]);
    }
    if flags & TCP_SYN != 0 && random.chance(70) {
        segment.options = connection.offers(random, by);
    }
    if random.chance(4) {
        segment.options.push(odd_option(random));
    }
    if random.chance(20) {
        let arrives = random.chance(50);
        connection.learn(&segment, arrives);
    }
    segment
}

/// A number at or around one of those that matter: `most` in half of all cases.
pub(super) fn near(random: &mut Random, most: u32, others: &[u32]) -> u32 {
    let base = match random.below(20) {
        0..=9 => most,
        10..=17 => random.choose(others).copied().unwrap_or(most),
        18 => 0,
        _ => random.word(),
    };
    let offset = match random.below(20) {
        0..=8 => 0,
        9..=10 => 1,
        11..=12 => u32::MAX,
        13 => 2,
        14 => 1400,
        15 => 1400u32.wrapping_neg(),
        16 => random.below(70_000) as u32,
        17 => (random.below(70_000) as u32).wrapping_neg(),
        18 => random.below(1 << 30) as u32,
        _ => (random.below(1 << 30) as u32).wrapping_neg(),
    };
    base.wrapping_add(offset)
}

/// An option that is not what it says, or that nobody knows.
pub(super) fn odd_option(random: &mut Random) -> TcpOption {
    match random.below(8) {
        // No end, no length, a length that lies.
        0 => TcpOption::Raw(vec![random.byte()]),
        1 => TcpOption::Raw(vec![3]),
        2 => TcpOption::Raw(vec![random.pick([2, 3, 4, 5, 8]), random.pick([0, 1, 2, 60])]),
        3 => TcpOption::Raw(vec![3, 4, 7, 7]),
        4 => TcpOption::Raw(vec![5, 9, 0, 0, 0, 0, 0, 0, 0]),
        5 => TcpOption::Sack(vec![]),
        // The end of the list, then what does not count.
        6 => TcpOption::Raw(vec![0, 3, 3, 9]),
        _ => {
            let length = random.below(12);
            TcpOption::Raw(random.bytes(length))
        }
    }
}

/// A header that lies, is cut, or does not sum up.
pub(super) fn spoil_header(random: &mut Random, packet: &mut Packet) {
    let header = if packet.source.is_ipv6() { 0 } else { 20 };
    let Transport::Tcp(tcp) = &mut packet.transport else { return };
    match random.below(5) {
        0 => tcp.checksum = Checksum::Wrong,
        1 => tcp.checksum = random.pick([Checksum::Zero, Checksum::Offloaded]),
        2 => tcp.header_words = Some(random.below(16) as u8),
        3 => tcp.reserved = random.below(16) as u8,
        _ => packet.length = Some(header + random.below(28) as u16),
    }
}
