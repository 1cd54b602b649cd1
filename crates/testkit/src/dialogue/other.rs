//! GRE, and the protocols that have no tracker: DCCP, ESP, AH, and whatever else has a number. Those
//! that rules look into mostly have headers of the right form.

use super::random::Random;
use super::world::{self, Station};
use super::{Flow, Memory, Said};
use crate::build::{Gre, Packet, Transport};

/// Two stations that speak GRE.
pub(super) struct Tunnel {
    ends: [Station; 2],
    calls: [u16; 2],
    pptp: bool,
    left: usize,
}

impl Tunnel {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        let (client, server) = world::pair(random, v6);
        let calls = [random.pick([0, 7, 4711]), random.pick([0, 7, 815])];
        let pptp = random.chance(50);
        Self { ends: [client, server], calls, pptp, left: 1 + random.below(8) }
    }
}

impl Flow for Tunnel {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let by = random.below(2);
        let length = random.pick([0, 1, 20, 200]);
        let payload = random.bytes(length);
        let mut gre = match self.pptp {
            true => Gre::pptp(self.calls[by], random.word(), &payload),
            false => {
                let key = random.chance(50).then(|| random.word());
                Gre::plain(key, &payload)
            }
        };
        match random.below(20) {
            0 => gre.flags = random.half(),
            1 => gre.flags = gre.flags & !7 | random.below(8) as u16,
            2 => gre.protocol = random.pick([0x0800, 0x880b, 0x6558, 0]),
            _ => {}
        }
        let (from, to) = (self.ends[by], self.ends[1 - by]);
        let mut packet = Packet::new(from.address, to.address, Transport::Gre(gre));
        if random.chance(6) {
            let header = if packet.source.is_ipv6() { 0 } else { 20 };
            packet.length = Some(header + random.below(13) as u16);
        }
        Some(Said { from: from.port, packet })
    }
}

/// Two stations that speak a protocol of which nobody knows anything.
pub(super) struct Unknown {
    ends: [Station; 2],
    protocol: u8,
    left: usize,
}

/// IGMP, IP in IP, EGP, IPv6 in IP, RSVP, OSPF, PIM, VRRP, L2TP, MPLS, for tests, reserved; and
/// each ICMP in the other family; IPComp and mobility.
const NUMBERS: [u8; 18] =
    [2, 4, 8, 41, 46, 89, 103, 108, 112, 115, 135, 137, 253, 254, 255, 3, 1, 58];

impl Unknown {
    pub(super) fn open(random: &mut Random, v6: bool, protocol: Option<u8>) -> Self {
        let (client, server) = world::pair(random, v6);
        let mut number = protocol.unwrap_or_else(|| match random.below(4) {
            0 => 108,
            1 if v6 => 135,
            _ => random.pick(NUMBERS),
        });
        // That one would not be unknown here.
        if number == if v6 { 58 } else { 1 } {
            number = 59 - number;
        }
        Self { ends: [client, server], protocol: number, left: 1 + random.below(6) }
    }
}

impl Flow for Unknown {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let by = random.below(2);
        let (from, to) = (self.ends[by], self.ends[1 - by]);
        let length = random.pick([0, 1, 4, 8, 24, 100, 1000]);
        let mut bytes = match random.chance(70) {
            true => header(random, self.protocol),
            false => Vec::new(),
        };
        bytes.extend(random.bytes(length));
        if let (1 | 58, Some(kind)) = (self.protocol, bytes.first_mut()) {
            // A question, though of the other family.
            *kind = random.pick([8, 0, 128, 129, *kind]);
        }
        let transport = Transport::Raw { protocol: self.protocol, bytes };
        let packet = Packet::new(from.address, to.address, transport);
        Some(Said { from: from.port, packet })
    }
}

/// A header of the protocol, if rules look into that.
fn header(random: &mut Random, protocol: u8) -> Vec<u8> {
    let index = random.byte() & 3;
    match protocol {
        33 => dccp(random),
        50 => vec![0, 0, 1, index, 0, 0, 0, 1],
        // What it authenticates is nothing, or nothing that anybody knows.
        51 => {
            let next = random.pick([59, 253]);
            let reserved = random.pick([0, 0, 0, 1]);
            let header = [next, 4, 0, reserved, 0, 0, 1, index];
            [header.as_slice(), &random.bytes(16)].concat()
        }
        108 => vec![random.pick([6, 17]), 0, random.pick([0, 1]), random.pick([2, 1, 0])],
        // Nothing may follow a mobility header.
        135 => vec![random.pick([59, 59, 59, 6]), 0, random.below(11) as u8, 0, 0, 0, 0, 0],
        _ => Vec::new(),
    }
}

/// A header of DCCP with options: its length field may lie.
fn dccp(random: &mut Random) -> Vec<u8> {
    let (client, server) = world::ports(random);
    let kind = random.below(11) as u8;
    let long = random.chance(70);
    let options: &[u8] = random.pick::<&[u8], 8>([
        &[],
        &[0, 0, 0, 0],
        &[1, 32, 3, 0],
        &[2, 41, 4, 9, 9, 0, 0, 0],
        &[41, 6, 0, 0, 0, 1, 1, 1],
        &[41, 1, 0, 0],
        &[0, 0, 0, 41],
        &[33, 200, 0, 0],
    ]);
    // RFC 4340, 5.1: what follows the sequence number is the type's.
    let rest = match kind {
        0 => 4,
        1 | 7 => 12,
        2 => 0,
        _ => 8,
    };
    let sequence = if long { 16 } else { 12 };
    let words = (sequence + rest + options.len()) / 4;
    let offset = if random.chance(85) { words as u8 } else { random.byte() };
    let mut header = [client.to_be_bytes(), server.to_be_bytes()].concat();
    header.extend([offset, 0, 0, 0, kind << 1 | u8::from(long)]);
    header.resize(sequence + rest, 0);
    header.extend_from_slice(options);
    header
}
