//! What can be wrong or odd about a packet whatever it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::random::Random;
use super::world::{self, Port};
use crate::build::{Checksum, DONT_FRAGMENT, Packet};

/// Makes the packet an odd one.
pub(super) fn spoil(random: &mut Random, from: Port, packet: &mut Packet) {
    match random.below(16) {
        0..=1 => packet.ttl = random.pick([0, 1, 1, 2, 255]),
        2 => packet.tos = random.byte(),
        3 => packet.fragment = random.pick([DONT_FRAGMENT, 0x8000]),
        4 => packet.checksum = random.pick([Checksum::Wrong, Checksum::Zero]),
        5 => lie(random, packet),
        6..=7 => address(random, packet),
        8 => small(random, from, packet),
        _ if packet.source.is_ipv6() => packet.extensions = extensions(random),
        _ => packet.options = options(random),
    }
}

/// Gives the packet what rules may ask for: a type of service, extension headers, options.
pub(super) fn dress(random: &mut Random, from: Port, packet: &mut Packet) {
    match random.below(4) {
        0 | 1 => packet.tos = random.pick([0x10, 0x28, 0x20, 0xb8, 0x01, 0x02, 0x03, 0x2b]),
        _ if packet.source.is_ipv6() && from != Port::Local && random.chance(10) => {
            packet.extensions = extensions(random)
        }
        _ if packet.source.is_ipv6() => packet.extensions = right_extensions(random),
        _ => packet.options = random.pick([[1, 1, 1, 0], [148, 4, 0, 0], [136, 4, 0, 1]]).to_vec(),
    }
}

/// Lengths that are not the packet's.
fn lie(random: &mut Random, packet: &mut Packet) {
    let length = packet.bytes().len();
    match random.below(4) {
        0 => packet.cut = Some(random.below(length)),
        1 => packet.header_words = Some(random.below(16) as u8),
        2 => packet.length = Some(random.below(length) as u16),
        _ => packet.length = Some(random.pick([0, 1, 8, 19, 20, 21, 39, 40, 41, u16::MAX])),
    }
}

/// Addresses that are not a station's.
fn address(random: &mut Random, packet: &mut Packet) {
    let odd = match packet.source.is_ipv6() {
        false => odd_v4(random),
        true => odd_v6(random),
    };
    if random.chance(50) {
        packet.source = odd;
    } else {
        packet.destination = odd;
    }
}

fn odd_v4(random: &mut Random) -> IpAddr {
    let octets = random.pick([
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 9, 9, 9],
        [224, 0, 0, 1],
        [224, 0, 0, 22],
        [239, 1, 2, 3],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [192, 168, 1, 255],
        [192, 168, 1, 0],
        [192, 168, 1, 1],
        [192, 168, 1, 99],
        [203, 0, 113, 255],
        [203, 0, 113, 1],
        [203, 0, 113, 77],
        [169, 254, 1, 1],
    ]);
    Ipv4Addr::from(octets).into()
}

fn odd_v6(random: &mut Random) -> IpAddr {
    let segments = random.pick([
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0xffff, 0xc633, 0x6405],
        [0xff02, 0, 0, 0, 0, 0, 0, 1],
        [0xff02, 0, 0, 0, 0, 0, 0, 2],
        [0xff02, 0, 0, 0, 0, 0, 0, 0x16],
        [0xff02, 0, 0, 0, 0, 1, 0xff00, 1],
        [0xff05, 0, 0, 0, 0, 0, 0, 2],
        [0xff01, 0, 0, 0, 0, 0, 0, 1],
        [0xff00, 0, 0, 0, 0, 0, 0, 1],
        [0xff0e, 0, 0, 0, 0, 0, 0, 9],
        [0xfe80, 0, 0, 0, 0, 0, 0, 1],
        [0xfe80, 0, 0, 0, 0, 0, 0, 2],
        [0xfec0, 0, 0, 0, 0, 0, 0, 1],
        [0xfd00, 1, 0, 0, 0, 0, 0, 0],
        [0xfd00, 2, 0, 0, 0, 0, 0, 0],
        [0xfd00, 1, 0, 0, 0, 0, 0, 1],
        [0xfd00, 2, 0, 0, 0, 0, 0, 7],
    ]);
    Ipv6Addr::from(segments).into()
}

/// A packet of a stranger, or to a neighbour, or back where it came from.
fn small(random: &mut Random, from: Port, packet: &mut Packet) {
    let v6 = packet.source.is_ipv6();
    match from {
        Port::Lan => packet.destination = world::lan(random, v6).address,
        _ => packet.source = world::lan(random, v6).address,
    }
}

