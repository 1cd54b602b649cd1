//! TCP: two ends that open, talk and close, and those who interfere.
//!
//! [`Connection`] keeps for each [`End`] what a TCP keeps (what it sent, what it received, what it
//! offered), so that most segments are right to the number. What is not:
//!
//! - segments that get lost on their way to us: the ends have moved on, we have not seen it;
//! - segments sent again, late, or before their turn;
//! - segments of an attacker who knows the numbers nearly ([`attack`]): any flags, from either
//!   side, with sequence numbers and acknowledgements around every edge that matters;
//! - headers that lie or are cut.
//!
//! A connection may begin in its middle, open from both sides at once, and use its ports again
//! after it has ended. Some go straight through all states, so that each of them meets every
//! segment ([`tour`]).

mod attack;
mod tour;

use std::net::SocketAddr;

use super::random::Random;
use super::world::{self, Port};
use super::{Flow, Memory, Said};
use crate::build::{
    Packet, TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, TcpOption,
};

/// One side of a connection.
#[derive(Debug, Clone)]
struct End {
    at: SocketAddr,
    port: Port,
    /// First sequence number.
    first: u32,
    /// Next sequence number.
    next: u32,
    /// What the other side has acknowledged.
    acknowledged: u32,
    /// What it has received of the other side: its acknowledgement.
    expected: u32,
    /// The window it announces, before scaling.
    window: u16,
    /// The scale it offers.
    offers: Option<u8>,
    /// The scale in force.
    scale: u8,
    sack: bool,
    timestamps: bool,
    closed: bool,
}

impl End {
    fn new(random: &mut Random, at: SocketAddr, port: Port) -> Self {
        let first = match random.below(8) {
            0 => 0,
            1 => random.below(100_000) as u32,
            2 => (random.below(100_000) as u32).wrapping_neg(),
            _ => random.word(),
        };
        let offers = if random.chance(70) { Some(random.pick([0, 2, 7, 7, 14, 15])) } else { None };
        Self {
            at,
            port,
            first,
            next: first,
            acknowledged: first,
            expected: 0,
            window: random.pick([29200, 65535, 512, 4000, 1, 0]),
            offers,
            scale: 0,
            sack: random.chance(70),
            timestamps: random.chance(40),
            closed: false,
        }
    }

    /// The window it announces, in bytes.
    fn room(&self) -> u32 {
        u32::from(self.window) << self.scale
    }
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing said.
    Closed,
    /// The client has said SYN.
    Asked,
    /// Both have said SYN at once.
    Crossed,
    /// The server has answered.
    Answered,
    /// Both talk, or one has closed.
    Open,
    /// Both have closed, or one has reset.
    Over,
}

/// Which end.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// A segment before it is laid out.
#[derive(Debug, Clone)]
struct Segment {
    by: usize,
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<TcpOption>,
    length: usize,
}

/// Two ends and those who interfere.
pub(super) struct Connection {
    ends: [End; 2],
    stage: Stage,
    /// Percentage of segments that are an attacker's.
    hostility: usize,
    /// Percentage of segments that get lost before us.
    loss: usize,
    /// What was said lately.
    said: Vec<Segment>,
    /// What is on a longer way.
    late: Option<Segment>,
    /// What comes next, the last thing first, of one that goes straight through all states.
    tour: Option<Vec<(usize, u8)>>,
    left: usize,
}

impl Connection {
    pub(super) fn open(random: &mut Random, v6: bool) -> Self {
        let (client, server) = world::pair(random, v6);
        let (client_port, server_port) = world::ports(random);
        let ends = [
            End::new(random, client.at(client_port), client.port),
            End::new(random, server.at(server_port), server.port),
        ];
        let mut connection = Self {
            ends,
            stage: Stage::Closed,
            hostility: random.pick([0, 0, 3, 15, 40, 90]),
            loss: random.pick([0, 0, 0, 5, 30]),
            said: Vec::new(),
            late: None,
            tour: None,
            left: random.pick([4, 12, 20, 30, 50]),
        };
        match random.below(20) {
            0..=2 => connection.begin_in_the_middle(random),
            3..=6 => connection.tour(random),
            _ => {}
        }
        connection
    }

