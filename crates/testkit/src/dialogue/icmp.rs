//! ICMP and ICMPv6: questions with their answers, and errors about what others have said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::random::Random;
use super::world::{self, Port, Station};
use super::{Flow, Memory, Said};
use crate::build::{Checksum, Icmp, Packet, Transport};

/// Questions and their answers, IPv4.
const QUESTIONS_V4: [(u8, u8); 4] = [(8, 0), (13, 14), (15, 16), (17, 18)];
/// Questions and their answers, IPv6.
const QUESTIONS_V6: [(u8, u8); 2] = [(128, 129), (139, 140)];

/// Two stations that ask and answer, and anything else of the protocol.
pub(super) struct Questions {
    ends: [Station; 2],
    id: u16,
    kinds: (u8, u8),
    code: u8,
    sequence: u16,
    left: usize,
}

impl Questions {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        let (client, server) = world::pair(random, v6);
        let kinds = match v6 {
            false => random.pick(QUESTIONS_V4),
            true => random.pick(QUESTIONS_V6),
        };
        Self {
            ends: [client, server],
            id: random.pick([0, 1, 77, 4711]),
            kinds,
            code: if random.chance(10) { random.pick([1, 3, 255]) } else { 0 },
            sequence: 0,
            left: 1 + random.below(10),
        }
    }
}

impl Flow for Questions {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let [client, server] = self.ends;
        let asks = random.chance(60);
        let (from, to) = if asks { (client, server) } else { (server, client) };
        let mut kind = if asks { self.kinds.0 } else { self.kinds.1 };
        self.sequence += 1;
        if random.chance(12) {
            kind = random.byte() >> random.pick([0, 0, 3]);
        }
        let mut packet =
            Packet::icmp(from.address, to.address, kind, self.code, self.id, self.sequence);
        let length = random.pick([0, 8, 40, 56]);
        packet = packet.payload(&random.bytes(length));
        if random.chance(8) {
            spoil(random, &mut packet);
        }
        Some(Said { from: from.port, packet })
    }
}

/// What routers, hosts and listeners of one link tell each other: ICMPv6 only.
pub(super) struct Neighbours {
    left: usize,
}

impl Neighbours {
    pub(super) fn open(random: &mut Random) -> Self {
        Self { left: 1 + random.below(6) }
    }
}

impl Flow for Neighbours {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let kind = random.pick([130, 131, 132, 133, 134, 135, 136, 141, 143, 148, 151, 152]);
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let solicited = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
        let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let station = world::lan(random, true);
        let source = match random.below(6) {
            0 => Ipv6Addr::UNSPECIFIED.into(),
            1 | 2 => station.address,
            _ => link_local.into(),
        };
        let destination = match random.below(6) {
            0 => world::host(random, true).address,
            1 => world::wan(random, true).address,
            2 => all_nodes.into(),
            3 => solicited.into(),
            _ => all_routers.into(),
        };
        let mut packet = Packet::icmp(source, destination, kind, 0, 0, 0);
        packet.ttl = random.pick([255, 255, 1, 64]);
        packet = packet.payload(&random.bytes(16));
        if random.chance(10) {
            spoil(random, &mut packet);
        }
        Some(Said { from: random.pick([Port::Lan, Port::Wan]), packet })
    }
}

/// Errors about what others have said.
pub(super) struct Errors {
    v6: bool,
    left: usize,
}

impl Errors {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        Self { v6, left: 1 + random.below(8) }
    }

    fn nonsense(&self, random: &mut Random) -> (Port, Vec<u8>) {
        let length = random.below(60);
        let mut bytes = random.bytes(length);
        if let Some(first) = bytes.first_mut() {
            *first = if self.v6 { 0x60 } else { 0x45 };
        }
        (Port::Lan, bytes)
    }
}

