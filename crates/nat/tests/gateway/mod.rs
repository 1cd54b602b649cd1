//! A tracker with NAT at one hook, for tests that read like a list of claims.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]

use std::net::SocketAddr;

use stateward_conntrack::{
    Config, Direction, DropReason, Flow, Hook, Instant, Status, Sysctls, Tracker, Tuple, Zone,
};
use stateward_nat::{AtEnd, Chance, How, Manip, Range, bind, bind_to_itself};
use stateward_wire::compose::{self, Tcp};
use stateward_wire::edit::End;
use stateward_wire::{Packet, TcpFlags};

pub struct Gateway {
    pub tracker: Tracker,
    pub chance: Chance,
}

/// What became of a connection's first packet.
#[derive(Debug)]
pub struct Bound {
    /// The end that was bound, in words.
    pub end: String,
    pub how: How,
    pub status: Status,
    pub entered: Result<(), DropReason>,
    pub original: Tuple,
    pub reply: Tuple,
}

const NOW: Instant = Instant::from_secs(1_000);

impl Gateway {
    pub fn new() -> Self {
        let sysctls = Sysctls { max: 4096, ..Sysctls::default() };
        let tracker = Tracker::new(Config { sysctls, ..Config::default() });
        Self { tracker, chance: Chance::new(1) }
    }

    /// The first packet of a connection.
    pub fn pass(&mut self, bytes: &[u8], manip: Manip, range: &Range) -> Bound {
        self.pass_bound(bytes, manip, Some(range))
    }

    /// The same where no rule has bound it.
    pub fn pass_unbound(&mut self, bytes: &[u8], manip: Manip) -> Bound {
        self.pass_bound(bytes, manip, None)
    }

    fn pass_bound(&mut self, bytes: &[u8], manip: Manip, range: Option<&Range>) -> Bound {
        let packet = Packet::parse(bytes).unwrap();
        let mut tracked = self.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, NOW);
        let Flow::Unconfirmed(conn) = &mut tracked.flow else { panic!("{tracked:?}") };
        let binding = match range {
            Some(range) => bind(&mut self.tracker, conn, range, manip, &mut self.chance),
            None => bind_to_itself(&mut self.tracker, conn, manip, &mut self.chance),
        };
        let binding = binding.unwrap();
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|direction| conn.tuple(direction));
        assert_eq!(reply.inverse(), Some(binding.after));
        let status = conn.status();
        let entered = self.tracker.confirm(&mut tracked.flow);
        let (end, how) = (AtEnd(&binding.after, manip.end()).to_string(), binding.how);
        Bound { end, how, status, entered, original, reply }
    }

    /// A segment that answers what `from` has sent, to the port that it has got.
    pub fn answer(&mut self, from: &str, flags: TcpFlags, ack: u32) -> &'static str {
        let reply = self.reply_of(from);
        let [source, destination] = [End::Source, End::Destination]
            .map(|end| (reply.address_at(end), reply.port_at(end).unwrap()));
        self.segment(source, destination, (flags, 5000, ack))
    }

    /// The server resets the connection of `from`.
    pub fn reset(&mut self, from: &str) {
        assert_eq!(
            self.answer(from, TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0), 1001),
            "ESTABLISHED"
        );
    }

    fn segment(
        &mut self,
        source: (std::net::IpAddr, u16),
        destination: (std::net::IpAddr, u16),
        (flags, sequence, acknowledgment): (TcpFlags, u32, u32),
    ) -> &'static str {
        let sequence = sequence + u32::from(flags.contains(TcpFlags::RST));
        let bytes = compose::tcp(&Tcp {
            source,
            destination,
            sequence,
            acknowledgment,
            flags,
            window: 1000,
            options: &[],
            payload: &[],
        });
        let packet = Packet::parse(&bytes).unwrap();
        let mut tracked = self.tracker.track(&packet, Hook::Prerouting, Zone::DEFAULT, NOW);
        self.tracker.confirm(&mut tracked.flow).unwrap();
        tracked.state.name()
    }

    fn reply_of(&self, from: &str) -> Tuple {
        let from: SocketAddr = from.parse().unwrap();
        let is_its = |tuple: &Tuple| {
            (tuple.source(), tuple.port_at(End::Source)) == (from.ip(), Some(from.port()))
        };
        self.tracker.dump().find(|record| is_its(&record.original)).unwrap().reply
    }
}

/// A range of addresses.
pub fn addresses(low: &str, high: &str) -> Range {
    Range { addresses: Some([low, high].map(|text| text.parse().unwrap())), ..Range::default() }
}

pub fn udp(from: &str, to: &str) -> Vec<u8> {
    let [from, to] = [from, to].map(|text| text.parse::<SocketAddr>().unwrap());
    compose::udp((from.ip(), from.port()), (to.ip(), to.port()), b"hello")
}

/// A SYN.
pub fn tcp(from: &str, to: &str) -> Vec<u8> {
    tcp_with(from, to, TcpFlags::SYN, 1000)
}

pub fn tcp_with(from: &str, to: &str, flags: TcpFlags, sequence: u32) -> Vec<u8> {
    let [from, to] = [from, to].map(|text| text.parse::<SocketAddr>().unwrap());
    compose::tcp(&Tcp {
        source: (from.ip(), from.port()),
        destination: (to.ip(), to.port()),
        sequence,
        acknowledgment: 0,
        flags,
        window: 1000,
        options: &[],
        payload: &[],
    })
}