/// IPv4 options: right ones, and such as lie. None that a router writes into.
fn options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    while options.is_empty() || random.chance(30) {
        let option: &[u8] = match random.below(14) {
            0..=1 => &[1],
            2 => &[0],
            // Router alert.
            3 => &[148, 4, 0, 0],
            // Record route: no room at all, a place before the first, one that does not fit.
            4 => random.pick([&[7, 2, 0, 0], &[7, 3, 3, 1], &[7, 6, 4, 0], &[7, 6, 5, 0]]),
            // Timestamps: likewise.
            5 => random.pick([&[68, 3, 5, 1], &[68, 4, 4, 0], &[68, 4, 2, 1]]),
            6 => &[68, 6, 5, 1, 0, 0],
            7 => &[68, 4, 5, 0xf0],
            // Source routes.
            8 => &[131, 7, 4, 198, 51, 100, 6],
            9 => &[137, 7, 8, 198, 51, 100, 6],
            // Stream id, security.
            10 => &[136, 4, 0, 1],
            11 => &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            12 => &[random.pick([25, 94, 158, 205]), random.pick([0, 1, 4, 4, 60]), 9, 9],
            _ => &[random.pick([7, 68, 131, 148, 25, 255])],
        };
        if options.len() + option.len() > 40 {
            break;
        }
        options.extend_from_slice(option);
        // An error tells the source route back, and half an option takes its length from the next.
        if matches!(option, [131 | 137, ..] | [7 | 25 | 68 | 148 | 255]) {
            break;
        }
    }
    options
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;

/// IPv6 extension headers, in and out of order, each from its length byte on.
fn extensions(random: &mut Random) -> Vec<(u8, Vec<u8>)> {
    let mut chain = Vec::new();
    if random.chance(35) {
        chain.push((HOP_BY_HOP, tlv(random)));
    }
    while chain.is_empty() || random.chance(35) {
        let header = match random.below(12) {
            0..=3 => (DESTINATION, tlv(random)),
            4..=5 => (ROUTING, routing(random)),
            // An atomic fragment.
            6 => {
                let id = random.word().to_be_bytes();
                (FRAGMENT, vec![0, 0, 0, id[0], id[1], id[2], id[3]])
            }
            7 => (AUTHENTICATION, {
                let mut header = vec![4, 0, 0];
                header.extend_from_slice(&random.bytes(20));
                header
            }),
            8 => (NOTHING, vec![0; 7]),
            // Mobility, HIP, shim6, experiments, and one out of place.
            9 => (random.pick([135, 139, 140, 253]), vec![0; 7]),
            10 => (HOP_BY_HOP, tlv(random)),
            // A length that leads nowhere.
            _ => (DESTINATION, vec![random.pick([1, 2, 200]), 1, 4, 0, 0, 0, 0]),
        };
        chain.push(header);
    }
    chain
}

/// Options of a hop-by-hop or destination header of eight bytes, or sixteen.
fn tlv(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..=3 => vec![0, 1, 4, 0, 0, 0, 0],
        4 => vec![0, 0, 0, 0, 0, 0, 0],
        // Router alert.
        5 => vec![0, 5, 2, 0, 0, 1, 0],
        6 => vec![1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // An option nobody knows, and what its upper bits ask for.
        7 => vec![0, random.pick([0x1e, 0x5e, 0x9e, 0xde]), 4, 0, 0, 0, 0],
        // A length beyond the header.
        8 => vec![0, 1, random.pick([5, 6, 200]), 0, 0, 0, 0],
        _ => vec![0, 0xc2, 4, 0, 1, 0, 0],
    }
}

fn routing(random: &mut Random) -> Vec<u8> {
    let mut header = vec![2, random.pick([0, 2, 3, 4]), random.pick([0, 0, 1, 9]), 0, 0, 0, 0];
    header.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6).octets());
    header
}

/// Extension headers with which nothing is wrong.
fn right_extensions(random: &mut Random) -> Vec<(u8, Vec<u8>)> {
    let options = [vec![0, 1, 4, 0, 0, 0, 0], vec![0, 5, 2, 0, 0, 1, 0], vec![0, 4, 4, 0, 1, 0, 0]];
    let mut header = |kind| (kind, random.choose(&options).cloned().unwrap_or_default());
    let (hops, way) = (header(HOP_BY_HOP), header(DESTINATION));
    let id = random.word().to_be_bytes();
    let piece = (FRAGMENT, vec![0, 0, 0, id[0], id[1], id[2], id[3]]);
    let routing = (ROUTING, routing(random));
    match random.below(7) {
        0 => vec![hops],
        1 => vec![way],
        2 => vec![hops, way],
        3 => vec![way, routing],
        4 => vec![routing],
        5 => vec![piece],
        _ => vec![hops, piece, way],
    }
}
