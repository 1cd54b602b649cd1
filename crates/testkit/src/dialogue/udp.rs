//! UDP and UDP-Lite: a question, answers, and what is wrong with them.

use super::random::Random;
use super::world::{self, Station};
use super::{Flow, Memory, Said};
use crate::build::{Checksum, Packet, Transport, Udp, internet_checksum};

/// Two ports that talk.
pub(super) struct Exchange {
    ends: [(Station, u16); 2],
    lite: bool,
    left: usize,
}

impl Exchange {
    pub(super) fn open(random: &mut Random, v6: bool, lite: bool) -> Self {
        let (client, server) = world::pair(random, v6);
        let (client_port, server_port) = world::ports(random);
        let left = 1 + random.below(12);
        Self { ends: [(client, client_port), (server, server_port)], lite, left }
    }
}

impl Flow for Exchange {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let [client, server] = self.ends;
        let (from, to) = if random.chance(60) { (client, server) } else { (server, client) };
        let length = random.pick([0, 1, 7, 24, 100, 1200]);
        let mut udp = Udp {
            source_port: from.1,
            destination_port: to.1,
            payload: random.bytes(length),
            ..Udp::default()
        };
        if self.lite {
            let covered = 8 + random.below(length + 1) as u16;
            udp.coverage = Some(random.pick([0, 8, covered, covered]));
        }
        let mut packet = Packet::new(from.0.address, to.0.address, Transport::Udp(udp));
        if random.chance(12) {
            spoil(random, &mut packet);
        }
        if self.lite && random.chance(70) {
            sum_as_udp(&mut packet);
        }
        Some(Said { from: from.0.port, packet })
    }
}

/// A datagram that is not quite right.
fn spoil(random: &mut Random, packet: &mut Packet) {
    let header = if packet.source.is_ipv6() { 0 } else { 20 };
    let Transport::Udp(udp) = &mut packet.transport else { return };
    let whole = 8 + udp.payload.len() as u16;
    match random.below(7) {
        0 | 1 => udp.checksum = Checksum::Zero,
        2 => udp.checksum = Checksum::Wrong,
        3 => udp.checksum = Checksum::Offloaded,
        // Cut within the header, and said so.
        4 => packet.length = Some(header + random.below(9) as u16),
        _ => {
            let length = random.pick([0, 7, 8, whole - 1, whole + 1, u16::MAX]);
            match udp.coverage {
                Some(_) => udp.coverage = Some(length),
                None => udp.length = Some(length),
            }
        }
    }
}

/// Gives a UDP-Lite datagram the checksum that Linux 6.18 asks for: it puts UDP's number into the
/// pseudo-header.
fn sum_as_udp(packet: &mut Packet) {
    let Transport::Udp(Udp { checksum: Checksum::Right, coverage: Some(coverage), .. }) =
        packet.transport
    else {
        return;
    };
    let laid_out = packet.bytes();
    let (addresses, header) = if packet.source.is_ipv6() { (8, 40) } else { (12, 20) };
    let mut bytes = laid_out.get(header..).unwrap_or_default().to_vec();
    if bytes.len() < 8 {
        return;
    }
    let length = (bytes.len() as u16).to_be_bytes();
    let covered = if coverage == 0 { bytes.len() } else { usize::from(coverage).min(bytes.len()) };
    bytes.splice(6..8, [0, 0]);
    let addresses = laid_out.get(addresses..header).unwrap_or_default();
    let covered = bytes.get(..covered).unwrap_or_default();
    let pseudo = [0, 17, length[0], length[1]];
    let sum = internet_checksum(&[addresses, &pseudo, covered].concat());
    bytes.splice(6..8, if sum == 0 { [0xff; 2] } else { sum.to_be_bytes() });
    packet.transport = Transport::Raw { protocol: 136, bytes };
}
