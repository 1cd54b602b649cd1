//! The size of a burst never changes a result.
//!
//! Random packets of few connections, so that they meet: TCP, UDP and pings over IPv4 and IPv6,
//! datagrams in fragments, ICMP errors about them, packets cut short, packets of this host. Time
//! jumps, so that connections and fragments expire within a burst, and sometimes goes back; the
//! table is small, so that it fills up. The same packets one by one and in bursts of random sizes
//! must give the same outcomes, bytes, events, packets of the engine's own, and table.

#![allow(clippy::unwrap_used, reason = "a failed expectation is the test's own failure")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stateward_conntrack::{Event, EventMode, Instant, Record, Statistics};
use stateward_engine::route::{Interface, Link, Network, Routing};
use stateward_engine::source::SourceCheck;
use stateward_engine::{Arrival, Config, Emitted, Engine, From, InterfaceId, Outcome, Port};
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{TcpFlags, checksum};

/// What a packet is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp(u8),
    Udp,
    Ping,
    /// One of three pieces of a datagram.
    Piece(u8),
    /// Port unreachable, about the flow's datagram.
    Error,
    /// As many bytes of a datagram.
    Cut(u8),
}

/// One packet, and when it comes.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: Kind,
    flow: u8,
    v6: bool,
    reply: bool,
    local: bool,
    /// Milliseconds since the packet before.
    pause: i64,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (0u8..5).prop_map(Kind::Tcp),
        4 => Just(Kind::Udp),
        2 => Just(Kind::Ping),
        3 => (0u8..3).prop_map(Kind::Piece),
        1 => Just(Kind::Error),
        1 => any::<u8>().prop_map(Kind::Cut),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pause = prop_oneof![
        200 => Just(0i64),
        100 => 0i64..50,
        6 => 1_000i64..40_000,
        1 => 100_000i64..600_000,
        4 => -5_000i64..0,
    ];
    let (flow, v6, reply) = (0u8..12, any::<bool>(), any::<bool>());
    (kind(), flow, v6, reply, proptest::bool::weighted(0.1), pause).prop_map(
        |(kind, flow, v6, reply, local, pause)| Step { kind, flow, v6, reply, local, pause },
    )
}

