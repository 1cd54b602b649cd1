//! Packets for measuring: many connections, each at the point where the same packets fit for ever.

#![allow(dead_code, unreachable_pub, reason = "the tests and the benchmarks each use their part")]

use std::net::{IpAddr, Ipv4Addr};

use stateward_conntrack::{CtState, EventMode, Instant};
use stateward_engine::route::{InterfaceId, Network};
use stateward_engine::{Arrival, Config, Engine, From, Outcome, Port};
use stateward_wire::TcpFlags;
use stateward_wire::compose::{self, Tcp};

/// A kind of connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Tcp,
    TcpV6,
    Udp,
    UdpV6,
    /// TCP of clients behind [`OWN`]: answers come to that address.
    TcpBehind,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Tcp, Kind::TcpV6, Kind::Udp, Kind::UdpV6];

    fn is_v6(self) -> bool {
        matches!(self, Kind::TcpV6 | Kind::UdpV6)
    }

    fn is_tcp(self) -> bool {
        matches!(self, Kind::Tcp | Kind::TcpV6 | Kind::TcpBehind)
    }

    /// Client and server of a connection.
    fn ends(self, number: u16) -> [(IpAddr, u16); 2] {
        let (client, server): (IpAddr, IpAddr) = match self.is_v6() {
            false => ([192, 0, 2, 1].into(), [198, 51, 100, 2].into()),
            true => ([0xfd00, 1, 0, 0, 0, 0, 0, 1].into(), [0xfd00, 2, 0, 0, 0, 0, 0, 2].into()),
        };
        [(client, 1_024 + number), (server, 80)]
    }

    /// Client and server as the server sees them.
    fn seen(self, number: u16) -> [(IpAddr, u16); 2] {
        let [(client, port), server] = self.ends(number);
        [(if self == Kind::TcpBehind { OWN.into() } else { client }, port), server]
    }

    /// The packet that begins a connection.
    pub fn first(self, number: u16) -> Vec<u8> {
        let [client, server] = self.ends(number);
        match self.is_tcp() {
            true => segment(client, server, TcpFlags::SYN, [CLIENT, 0], &[]),
            false => compose::udp(client, server, &[0; 40]),
        }
    }

    /// What follows the first packet until the connection stays as it is.
    fn opening(self, number: u16) -> Vec<Vec<u8>> {
        let [client, server] = self.ends(number);
        let [seen, _] = self.seen(number);
        match self.is_tcp() {
            true => {
                let answer = TcpFlags::SYN | TcpFlags::ACK;
                vec![
                    segment(server, seen, answer, [SERVER, CLIENT + 1], &[]),
                    segment(client, server, TcpFlags::ACK, [CLIENT + 1, SERVER + 1], DATA),
                    self.reply(number),
                    self.original(number),
                ]
            }
            false => vec![self.reply(number), self.original(number)],
        }
    }

    /// A packet that fits at any time from now on, from the side that began.
    pub fn original(self, number: u16) -> Vec<u8> {
        let [client, server] = self.ends(number);
        match self.is_tcp() {
            true => {
                let numbers = [CLIENT + 1, SERVER + 1 + DATA.len() as u32];
                segment(client, server, TcpFlags::ACK | TcpFlags::PSH, numbers, DATA)
            }
            false => compose::udp(client, server, &[0; 40]),
        }
    }

    /// The same from the other side.
    pub fn reply(self, number: u16) -> Vec<u8> {
        let [client, server] = self.seen(number);
        match self.is_tcp() {
            true => {
                let numbers = [SERVER + 1, CLIENT + 1 + DATA.len() as u32];
                segment(server, client, TcpFlags::ACK | TcpFlags::PSH, numbers, DATA)
            }
            false => compose::udp(server, client, &[0; 40]),
        }
    }

    /// A packet that fits no connection, and begins none.
    pub fn stray(self, number: u16) -> Vec<u8> {
        let [client, server] = self.ends(number);
        match self.is_tcp() {
            true => segment(client, server, TcpFlags::FIN | TcpFlags::SYN, [1, 1], &[]),
            false => {
                let mut bytes = compose::udp(client, server, &[0; 40]);
                bytes.iter_mut().last().into_iter().for_each(|last| *last = 1);
                bytes
            }
        }
    }
}

/// The address that some clients have behind them.
pub const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const CLIENT: u32 = 1_000;
const SERVER: u32 = 5_000;
const DATA: &[u8] = &[0; 20];

fn segment(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    flags: TcpFlags,
    numbers: [u32; 2],
    payload: &[u8],
) -> Vec<u8> {
    compose::tcp(&Tcp { payload, ..Tcp::stamped(source, destination, flags, numbers) })
}

/// An engine without routing, for `max` connections.
pub fn engine(max: u32, events: EventMode) -> Engine {
    let mut config = Config::default();
    config.tracker.sysctls.max = max;
    config.tracker.sysctls.events = events;
    config.tracker.seed = [1, 2];
    config.network = Network::transparent(vec!["eth0".into()], []);
    Engine::new(config)
}

/// Makes the connections `0..count`; UDP's are as good as they get 3 s later.
pub fn establish(engine: &mut Engine, kind: Kind, count: u16, now: Instant) {
    for number in 0..count {
        let first = send(engine, &mut kind.first(number), now);
        assert_eq!(first.state, Some(CtState::New));
        for mut bytes in kind.opening(number) {
            let later = send(engine, &mut bytes, Instant(now.0 + 3_000_000_000));
            assert_eq!(later.state, Some(CtState::Established), "{:?}", later.why);
        }
    }
}

pub fn send(engine: &mut Engine, bytes: &mut [u8], now: Instant) -> Outcome {
    let mut arrival = Arrival { port: PORT, bytes, now, link: None };
    engine.process(&mut arrival, From::Wire)
}

pub const PORT: Port = Port::Interface(InterfaceId(0));
