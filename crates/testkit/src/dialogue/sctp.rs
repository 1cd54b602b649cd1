//! SCTP: two ends that set up an association, talk and shut it down, and those who interfere.
//!
//! Each end has the tag it chose; a packet carries the tag of the end it goes to. A path may also
//! be seen first by a HEARTBEAT, when the handshake went another way.

use super::random::Random;
use super::world::{self, Station};
use super::{Flow, Memory, Said};
use crate::build::{Checksum, Chunk, Packet, Sctp, Transport};

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// The T bit: the tag is the sender's own.
const REFLECTED: u8 = 1;

/// Which end.
const CLIENT: usize = 0;
const SERVER: usize = 1;

struct End {
    station: Station,
    port: u16,
    tag: u32,
}

/// Two ends and those who interfere.
pub(super) struct Association {
    ends: [End; 2],
    /// What comes next if nobody interferes: who, and which chunk.
    script: Vec<(usize, u8)>,
    hostility: usize,
    left: usize,
}

impl Association {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        let (client, server) = world::pair(random, v6);
        let (client_port, server_port) = world::ports(random);
        let ends = [(client, client_port), (server, server_port)].map(|(station, port)| {
            let tag = if random.chance(95) { random.word() } else { 0 };
            End { station, port, tag }
        });
        Self {
            ends,
            script: script(random),
            hostility: random.pick([0, 5, 20, 60]),
            left: random.pick([4, 8, 16, 30]),
        }
    }

    /// A packet of these chunks from one end, with the tag of the other.
    fn packet(&self, by: usize, chunks: Vec<Chunk>) -> Sctp {
        let (from, to) = (&self.ends[by], &self.ends[1 - by]);
        let begins = chunks.first().is_some_and(|chunk| chunk.kind == INIT);
        Sctp {
            source_port: from.port,
            destination_port: to.port,
            tag: if begins { 0 } else { to.tag },
            chunks,
            checksum: Checksum::Right,
        }
    }

    fn chunk(&self, random: &mut Random, by: usize, kind: u8) -> Chunk {
        match kind {
            INIT | INIT_ACK => Chunk::init(kind == INIT_ACK, self.ends[by].tag),
            _ => {
                let length = random.pick([0, 4, 8, 13, 100]);
                Chunk::new(kind, &random.bytes(length))
            }
        }
    }

    fn proceed(&mut self, random: &mut Random) -> Option<(usize, Sctp)> {
        let (by, kind) = self.script.pop()?;
        let mut chunks = vec![self.chunk(random, by, kind)];
        // Data rides along with a cookie, and several chunks share a packet.
        while matches!(kind, COOKIE_ECHO | COOKIE_ACK | DATA | SACK) && random.chance(25) {
            let kind = random.pick([DATA, SACK, HEARTBEAT, ERROR]);
            chunks.push(self.chunk(random, by, kind));
        }
        if random.chance(8) {
            // It gets lost before us, or comes again.
            let lost = random.chance(50);
            if !lost {
                self.script.push((by, kind));
            }
        }
        Some((by, self.packet(by, chunks)))
    }

    fn attack(&self, random: &mut Random) -> (usize, Sctp) {
        let by = random.below(2);
        let mut chunks = Vec::new();
        for _ in 0..random.pick([1, 1, 1, 2, 3, 0]) {
            let kind = match random.below(20) {
                0 => random.byte(),
                _ => random.below(15) as u8,
            };
            let mut chunk = self.chunk(random, by, kind);
            chunk.flags = random.pick([0, 0, 0, REFLECTED, 255]);
            if random.chance(6) {
                chunk.length = Some(random.pick([0, 1, 3, 4, 5, 19, 20, 21, 1000, u16::MAX]));
            }
            if random.chance(5) {
                chunk.value.truncate(random.below(16));
            }
            if random.chance(10) && matches!(kind, INIT | INIT_ACK) {
                let tag = random.word();
                chunk = Chunk::init(kind == INIT_ACK, random.pick([0, tag]));
            }
            chunks.push(chunk);
        }
        let mut packet = self.packet(by, chunks);
        if random.chance(50) {
            let [client, server] = &self.ends;
            let any = random.word();
            packet.tag = random.pick([client.tag, server.tag, 0, any]);
        }
        (by, packet)
    }
}

/// What the two ends will say, the last thing first.
fn script(random: &mut Random) -> Vec<(usize, u8)> {
    let mut script = match random.below(10) {
        // Seen first on another path.
        0..=2 => vec![(CLIENT, HEARTBEAT), (SERVER, HEARTBEAT_ACK)],
        3 => vec![(SERVER, HEARTBEAT), (CLIENT, HEARTBEAT_ACK)],
        // Both at once.
        4 => vec![(CLIENT, INIT), (SERVER, INIT), (SERVER, INIT_ACK), (CLIENT, INIT_ACK)],
        _ => vec![(CLIENT, INIT), (SERVER, INIT_ACK)],
    };
    if random.chance(80) {
        script.extend([(CLIENT, COOKIE_ECHO), (SERVER, COOKIE_ACK)]);
    }
    for _ in 0..random.below(10) {
        let by = random.below(2);
        let kind = random.pick([DATA, DATA, SACK, HEARTBEAT, HEARTBEAT_ACK, ERROR]);
        script.push((by, kind));
    }
    let by = random.below(2);
    match random.below(6) {
        0 => {}
        1 => script.push((by, ABORT)),
        _ => script.extend([(by, SHUTDOWN), (1 - by, SHUTDOWN_ACK), (by, SHUTDOWN_COMPLETE)]),
    }
    if random.chance(30) {
        // The same ports again.
        script.extend([(CLIENT, INIT), (SERVER, INIT_ACK), (CLIENT, COOKIE_ECHO)]);
    }
    script.reverse();
    script
}

impl Flow for Association {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let (by, mut sctp) = match random.chance(self.hostility) {
            true => self.attack(random),
            false => self.proceed(random)?,
        };
        if random.chance(2) {
            sctp.checksum = random.pick([Checksum::Wrong, Checksum::Zero]);
        }
        let (from, to) = (self.ends[by].station, self.ends[1 - by].station);
        let mut packet = Packet::new(from.address, to.address, Transport::Sctp(sctp));
        if random.chance(2) {
            // Cut within the headers, and said so.
            let header = if packet.source.is_ipv6() { 0 } else { 20 };
            packet.length = Some(header + random.below(24) as u16);
        }
        Some(Said { from: from.port, packet })
    }
}
