//! Protocols that have a helper: conversations that announce others, and what is wrong with them.
//!
//! A [`Conversation`] has its two ends, and what they say is in [`words`]: greetings, announcements
//! true and false, from the side that makes them or the other one. Who was announced comes, or
//! somebody else does, or nobody; once, or again. Besides:
//!
//! - a text is cut in two segments, or two are in one; the first half gets lost, or comes last;
//! - a segment is said again, with the same text or another one;
//! - sequence numbers and checksums are wrong;
//! - the conversation begins in its middle, or ends and goes on.

mod pptp;
mod sip;
mod words;

use std::collections::VecDeque;

use super::random::Random;
use super::world::{self, Station};
use super::{Flow, Memory, Said};
use crate::build::{Checksum, Packet, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, Transport, Udp};

use words::{CLIENT, Kind, SERVER, Text};

/// Two ends that talk, and those who come of it.
pub(super) struct Conversation {
    kind: Kind,
    ends: [(Station, u16); 2],
    /// Next sequence number of either end.
    next: [u32; 2],
    begun: bool,
    /// What comes next.
    queue: VecDeque<Said>,
    /// What was said lately.
    said: VecDeque<Said>,
    /// Who listens where, the latest last.
    listening: Vec<(usize, u16)>,
    /// Percentage of texts that are not as they should be.
    noise: usize,
    left: usize,
}

/// So much of what was said is remembered.
const REMEMBERED: usize = 12;

impl Conversation {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        let kind = Kind::draw(random, v6);
        let (client, server) = world::pair(random, v6);
        let client_port = kind.client_port(random);
        let port = if random.chance(95) { kind.port() } else { 80 };
        Self {
            kind,
            ends: [(client, client_port), (server, port)],
            next: [random.word(), random.word()],
            begun: false,
            queue: VecDeque::new(),
            said: VecDeque::new(),
            listening: Vec::new(),
            noise: random.pick([0, 0, 10, 30, 60]),
            left: random.pick([8, 16, 30, 50]),
        }
    }

    fn go_on(&mut self, random: &mut Random) {
        if !std::mem::replace(&mut self.begun, true) {
            return self.begin(random);
        }
        match random.below(100) {
            0..=14 => self.greet(random),
            15..=54 => self.announce(random),
            55..=79 => self.visit(random),
            80..=87 => self.again(random),
            88..=94 if self.kind.is_tcp() => self.acknowledge(random),
            95..=96 if self.kind.is_tcp() => self.close(random),
            _ => self.announce(random),
        }
    }

    fn begin(&mut self, random: &mut Random) {
        if !self.kind.is_tcp() || random.chance(5) {
            return self.greet(random);
        }
        self.segment(CLIENT, TCP_SYN, &[]);
        self.segment(SERVER, TCP_SYN | TCP_ACK, &[]);
        self.segment(CLIENT, TCP_ACK, &[]);
        if random.chance(60) {
            self.greet(random);
        }
    }

    fn greet(&mut self, random: &mut Random) {
        let by = random.below(2);
        let text = self.kind.greeting(random, by);
        self.utter(random, by, &text);
    }

    fn announce(&mut self, random: &mut Random) {
        let ends = self.ends.map(|(station, port)| station.at(port));
        for Text { by, bytes, listens } in self.kind.announcement(random, ends) {
            let by = if random.chance(self.noise / 8) { 1 - by } else { by };
            let mut bytes = bytes;
            if random.chance(self.noise) {
                words::spoil(random, &mut bytes);
            }
            if random.chance(6) {
                bytes.extend(self.kind.greeting(random, by));
            }
            self.listening.extend(listens.map(|port| (by, port)));
            self.utter(random, by, &bytes);
        }
    }

    /// Says a text, in one piece or in two, well or badly.
    fn utter(&mut self, random: &mut Random, by: usize, text: &[u8]) {
        if !self.kind.is_tcp() {
            return self.datagram(random, by, text);
        }
        let at = if random.chance(self.noise / 4) { random.below(text.len()) } else { 0 };
        let (first, second) = text.split_at_checked(at).unwrap_or((text, &[]));
        let begun = self.queue.len();
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            self.segment(by, TCP_ACK | TCP_PSH, part);
        }
        if random.chance(self.noise / 3) {
            self.disturb(random, begun);
        }
    }

    /// Something is wrong with the segments queued from a place on.
    fn disturb(&mut self, random: &mut Random, begun: usize) {
        let Some(last) = self.queue.len().checked_sub(1).filter(|last| *last >= begun) else {
            return;
        };
        match random.below(6) {
            // The first one gets lost.
            0 => drop(self.queue.remove(begun)),
            1 => self.queue.swap(begun, last),
            2 => {
                let again = self.queue.get(begun).cloned();
                self.queue.extend(again);
            }
            3 => {
                let mut again = self.queue.get(begun).cloned();
                if let Some(Said {
                    packet: Packet { transport: Transport::Tcp(tcp), .. }, ..
                }) = &mut again
                {
                    words::spoil(random, &mut tcp.payload);
                }
                self.queue.extend(again);
            }
            way => {
                let Some(Said { packet, .. }) = self.queue.get_mut(last) else { return };
                let Transport::Tcp(tcp) = &mut packet.transport else { return };
                if way == 4 {
                    let by = random.pick([1, 2, u32::MAX, 0x8000_0000]);
                    tcp.sequence = tcp.sequence.wrapping_add(by);
                } else {
                    tcp.checksum = Checksum::Wrong;
                }
            }
        }
    }

    fn datagram(&mut self, random: &mut Random, by: usize, text: &[u8]) {
        let [(from, source_port), (to, destination_port)] = self.between(by);
        let mut udp =
            Udp { source_port, destination_port, payload: text.to_vec(), ..Udp::default() };
        if random.chance(self.noise / 6) {
            udp.checksum = random.pick([Checksum::Zero, Checksum::Wrong]);
        }
        let packet = Packet::new(from.address, to.address, Transport::Udp(udp));
        self.queue.push_back(Said { from: from.port, packet });
    }

    /// The one who speaks, and the other.
    fn between(&self, by: usize) -> [(Station, u16); 2] {
        let [client, server] = self.ends;
        if by == CLIENT { [client, server] } else { [server, client] }
    }

    fn segment(&mut self, by: usize, flags: u8, data: &[u8]) {
        let [(from, source), (to, destination)] = self.between(by);
        let [sequence, ack] = if by == CLIENT { self.next } else { [self.next[1], self.next[0]] };
        let ack = if flags & TCP_ACK == 0 { 0 } else { ack };
        let packet =
            Packet::tcp(from.at(source), to.at(destination), flags, sequence, ack).payload(data);
        let counts = u32::from(flags & TCP_SYN != 0) + u32::from(flags & TCP_FIN != 0);
        if let Some(next) = self.next.get_mut(by) {
            *next = sequence.wrapping_add(data.len() as u32 + counts);
        }
        self.queue.push_back(Said { from: from.port, packet });
    }

    /// Who was announced comes, or somebody else.
    fn visit(&mut self, random: &mut Random) {
        let latest = self.listening.len().saturating_sub(1 + random.below(3));
        let announced = self.listening.get(latest).copied();
        let (side, port) = announced
            .filter(|_| random.chance(90))
            .unwrap_or((random.below(2), random.pick([1025, 1026, 4000, 40000])));
        let [(listener, _), (other, _)] = self.between(side);
        let v6 = listener.address.is_ipv6();
        let visitor = match random.below(20) {
            0 => world::lan(random, v6),
            1 | 2 => world::wan(random, v6),
            3 => world::host(random, v6),
            _ => other,
        };
        let listener = if random.chance(4) { world::host(random, v6) } else { listener };
        if self.kind == Kind::Pptp {
            let back = self.listening.iter().rev().find(|(other, _)| *other != side);
            let ids = [port, back.map_or(0, |(_, id)| *id)];
            return self.queue.extend(pptp::visit(random, [visitor, listener], ids));
        }
        let source = random.pick([20, 20, 1025, 41000]);
        let ends = [(visitor, source), (listener, port)];
        let tcp =
            if random.chance(4) { !self.kind.visits_by_tcp() } else { self.kind.visits_by_tcp() };
        let visit =
            if tcp { tcp_visit(ends) } else { udp_visit(ends, &self.kind.greeting(random, side)) };
        let length = random.pick([1, 1, 2, 3, 9]);
        self.queue.extend(visit.into_iter().take(length));
    }

    fn again(&mut self, random: &mut Random) {
        let place = random.below(self.said.len());
        match self.said.get(place).cloned() {
            Some(said) => self.queue.push_back(said),
            None => self.greet(random),
        }
    }

    fn acknowledge(&mut self, random: &mut Random) {
        let by = random.below(2);
        self.segment(by, TCP_ACK, &[]);
    }

    fn close(&mut self, random: &mut Random) {
        let by = random.below(2);
        if random.chance(30) {
            return self.segment(by, TCP_RST | TCP_ACK, &[]);
        }
        self.segment(by, TCP_FIN | TCP_ACK, &[]);
        self.segment(1 - by, TCP_FIN | TCP_ACK, &[]);
        self.segment(by, TCP_ACK, &[]);
    }
}