impl Flow for Errors {
    fn speak(&mut self, random: &mut Random, memory: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let said = memory.recall(random, self.v6).cloned();
        let (entered, mut quoted) = match said {
            Some(said) if !random.rarely(30) => said,
            _ => self.nonsense(random),
        };
        let (teller, sender) = about(random, self.v6, entered, &quoted);
        if random.chance(25) {
            mangle(random, &mut quoted);
        }
        let mut quote = quoted;
        if random.chance(60) {
            quote.truncate(if self.v6 { 48 } else { 28 });
        } else if random.chance(20) {
            let keep = random.below(quote.len() + 1);
            quote.truncate(keep);
        }
        let (kind, code) = match self.v6 {
            false => (random.pick([3, 3, 3, 4, 5, 11, 11, 12]), random.below(16) as u8),
            true => (random.pick([1, 1, 2, 3, 3, 4, 0, 100, 127]), random.below(8) as u8),
        };
        let mut packet = Packet::icmp_error(teller.address, sender, kind, code, &quote);
        if self.v6 && random.chance(25) {
            redirect(random, &mut packet, &quote);
        }
        if random.chance(5) {
            spoil(random, &mut packet);
        }
        Some(Said { from: teller.port, packet })
    }
}

/// Who tells of a packet's end, and whom: mostly a station on the packet's way, and its sender.
fn about(random: &mut Random, v6: bool, entered: Port, quoted: &[u8]) -> (Station, IpAddr) {
    let (source, destination) = addresses(v6, quoted);
    let port = match entered {
        Port::Lan => Port::Wan,
        Port::Wan => Port::Lan,
        Port::Local => random.pick([Port::Lan, Port::Wan]),
    };
    let mut teller = Station { port, address: destination };
    if random.chance(40) {
        teller = match port {
            Port::Lan => world::lan(random, v6),
            _ => world::wan(random, v6),
        };
    }
    if random.rarely(30) {
        teller = world::host(random, v6);
    }
    let sender = if random.chance(12) { world::pair(random, v6).0.address } else { source };
    (teller, sender)
}

/// Source and destination that a quotation states, whatever of it is there.
fn addresses(v6: bool, quoted: &[u8]) -> (IpAddr, IpAddr) {
    let part = |at: usize, length: usize| quoted.get(at..at + length).unwrap_or_default();
    if v6 {
        let address = |at| {
            let bytes: [u8; 16] = part(at, 16).try_into().unwrap_or([0xfd; 16]);
            IpAddr::from(Ipv6Addr::from(bytes))
        };
        return (address(8), address(24));
    }
    let address = |at| {
        let bytes: [u8; 4] = part(at, 4).try_into().unwrap_or([192, 168, 1, 10]);
        IpAddr::from(Ipv4Addr::from(bytes))
    };
    (address(12), address(16))
}

/// A quotation that is not quite what was said.
fn mangle(random: &mut Random, quoted: &mut [u8]) {
    let header = if quoted.first().is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 };
    let place = match random.below(6) {
        0 => 0,
        1 => random.below(header),
        2 => header + random.below(4),
        3 if header == 20 => random.pick([6, 7, 9]),
        3 => 6,
        _ => random.below(quoted.len()),
    };
    if let Some(byte) = quoted.get_mut(place) {
        *byte ^= 1 << random.below(8);
    }
}

/// Makes it an ICMPv6 redirect, a right one half of the time.
fn redirect(random: &mut Random, packet: &mut Packet, quote: &[u8]) {
    if random.chance(80) {
        packet.ttl = 255;
    }
    if random.chance(80) {
        packet.source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into();
    }
    let Transport::Icmp(icmp) = &mut packet.transport else { return };
    (icmp.kind, icmp.rest) = (137, 0);
    icmp.code = u8::from(random.chance(15));
    let mut body = random.bytes(32);
    if random.chance(35) {
        // Nothing of an option, half a header of one, or not even a target.
        body.push(random.byte());
        body.truncate(random.pick([0, 7, 31, 32, 32, 32, 33]));
        icmp.body = body;
        return;
    }
    let words = (quote.len() + 8).div_ceil(8) as u8;
    let option = if random.chance(85) { 4 } else { random.pick([1, 2, 0]) };
    let length = if random.chance(75) { words } else { random.pick([0, 0, 1, 255]) };
    body.extend_from_slice(&[option, length, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(quote);
    icmp.body = body;
}

/// A message that is not quite right.
fn spoil(random: &mut Random, packet: &mut Packet) {
    let header = if packet.source.is_ipv6() { 0 } else { 20 };
    let kept = random.below(9) as u16;
    let Transport::Icmp(Icmp { checksum, .. }) = &mut packet.transport else { return };
    match random.below(3) {
        0 => *checksum = Checksum::Wrong,
        1 => *checksum = Checksum::Zero,
        _ => packet.length = Some(header + kept),
    }
}