    fn begin_in_the_middle(&mut self, random: &mut Random) {
        let [client, server] = &mut self.ends;
        if random.chance(70) && client.offers.is_some() && server.offers.is_some() {
            client.scale = client.offers.unwrap_or_default().min(14);
            server.scale = server.offers.unwrap_or_default().min(14);
        }
        client.next = random.word();
        client.acknowledged = client.next;
        server.next = random.word();
        server.acknowledged = server.next;
        client.expected = server.next;
        server.expected = client.next;
        self.stage = Stage::Open;
        if random.chance(50) {
            self.ends.swap(CLIENT, SERVER);
        }
    }

    /// The segment that end `by` would say now with these flags, of this length.
    fn segment(&self, by: usize, flags: u8, length: usize) -> Segment {
        let end = &self.ends[by];
        let ack = if flags & TCP_ACK != 0 { end.expected } else { 0 };
        Segment { by, flags, seq: end.next, ack, window: end.window, options: Vec::new(), length }
    }

    /// What the two ends know after `segment`, which may be lost before the other one gets it.
    fn learn(&mut self, segment: &Segment, arrives: bool) {
        let counts =
            u32::from(segment.flags & TCP_SYN != 0) + u32::from(segment.flags & TCP_FIN != 0);
        let end = segment.seq.wrapping_add(segment.length as u32 + counts);
        let sender = &mut self.ends[segment.by];
        if newer(end, sender.next) {
            sender.next = end;
        }
        sender.closed |= segment.flags & TCP_FIN != 0;
        if !arrives {
            return;
        }
        let receiver = &mut self.ends[1 - segment.by];
        // What is missing before it will have come another way.
        if segment.flags & TCP_SYN != 0 || newer(end, receiver.expected) {
            receiver.expected = end;
        }
        if segment.flags & TCP_ACK != 0 && newer(segment.ack, receiver.acknowledged) {
            receiver.acknowledged = segment.ack;
        }
    }

    /// Says it: the ends learn, and it may be repeated later.
    fn say(&mut self, random: &mut Random, segment: Segment) -> Segment {
        let arrives = !random.chance(self.loss / 2);
        self.learn(&segment, arrives);
        if self.said.len() == 8 {
            self.said.remove(0);
        }
        self.said.push(segment.clone());
        segment
    }

    /// What comes next if nobody interferes.
    fn proceed(&mut self, random: &mut Random) -> Option<Segment> {
        if let Some(segment) = self.visit(random) {
            return Some(segment);
        }
        let segment = match self.stage {
            Stage::Closed => {
                self.stage = if random.chance(6) { Stage::Crossed } else { Stage::Asked };
                self.syn(random, CLIENT, TCP_SYN)
            }
            Stage::Crossed => {
                self.stage = Stage::Answered;
                let mut segment = self.syn(random, SERVER, TCP_SYN);
                segment.ack = 0;
                segment
            }
            Stage::Asked => self.answer(random),
            Stage::Answered => self.complete(random),
            Stage::Open => self.talk(random),
            Stage::Over => self.after(random)?,
        };
        Some(self.say(random, segment))
    }

    fn syn(&mut self, random: &mut Random, by: usize, flags: u8) -> Segment {
        let mut segment = self.segment(by, flags, 0);
        if random.rarely(15) {
            // Fast open.
            segment.length = 20;
        }
        if random.chance(10) {
            segment.flags |= TCP_ECE | TCP_CWR;
        }
        segment.seq = self.ends[by].first;
        segment.options = self.offers(random, by);
        segment
    }

    fn offers(&self, random: &mut Random, by: usize) -> Vec<TcpOption> {
        let end = &self.ends[by];
        let mut options = Vec::new();
        if random.chance(85) {
            options.push(TcpOption::MaximumSegment(1460));
        }
        if end.sack {
            options.push(TcpOption::SackPermitted);
        }
        if end.timestamps {
            options.push(TcpOption::Timestamp(random.word(), 0));
        }
        if let Some(scale) = end.offers {
            options.extend([TcpOption::NoOperation, TcpOption::WindowScale(scale)]);
        }
        if random.rarely(30) {
            options.push(attack::odd_option(random));
        }
        options
    }

