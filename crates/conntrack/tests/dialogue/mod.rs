//! Two ends that talk through a tracker in virtual time, for tests that read like a transcript.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test's own failure"
)]

use std::net::IpAddr;

use stateward_conntrack::{
    Config, CtState, Direction, Event, Hook, Instant, ProtocolInfo, Record, Span, Status, Sysctls,
    Tracker, Zone,
};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::{Packet, TcpFlags};

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    Client,
    Server,
}

pub use Sender::{Client, Server};

/// A segment of the dialogue; what is not said is 0 or empty, the window 65000.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    pub flags: TcpFlags,
    pub seq: u32,
    pub ack: u32,
    pub length: usize,
    pub window: u16,
    pub options: &'a [u8],
}

pub const SYN: TcpFlags = TcpFlags::SYN;
pub const ACK: TcpFlags = TcpFlags::ACK;
pub const SYN_ACK: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
pub const FIN_ACK: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
pub const RST: TcpFlags = TcpFlags::RST;
pub const RST_ACK: TcpFlags = TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0);

/// A segment with flags and numbers.
pub fn seg(flags: TcpFlags, seq: u32, ack: u32) -> Segment<'static> {
    Segment { flags, seq, ack, length: 0, window: 65000, options: &[] }
}

/// An ACK with data.
pub fn data(seq: u32, ack: u32, length: usize) -> Segment<'static> {
    Segment { length, ..seg(ACK, seq, ack) }
}

/// A tracker with two ends.
pub struct Dialogue {
    pub tracker: Tracker,
    pub now: Instant,
    pub events: Vec<Event>,
    client: (IpAddr, u16),
    server: (IpAddr, u16),
}

impl Dialogue {
    /// With default settings, over IPv4 or IPv6.
    pub fn new(v6: bool) -> Dialogue {
        Dialogue::with(v6, Sysctls::default())
    }

    pub fn with(v6: bool, sysctls: Sysctls) -> Dialogue {
        let (client, server) = match v6 {
            true => ("2001:db8:1::2".parse().unwrap(), "2001:db8:2::2".parse().unwrap()),
            false => ("10.0.1.2".parse().unwrap(), "10.0.2.2".parse().unwrap()),
        };
        let mut tracker = Tracker::new(Config { sysctls, ..Config::default() });
        tracker.set_listening(true);
        Dialogue {
            tracker,
            now: Instant::from_secs(1_000_000),
            events: Vec::new(),
            client: (client, 40_000),
            server: (server, 80),
        }
    }

    /// Sends any packet and gives its state and direction.
    pub fn packet(&mut self, bytes: &[u8]) -> (CtState, Option<Direction>, Option<&'static str>) {
        let packet = Packet::parse(bytes).unwrap();
        let mut tracked = self.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, self.now);
        self.tracker.confirm(&mut tracked.flow).unwrap();
        self.tracker.take_events(&mut self.events);
        (tracked.state, tracked.direction, tracked.reason.map(|reason| reason.code()))
    }

    /// Sends a segment; gives the state's name and, for INVALID and what is let pass, why.
    pub fn send(&mut self, from: Sender, segment: Segment<'_>) -> String {
        let bytes = self.bytes(from, segment);
        let (state, _, reason) = self.packet(&bytes);
        match reason {
            Some(reason) => format!("{} {reason}", state.name()),
            None => state.name().to_owned(),
        }
    }

    pub fn bytes(&self, from: Sender, segment: Segment<'_>) -> Vec<u8> {
        let (source, destination) = match from {
            Client => (self.client, self.server),
            Server => (self.server, self.client),
        };
        let payload = vec![0; segment.length];
        compose::tcp(&Tcp {
            source,
            destination,
            sequence: segment.seq,
            acknowledgment: segment.ack,
            flags: segment.flags,
            window: segment.window,
            options: segment.options,
            payload: &payload,
        })
    }

    pub fn ends(&self) -> ((IpAddr, u16), (IpAddr, u16)) {
        (self.client, self.server)
    }

    /// SYN 100, SYN/ACK 500, ACK: next are 101 and 501.
    pub fn handshake(&mut self) {
        assert_eq!(self.send(Client, seg(SYN, 100, 0)), "NEW");
        assert_eq!(self.send(Server, seg(SYN_ACK, 500, 101)), "ESTABLISHED");
        assert_eq!(self.send(Client, seg(ACK, 101, 501)), "ESTABLISHED");
    }

    pub fn wait(&mut self, seconds: u32) {
        self.now = self.now + Span::secs(seconds);
        self.tracker.handle_timeout(self.now);
        self.tracker.take_events(&mut self.events);
    }

    /// The only entry as `conntrack -L` would begin and end it: `299 ESTABLISHED [ASSURED]`, or
    /// `-` when there is none.
    pub fn entry(&self) -> String {
        let records: Vec<Record> = self.tracker.dump().collect();
        let [record] = records.as_slice() else {
            return if records.is_empty() { "-".into() } else { format!("{records:?}") };
        };
        let state = match &record.protocol {
            Some(ProtocolInfo::Tcp(info)) => format!(" {}", info.state),
            Some(ProtocolInfo::Sctp(info)) => format!(" {}", info.state),
            _ => String::new(),
        };
        let mut line = format!("{}{state}", record.timeout.unwrap_or(0));
        if !record.status.has(Status::SEEN_REPLY) {
            line.push_str(" [UNREPLIED]");
        }
        if record.status.has(Status::ASSURED) {
            line.push_str(" [ASSURED]");
        }
        line
    }

    /// The kinds of the events since the last call.
    pub fn told(&mut self) -> Vec<&'static str> {
        self.events.drain(..).map(|event| event.kind.name()).collect()
    }
}
