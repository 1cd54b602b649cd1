//! Which IPv4 sources may come in: the running kernel against the engine, for every `rp_filter` and
//! `accept_local`, with and without a default route, for every kind of source and destination, on
//! both links. Compared is whether the packet survives routing.
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

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stateward_conntrack::Instant;
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::{OwnSource, ReversePath, SourceCheck};
use stateward_engine::{Arrival, At, Config, Engine, From, Port, Verdict};
use testkit::build::Packet;
use testkit::kernel::{self, Checkpoint, Hook, Kernel, Scenario, Step};

/// An address of every kind, as source and as destination.
const ADDRESSES: [[u8; 4]; 14] = [
    [0, 0, 0, 0],
    [127, 0, 0, 1],
    [192, 168, 1, 0],
    [192, 168, 1, 1],
    [192, 168, 1, 10],
    [192, 168, 1, 255],
    [203, 0, 113, 1],
    [203, 0, 113, 7],
    [203, 0, 113, 255],
    [198, 51, 100, 5],
    [224, 0, 0, 1],
    [239, 1, 2, 3],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

struct Way {
    check: SourceCheck,
    default_route: bool,
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for reverse_path in [ReversePath::Any, ReversePath::Strict, ReversePath::Loose] {
        for own in [OwnSource::Refused, OwnSource::Accepted] {
            for default_route in [false, true] {
                ways.push(Way { check: SourceCheck { reverse_path, own }, default_route });
            }
        }
    }
    ways
}

fn packets() -> Vec<(kernel::Port, Vec<u8>)> {
    let mut packets = Vec::new();
    for source in ADDRESSES {
        for destination in ADDRESSES {
            let end = |octets, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), port);
            let bytes = Packet::udp(end(source, 4000), end(destination, 5000), b"whence").bytes();
            packets.push((kernel::Port::Lan, bytes.clone()));
            packets.push((kernel::Port::Wan, bytes));
        }
    }
    packets
}

/// For each packet whether the kernel lets it past routing.
fn theirs(kernel: &mut Kernel, way: &Way) -> Vec<bool> {
    let conf = |device: &str, name: &str, value: u8| {
        (format!("net.ipv4.conf.{device}.{name}"), value.to_string())
    };
    let mut scenario = Scenario::default();
    for device in ["lan0", "wan0"] {
        scenario.sysctls.push(conf(device, "rp_filter", way.check.reverse_path as u8));
        scenario.sysctls.push(conf(device, "accept_local", way.check.own as u8));
    }
    if !way.default_route {
        scenario.links.push("route del default".into());
    }
    let steps = packets().into_iter().map(|(from, bytes)| Step::Packet { from, bytes });
    scenario.steps = steps.collect();
    let outcome = kernel.run(&scenario).expect("the scenario");
    let passes = |observation: &kernel::Observation| {
        let walk = observation.walks.first();
        walk.is_some_and(|walk| {
            walk.reached(Hook::Input, Checkpoint::Enter)
                || walk.reached(Hook::Forward, Checkpoint::Enter)
        })
    };
    outcome.observations.iter().map(passes).collect()
}

fn ours(way: &Way) -> Vec<(bool, String)> {
    let interface = |name: &str, address: &str| Interface {
        addresses: vec![address.parse().unwrap()],
        link: Link::PointToPoint,
        source_check: way.check,
        ..Interface::named(name)
    };
    let interfaces = vec![interface("lan0", "192.168.1.1/24"), interface("wan0", "203.0.113.1/24")];
    let default = Route { to: "0.0.0.0/0".parse().unwrap(), dev: InterfaceId(1), via: None };
    let routes = if way.default_route { vec![default] } else { Vec::new() };
    let network = Network::new(interfaces, &routes, Routing::Forwarding);
    let mut engine = Engine::new(Config { network, ..Config::default() });
    let fate = |(from, mut bytes): (kernel::Port, Vec<u8>)| {
        let port = Port::Interface(InterfaceId(u16::from(from == kernel::Port::Wan)));
        let mut arrival =
            Arrival { port, bytes: &mut bytes, now: Instant::from_secs(1), link: None };
        let outcome = engine.process(&mut arrival, From::Wire);
        let why = outcome.why.map(|why| why.code().to_owned()).unwrap_or_default();
        (outcome.verdict != Verdict::Drop(At::Routing), why)
    };
    packets().into_iter().map(fate).collect()
}

#[test]
fn the_kernel_lets_the_same_sources_in() {
    if !kernel::is_there() {
        return;
    }
    let mut kernel = Kernel::new().expect("a namespace");
    let mut differences = String::new();
    for way in ways() {
        let (theirs, ours) = (theirs(&mut kernel, &way), ours(&way));
        assert!(theirs.contains(&true) && theirs.contains(&false));
        for (((from, bytes), theirs), (ours, why)) in packets().iter().zip(&theirs).zip(&ours) {
            if theirs != ours {
                let address = |at: usize| Ipv4Addr::from(*bytes[at..].first_chunk::<4>().unwrap());
                let (source, destination) = (address(12), address(16));
                let Way { check, default_route } = &way;
                differences += &format!(
                    "{check:?}, default route {default_route}: {from:?} {source} > {destination}: \
                     kernel {theirs}, engine {ours} {why}\n"
                );
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