    fn answer(&mut self, random: &mut Random) -> Segment {
        match random.below(20) {
            // Nobody listens.
            0 => {
                self.stage = Stage::Over;
                self.segment(SERVER, TCP_RST | TCP_ACK, 0)
            }
            // The SYN again.
            1 => self.syn(random, CLIENT, TCP_SYN),
            // An old connection of the server: a challenge ACK, which the client resets.
            2 => {
                let mut segment = self.segment(SERVER, TCP_ACK, 0);
                segment.ack = random.word();
                segment
            }
            3 if self.ends[SERVER].expected != 0 => {
                let mut segment = self.segment(CLIENT, TCP_RST, 0);
                segment.seq = self.said.last().map_or(segment.seq, |said| said.ack);
                segment
            }
            _ => {
                self.stage = Stage::Answered;
                self.agree();
                let mut segment = self.syn(random, SERVER, TCP_SYN | TCP_ACK);
                segment.ack = self.ends[SERVER].expected;
                segment
            }
        }
    }

    /// Scaling is in force only if both offer it.
    fn agree(&mut self) {
        let [client, server] = &mut self.ends;
        if let (Some(ours), Some(theirs)) = (client.offers, server.offers) {
            client.scale = ours.min(14);
            server.scale = theirs.min(14);
        }
    }

    fn complete(&mut self, random: &mut Random) -> Segment {
        let flags = TCP_SYN | TCP_ACK;
        match random.below(16) {
            0 => self.syn(random, CLIENT, TCP_SYN),
            1 => {
                let mut segment = self.syn(random, SERVER, flags);
                segment.ack = self.ends[SERVER].expected;
                segment
            }
            2 => {
                // In a simultaneous open the client answers too.
                let mut segment = self.syn(random, CLIENT, flags);
                segment.ack = self.ends[CLIENT].expected;
                segment
            }
            3 => {
                let by = random.below(2);
                self.stage = Stage::Open;
                self.segment(by, TCP_ACK, 0)
            }
            _ => {
                self.stage = Stage::Open;
                let length = random.pick([0, 0, 0, 100]);
                self.segment(CLIENT, TCP_ACK, length)
            }
        }
    }

    fn talk(&mut self, random: &mut Random) -> Segment {
        let by = random.below(2);
        let mut segment = match random.below(100) {
            0..=39 if !self.ends[by].closed => self.data(random, by),
            40..=59 => self.segment(by, TCP_ACK, 0),
            60..=64 => self.keep_alive(random, by),
            65..=72 => {
                self.ends[by].window = random.pick([0, 0, 1, 1000, 29200, 65535]);
                self.segment(by, TCP_ACK, 0)
            }
            73..=78 => self.selective(random, by),
            79..=86 => self.again(random, by),
            87..=94 => self.finish(random, by),
            95..=96 => self.reset(random, by),
            _ => self.segment(by, TCP_ACK, 0),
        };
        if self.ends[by].timestamps {
            let stamp = TcpOption::Timestamp(random.word(), random.word());
            let padding = [TcpOption::NoOperation, TcpOption::NoOperation];
            segment.options.splice(0..0, padding.into_iter().chain([stamp]));
        }
        segment
    }

    /// Data as far as the other side's window allows, and now and then a little more.
    fn data(&self, random: &mut Random, by: usize) -> Segment {
        let (end, peer) = (&self.ends[by], &self.ends[1 - by]);
        let sent = end.next.wrapping_sub(end.acknowledged);
        let room = peer.room().saturating_sub(sent) as usize;
        let length = random.pick([1, 20, 536, 1400]);
        let length = if random.chance(85) { length.min(room) } else { length };
        let extra = random.pick([0, TCP_PSH, TCP_PSH, TCP_URG]);
        self.segment(by, TCP_ACK | extra, length)
    }

    fn keep_alive(&self, random: &mut Random, by: usize) -> Segment {
        let length = random.below(2);
        let mut segment = self.segment(by, TCP_ACK, length);
        segment.seq = segment.seq.wrapping_sub(1);
        segment
    }

