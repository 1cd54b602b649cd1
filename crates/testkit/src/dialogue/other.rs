//! GRE, and the protocols that have no tracker: DCCP, ESP, AH, and whatever else has a number.

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
/// each ICMP in the other family.
const NUMBERS: [u8; 16] = [2, 4, 8, 41, 46, 89, 103, 112, 115, 137, 253, 254, 255, 3, 1, 58];

impl Unknown {
    pub(super) fn open(random: &mut Random, v6: bool, protocol: Option<u8>) -> Self {
        let (client, server) = world::pair(random, v6);
        let mut number = protocol.unwrap_or_else(|| random.pick(NUMBERS));
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
        let mut bytes = random.bytes(length);
        if let (1 | 58, Some(kind)) = (self.protocol, bytes.first_mut()) {
            // A question, though of the other family.
            *kind = random.pick([8, 0, 128, 129, *kind]);
        }
        let transport = Transport::Raw { protocol: self.protocol, bytes };
        let packet = Packet::new(from.address, to.address, transport);
        Some(Said { from: from.port, packet })
    }
}