impl Step {
    /// Source and destination, with their ports.
    fn ends(&self) -> ((IpAddr, u16), (IpAddr, u16)) {
        let host = 2 + u16::from(self.flow % 3);
        let (client, server): (IpAddr, IpAddr) = if self.v6 {
            (
                Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, host).into(),
                Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 9).into(),
            )
        } else {
            (Ipv4Addr::new(10, 0, 0, host as u8).into(), Ipv4Addr::new(192, 0, 2, 9).into())
        };
        let (client, server) = ((client, 1000 + u16::from(self.flow)), (server, 80));
        if self.reply { (server, client) } else { (client, server) }
    }

    fn bytes(&self) -> Vec<u8> {
        let (source, destination) = self.ends();
        match self.kind {
            Kind::Tcp(which) => self.tcp(which),
            Kind::Udp => compose::udp(source, destination, &[7; 40]),
            Kind::Ping => self.icmp(if self.reply { [0, 129] } else { [8, 128] }, 0, &[1; 32]),
            Kind::Piece(which) if !self.v6 => self.piece(usize::from(which)),
            // Longer than the next link allows: cut again, or refused with an ICMP error.
            Kind::Piece(_) => compose::udp(source, destination, &[7; 1400]),
            Kind::Error => {
                let answered = Step { reply: !self.reply, kind: Kind::Udp, ..*self };
                self.icmp([3, 1], if self.v6 { 4 } else { 3 }, &answered.bytes())
            }
            Kind::Cut(length) => {
                let mut bytes = compose::udp(source, destination, &[7; 40]);
                bytes.truncate(usize::from(length));
                bytes
            }
        }
    }

    fn tcp(&self, which: u8) -> Vec<u8> {
        let (source, destination) = self.ends();
        let flags = match which {
            0 if self.reply => TcpFlags::SYN | TcpFlags::ACK,
            0 => TcpFlags::SYN,
            1 | 2 => TcpFlags::ACK | TcpFlags::PSH,
            3 => TcpFlags::ACK | TcpFlags::FIN,
            _ => TcpFlags::RST,
        };
        let sequence = 1000 + u32::from(which != 0);
        let payload: &[u8] = if which == 1 { &[0; 20] } else { &[] };
        compose::tcp(&Tcp {
            source,
            destination,
            sequence,
            acknowledgment: 1001,
            flags,
            window: 64_000,
            options: &[],
            payload,
        })
    }

    fn icmp(&self, kinds: [u8; 2], code: u8, body: &[u8]) -> Vec<u8> {
        let ((source, _), (destination, _)) = self.ends();
        compose::icmp(&Icmp {
            source,
            destination,
            kind: kinds[usize::from(self.v6)],
            code,
            rest: [0, self.flow, 0, 1],
            body,
        })
    }

    /// A piece of an IPv4 datagram that as a whole is too long for the next link.
    fn piece(&self, which: usize) -> Vec<u8> {
        const HEADER: usize = 20;
        const SIZE: usize = 480;
        let (source, destination) = self.ends();
        let whole = compose::udp(source, destination, &[7; 1400]);
        let from = HEADER + which * SIZE;
        let to = if which == 2 { whole.len() } else { from + SIZE };
        let mut bytes = [&whole[..HEADER], &whole[from..to]].concat();
        let length = bytes.len() as u16;
        let more = if which == 2 { 0 } else { 0x2000 };
        let offset = (which * SIZE / 8) as u16 | more;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..6].copy_from_slice(&[1, self.flow]);
        bytes[6..8].copy_from_slice(&offset.to_be_bytes());
        bytes[10..12].fill(0);
        let sum = checksum::of(&bytes[..HEADER]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// Everything that can be told apart from outside.
#[derive(PartialEq, Debug)]
struct Seen {
    outcomes: Vec<Outcome>,
    bytes: Vec<Vec<u8>>,
    events: Vec<Event>,
    emitted: Vec<Emitted>,
    table: Vec<Record>,
    statistics: Statistics,
}

fn engine() -> Engine {
    let net = |address: &str| address.parse().unwrap();
    let interface = |name: &str, addresses: [&str; 2], mtu| Interface {
        name: name.into(),
        addresses: addresses.map(net).to_vec(),
        mtu,
        link: Link::Ethernet,
        source_check: SourceCheck::default(),
        group: 0,
    };
    let interfaces = vec![
        interface("lan", ["10.0.0.1/24", "fd00:1::1/64"], 1500),
        interface("wan", ["192.0.2.1/24", "fd00:2::1/64"], 1280),
    ];
    let mut config =
        Config { network: Network::new(interfaces, &[], Routing::Forwarding), ..Config::default() };
    config.tracker.seed = [3, 4];
    config.tracker.sysctls.max = 16;
    config.tracker.sysctls.acct = true;
    config.tracker.sysctls.timestamp = true;
    config.tracker.sysctls.events = EventMode::Always;
    Engine::new(config)
}

/// Runs the packets in bursts of these sizes, over and over.
fn run(steps: &[Step], sizes: &[usize]) -> Seen {
    let mut engine = engine();
    let mut buffers: Vec<_> = steps.iter().map(Step::bytes).collect();
    let mut now = 1_000_000i64;
    let mut arrivals: Vec<_> = steps
        .iter()
        .zip(&mut buffers)
        .map(|(step, bytes)| {
            now = (now + step.pause).max(0);
            let port = match (step.local, step.reply) {
                (true, _) => Port::Local,
                (false, reply) => Port::Interface(InterfaceId(u16::from(reply))),
            };
            Arrival { port, bytes, now: Instant(now as u64 * 1_000_000), link: None }
        })
        .collect();
    let (mut outcomes, mut events, mut emitted) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = arrivals.as_mut_slice();
    for &size in sizes.iter().cycle() {
        let (burst, later) = rest.split_at_mut(size.min(rest.len()));
        engine.process_burst(burst, From::Wire, |engine, _, outcome| {
            outcomes.push(outcome);
            engine.take_events(&mut events);
            engine.take_emitted(&mut emitted);
        });
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let table = engine.tracker().dump().collect();
    let statistics = engine.tracker().statistics().clone();
    Seen { outcomes, bytes: buffers, events, emitted, table, statistics }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_size_of_a_burst_never_changes_a_result(
        steps in proptest::collection::vec(step(), 1..300),
        sizes in proptest::collection::vec(1usize..=64, 1..12),
    ) {
        let single = run(&steps, &[1]);
        prop_assert_eq!(&run(&steps, &sizes), &single);
        prop_assert_eq!(&run(&steps, &[300]), &single);
    }
}

/// The property is worth something only if the packets reach what they are meant to reach.
#[test]
fn the_packets_reach_every_part() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = proptest::collection::vec(step(), 5000).new_tree(&mut runner).unwrap().current();
    let seen = run(&steps, &[64]);
    let states = seen.outcomes.iter().filter_map(|outcome| outcome.state.map(|state| state.name()));
    let states: std::collections::BTreeSet<_> = states.collect();
    assert_eq!(
        states.into_iter().collect::<Vec<_>>(),
        ["ESTABLISHED", "INVALID", "NEW", "RELATED"]
    );
    let verdicts: std::collections::BTreeSet<_> =
        seen.outcomes.iter().map(|outcome| format!("{:?}", outcome.verdict)).collect();
    for verdict in ["Held", "Malformed", "Forward(Some(InterfaceId(1)))"] {
        assert!(verdicts.contains(verdict), "{verdict}: {verdicts:?}");
    }
    assert!(seen.outcomes.iter().any(|outcome| outcome.in_pieces), "nothing was cut");
    assert!(seen.statistics.early_drop > 10, "the table was never full: {:?}", seen.statistics);
    assert!(seen.events.len() > 500 && !seen.emitted.is_empty() && !seen.table.is_empty());
}
