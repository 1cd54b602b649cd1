//! Routes that lead nowhere, metrics and preferred sources: what the running kernel answers, and
//! what the engine does.
//!
//! Without root or netfilter this test says so and passes; with STATEWARD_REQUIRE_KERNEL=1 that
//! fails.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::IpAddr;

use stateward_conntrack::Instant;
use stateward_engine::route::{Hop, Interface, InterfaceId, Link, Listed, Network, Routing};
use stateward_engine::{Arrival, Config, Engine, From, Port, Verdict};
use stateward_wire::{Packet, compose};
use testkit::kernel::{self, Kernel, Scenario, Step};

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);

/// Each line for `ip -batch`, and the same route for the engine.
fn routes() -> Vec<(&'static str, Listed)> {
    let listed = |to: &str, hop| Listed { to: to.parse().unwrap(), hop, source: None, via: None };
    let from = |source: &str, route| Listed { source: Some(source.parse().unwrap()), ..route };
    vec![
        ("route add blackhole 10.1.0.0/16", listed("10.1.0.0/16", Hop::Blackhole)),
        ("route add unreachable 10.2.0.0/16", listed("10.2.0.0/16", Hop::Unreachable)),
        ("route add prohibit 10.3.0.0/16", listed("10.3.0.0/16", Hop::Prohibited)),
        ("route add throw 10.4.0.0/16", listed("10.4.0.0/16", Hop::Nowhere)),
        ("route add blackhole fd00:a1::/48", listed("fd00:a1::/48", Hop::Blackhole)),
        ("route add unreachable fd00:a2::/48", listed("fd00:a2::/48", Hop::Unreachable)),
        ("route add prohibit fd00:a3::/48", listed("fd00:a3::/48", Hop::Prohibited)),
        ("route add 10.5.0.0/16 dev lan0 metric 5", listed("10.5.0.0/16", Hop::Out(LAN))),
        ("route add 10.5.0.0/16 dev wan0 metric 9", listed("10.5.0.0/16", Hop::Out(WAN))),
        (
            "route add 172.16.0.0/12 dev lan0 src 203.0.113.1",
            from("203.0.113.1", listed("172.16.0.0/12", Hop::Out(LAN))),
        ),
    ]
}

fn engine() -> Engine {
    let interface = |name: &str, addresses: [&str; 2]| Interface {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        link: Link::PointToPoint,
        ..Interface::named(name)
    };
    let interfaces = vec![
        interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"]),
        interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"]),
    ];
    let mut listed: Vec<Listed> = routes().into_iter().map(|(_, route)| route).collect();
    for (to, dev) in [
        ("192.168.1.0/24", LAN),
        ("fd00:1::/64", LAN),
        ("203.0.113.0/24", WAN),
        ("fd00:2::/64", WAN),
        ("0.0.0.0/0", WAN),
        ("::/0", WAN),
    ] {
        listed.push(Listed {
            to: to.parse().unwrap(),
            hop: Hop::Out(dev),
            source: None,
            via: None,
        });
    }
    let network = Network::listed(interfaces, &listed, Routing::Forwarding);
    Engine::new(Config { network, ..Config::default() })
}

fn udp(from: &str, to: &str) -> Vec<u8> {
    let ends: [IpAddr; 2] = [from, to].map(|end| end.parse().unwrap());
    compose::udp((ends[0], 4000), (ends[1], 53), b"?")
}

/// Where it left, from whom to whom, and of ICMP the type and code.
fn shown(dev: &str, bytes: &[u8]) -> String {
    let packet = Packet::parse(bytes).unwrap();
    let kind = match packet.upper().unwrap().protocol {
        1 | 58 => format!("{:?}", packet.l4().get(..2)),
        _ => String::new(),
    };
    format!("{dev} {} > {} {kind}", packet.source(), packet.destination())
}

fn ours(engine: &mut Engine, mut bytes: Vec<u8>) -> Vec<String> {
    let port = Port::Interface(LAN);
    let now = Instant::from_secs(1);
    let outcome =
        engine.process(&mut Arrival { port, bytes: &mut bytes, now, link: None }, From::Wire);
    let mut emitted = Vec::new();
    engine.take_emitted(&mut emitted);
    let name = |id: Option<InterfaceId>| if id == Some(LAN) { "lan0" } else { "wan0" };
    let own = match outcome.verdict {
        Verdict::Forward(to) => Some(shown(name(to), &bytes)),
        _ => None,
    };
    let others = emitted.iter().map(|one| shown(name(one.interface), &one.bytes));
    own.into_iter().chain(others).collect()
}

#[test]
fn routes_lead_where_the_kernels_lead() {
    if !kernel::is_there() {
        return;
    }
    let asked = [
        ("192.168.1.9", "10.1.0.1"),
        ("192.168.1.9", "10.2.0.1"),
        ("192.168.1.9", "10.3.0.1"),
        ("192.168.1.9", "10.4.0.1"),
        ("192.168.1.9", "10.5.0.1"),
        ("fd00:1::9", "fd00:a1::1"),
        ("fd00:1::9", "fd00:a2::1"),
        ("fd00:1::9", "fd00:a3::1"),
        // Answered from the source that the route back prefers.
        ("172.16.0.9", "10.2.0.1"),
        ("192.168.1.9", "198.51.100.9"),
    ];
    let packets: Vec<_> = asked.iter().map(|(from, to)| udp(from, to)).collect();
    let step = |bytes: &Vec<u8>| Step::Packet { from: kernel::Port::Lan, bytes: bytes.clone() };
    let scenario = Scenario {
        links: routes().into_iter().map(|(line, _)| line.to_owned()).collect(),
        sysctls: vec![("net.ipv4.icmp_ratelimit".into(), "0".into())],
        steps: packets.iter().map(step).collect(),
        ..Scenario::default()
    };
    let outcome = Kernel::new().expect("a namespace").run(&scenario).expect("the scenario");
    let mut engine = engine();
    for ((ends, bytes), seen) in asked.iter().zip(packets).zip(&outcome.observations) {
        let name = |port| if port == kernel::Port::Lan { "lan0" } else { "wan0" };
        let theirs: Vec<_> =
            seen.out.iter().map(|left| shown(name(left.port), &left.bytes)).collect();
        assert_eq!(theirs, ours(&mut engine, bytes), "{ends:?}: the kernel, the engine");
    }
}