impl Flow for Conversation {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        while self.queue.is_empty() {
            self.go_on(random);
        }
        let said = self.queue.pop_front()?;
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back(said.clone());
        Some(said)
    }
}

/// A short connection.
fn tcp_visit(ends: [(Station, u16); 2]) -> Vec<Said> {
    let [(visitor, source), (listener, port)] = ends;
    let [from, to] = [visitor.at(source), listener.at(port)];
    let there = |flags, sequence, ack| Said {
        from: visitor.port,
        packet: Packet::tcp(from, to, flags, sequence, ack),
    };
    let back = |flags, sequence, ack| Said {
        from: listener.port,
        packet: Packet::tcp(to, from, flags, sequence, ack),
    };
    let mut data = back(TCP_ACK | TCP_PSH, 901, 101);
    data.packet = data.packet.payload(b"PORT 1,2,3,4,5,6\r\n");
    vec![
        there(TCP_SYN, 100, 0),
        back(TCP_SYN | TCP_ACK, 900, 101),
        there(TCP_ACK, 101, 901),
        data,
        there(TCP_ACK, 101, 919),
        back(TCP_FIN | TCP_ACK, 919, 101),
        there(TCP_FIN | TCP_ACK, 101, 920),
        back(TCP_ACK, 920, 102),
    ]
}

/// A few datagrams, of which the last is another one.
fn udp_visit(ends: [(Station, u16); 2], last: &[u8]) -> Vec<Said> {
    let [(visitor, source), (listener, port)] = ends;
    let [from, to] = [visitor.at(source), listener.at(port)];
    let data = Packet::udp(from, to, b"\0\x03\0\x01data");
    let fine = Packet::udp(to, from, b"\0\x04\0\x01");
    let said = |(station, packet): (Station, Packet)| Said { from: station.port, packet };
    let last = Packet::udp(from, to, last);
    [(visitor, data), (listener, fine), (visitor, last)].map(said).to_vec()
}