    /// An acknowledgement with blocks above a gap.
    fn selective(&self, random: &mut Random, by: usize) -> Segment {
        let mut segment = self.segment(by, TCP_ACK, 0);
        let peer = &self.ends[1 - by];
        let mut blocks = Vec::new();
        for _ in 0..1 + random.below(4) {
            let left = attack::near(random, peer.next, &[peer.acknowledged, segment.ack]);
            blocks.push((left, left.wrapping_add(random.pick([0, 1, 536, 1400]))));
        }
        if random.chance(60) {
            segment.ack = segment.ack.wrapping_sub(random.pick([0, 536, 1400]));
            blocks.truncate(1);
            blocks.push((segment.ack.wrapping_add(10), peer.next));
        }
        segment.options =
            vec![TcpOption::NoOperation, TcpOption::NoOperation, TcpOption::Sack(blocks)];
        segment
    }

    fn again(&self, random: &mut Random, by: usize) -> Segment {
        match random.choose(&self.said) {
            Some(said) => said.clone(),
            None => self.segment(by, TCP_ACK, 0),
        }
    }

    fn finish(&mut self, random: &mut Random, by: usize) -> Segment {
        let length = random.pick([0, 0, 0, 30]);
        let mut segment = self.segment(by, TCP_FIN | TCP_ACK, length);
        if self.ends[by].closed {
            // The same FIN again, if the other side has not acknowledged it.
            segment.seq = segment.seq.wrapping_sub(1);
            segment.length = 0;
        }
        if self.ends[1 - by].closed && random.chance(70) {
            self.stage = Stage::Over;
        }
        segment
    }

    fn reset(&mut self, random: &mut Random, by: usize) -> Segment {
        self.stage = Stage::Over;
        let flags = random.pick([TCP_RST, TCP_RST | TCP_ACK]);
        let mut segment = self.segment(by, flags, 0);
        segment.window = random.pick([0, segment.window]);
        segment
    }

    /// After the end: what is still on its way, the same ports again, or nothing more.
    fn after(&mut self, random: &mut Random) -> Option<Segment> {
        let by = random.below(2);
        Some(match random.below(10) {
            0..=3 => self.segment(by, TCP_ACK, 0),
            4 => self.finish(random, by),
            5 => self.segment(by, TCP_RST, 0),
            6..=8 => {
                self.reopen(random, by);
                self.stage = Stage::Asked;
                self.syn(random, CLIENT, TCP_SYN)
            }
            _ => return None,
        })
    }

    /// The same ports again, opened by either side.
    fn reopen(&mut self, random: &mut Random, by: usize) {
        if by == SERVER && random.chance(50) {
            self.ends.swap(CLIENT, SERVER);
        }
        for end in &mut self.ends {
            let (at, port, next) = (end.at, end.port, end.next);
            *end = End::new(random, at, port);
            if random.chance(70) {
                end.first = next.wrapping_add(random.pick([0, 1, 64_000, 1_000_000]));
                end.next = end.first;
                end.acknowledged = end.first;
            }
        }
    }

    fn lay_out(&self, random: &mut Random, segment: &Segment) -> Packet {
        let (from, to) = (&self.ends[segment.by], &self.ends[1 - segment.by]);
        let payload = random.bytes(segment.length);
        Packet::tcp(from.at, to.at, segment.flags, segment.seq, segment.ack).with_tcp(|tcp| {
            tcp.window = Some(segment.window);
            tcp.options.clone_from(&segment.options);
            tcp.payload = payload;
        })
    }
}

impl Flow for Connection {
    fn speak(&mut self, random: &mut Random, _: &Memory) -> Option<Said> {
        self.left = self.left.checked_sub(1)?;
        let segment = loop {
            if random.chance(self.hostility) {
                break attack::segment(self, random);
            }
            if let Some(late) = self.late.take_if(|_| random.chance(30)) {
                break late;
            }
            let segment = self.proceed(random)?;
            if random.chance(self.loss) {
                continue;
            }
            if self.late.is_none() && random.rarely(30) {
                self.late = Some(segment);
                continue;
            }
            break segment;
        };
        let mut packet = self.lay_out(random, &segment);
        if self.hostility > 0 && random.chance(2) {
            attack::spoil_header(random, &mut packet);
        }
        Some(Said { from: self.ends[segment.by].port, packet })
    }
}

/// `a > b` in sequence space.
fn newer(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a)).cast_signed() < 0
}
