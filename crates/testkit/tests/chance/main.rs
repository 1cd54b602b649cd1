//! Where NAT is random: the ports that it chooses, held against what chance would say.
//!
//! The kernel draws a number of sixteen bits, takes its remainder by the size of the range as the
//! place to begin, and goes on from there to the first port that is free. So its choice is not
//! quite uniform: with 64,512 ports the first 1,024 come twice as often as the rest, and a free
//! port behind taken ones inherits their share. [`Expected`] is exactly that distribution. It is
//! tested by Pearson's chi-square that what was chosen comes from it: of the kernel 2,000 times a
//! case, of the engine under 10,000 seeds; and that the two could be one and the same. A test
//! fails by chance in one of 100,000 cases ([`LEVEL`]); ours are the same each time.
//!
//! An address out of several is not chosen at random but by a hash without a secret, on both sides
//! the same; only that it spreads is tested here.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

mod case;
mod square;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stateward_conntrack::{Instant, Sysctls};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Route, Routing};
use stateward_engine::source::{OwnSource, ReversePath, SourceCheck};
use stateward_engine::{Arrival, Config, Engine, From, Verdict};
use stateward_rules::Source;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_wire::Family;
use testkit::adapt;
use testkit::build::Packet;
use testkit::dialogue;
use testkit::kernel::{self, Kernel, Port, Scenario, Step};

use case::{CASES, Case, Chosen};
use square::Expected;

/// Connections of the kernel's a case.
const KERNELS: u32 = 2000;
/// Seeds of ours.
const SEEDS: u32 = 10_000;

/// How often each port was chosen.
type Counts = BTreeMap<u16, u64>;

/// The port that a packet left with.
fn chosen(case: &Case, bytes: &[u8]) -> Option<u16> {
    let ends = adapt::ends(bytes)?;
    let [first, second] = ends.keys;
    Some(match (case.chosen, ends.source) {
        (Chosen::Source | Chosen::Identifier, _) => first,
        (Chosen::Destination, _) => second,
        (Chosen::Address, IpAddr::V4(source)) => source.octets()[3].into(),
        (Chosen::Address, IpAddr::V6(source)) => source.segments()[7],
    })
}

fn rules(case: &Case) -> String {
    format!("*nat\n{}\nCOMMIT\n", case.rule)
}

/// What the kernel chose in so many connections.
fn kernels(kernel: &mut Kernel, case: &Case) -> Counts {
    let mut steps = Vec::new();
    // The places of those steps whose packets leave with something chosen.
    let mut last = Vec::new();
    for n in 0..KERNELS {
        let packets = (case.packets)(n);
        let packets = packets.iter().map(|(from, packet)| {
            let from: Port = (*from).into();
            Step::Packet { from, bytes: packet.bytes() }
        });
        steps.extend(packets);
        last.push(steps.len() - 1);
    }
    let mut scenario = Scenario { steps, ..Scenario::default() };
    match case.is_v6 {
        false => scenario.rules4 = Some(rules(case)),
        true => scenario.rules6 = Some(rules(case)),
    }
    let outcome = kernel.run(&scenario).unwrap();
    let mut counts = Counts::new();
    for place in last {
        let (_, bytes) = outcome.observations[place].arrived().expect("it leaves");
        *counts.entry(chosen(case, bytes).expect("it has ports")).or_default() += 1;
    }
    counts
}

#[test]
fn the_kernel_chooses_as_is_expected_of_it() {
    if !kernel::is_there() {
        return;
    }
    let mut kernel = Kernel::new().unwrap();
    for case in CASES {
        let counts = kernels(&mut kernel, case);
        let expected = Expected::of(case.range, case.taken);
        let found = expected.square(&counts);
        println!("{}: {found}", case.name);
        assert!(found.is_likely(), "{}: {found}\n{counts:?}", case.name);
    }
}

/// What the engine chooses under so many seeds.
fn ours(case: &Case) -> Counts {
    let text = rules(case);
    let source = Source::new("rules", &text);
    let family = if case.is_v6 { Family::V6 } else { Family::V4 };
    let rules = restore(&source, family, RestoreOptions::default()).expect("right rules");
    let mut counts = Counts::new();
    for n in 0..SEEDS {
        let sysctls = Sysctls { max: 16, ..Sysctls::default() };
        let seed = [n.into(), 0];
        let tracker = stateward_conntrack::Config { sysctls, seed, ..Default::default() };
        let network = network();
        let mut engine = Engine::new(Config { tracker, network, ..Config::default() });
        engine.set_rules(&rules);
        let mut left = None;
        for (from, packet) in (case.packets)(n) {
            let port = if from == dialogue::Port::Lan { 0 } else { 1 };
            let port = stateward_engine::Port::Interface(InterfaceId(port));
            let mut bytes = packet.bytes();
            let mut arrival = Arrival { port, bytes: &mut bytes, now: Instant(1), link: None };
            let outcome = engine.process(&mut arrival, From::Wire);
            assert!(matches!(outcome.verdict, Verdict::Forward(_) | Verdict::Input), "{outcome:?}");
            left = Some(bytes);
        }
        let left = left.expect("a packet");
        *counts.entry(chosen(case, &left).expect("it has ports")).or_default() += 1;
    }
    counts
}

fn network() -> Network {
    let interface = |name: &str, addresses: [&str; 2]| Interface {
        name: name.to_owned(),
        addresses: addresses.map(|address| address.parse().unwrap()).to_vec(),
        mtu: 1500,
        link: Link::PointToPoint,
        source_check: SourceCheck { reverse_path: ReversePath::Any, own: OwnSource::Accepted },
        group: 0,
    };
    let interfaces = vec![
        interface("lan0", ["192.168.1.1/24", "fd00:1::1/64"]),
        interface("wan0", ["203.0.113.1/24", "fd00:2::1/64"]),
    ];
    let routes = ["0.0.0.0/0", "::/0"].map(|to| Route {
        to: to.parse().unwrap(),
        dev: InterfaceId(1),
        via: None,
    });
    Network::new(interfaces, &routes, Routing::Forwarding)
}

#[test]
fn the_engine_chooses_as_the_kernel_does() {
    let mut kernel = kernel::is_there().then(|| Kernel::new().unwrap());
    for case in CASES {
        let expected = Expected::of(case.range, case.taken);
        let ours = ours(case);
        let found = expected.square(&ours);
        println!("{}: {found}", case.name);
        assert!(found.is_likely(), "{}: {found}\n{ours:?}", case.name);
        let Some(kernel) = &mut kernel else { continue };
        let between = expected.between(&ours, &kernels(kernel, case));
        println!("  from the kernel's: {between}");
        assert!(between.is_likely(), "{}: {between}", case.name);
    }
}

/// Addresses are picked by hash: that of 10,000 hosts, towards one server, each address gets its
/// share. What the kernel picks for a packet is the judge's to hold.
#[test]
fn hosts_are_spread_over_the_addresses() {
    let case = Case {
        name: "SNAT to addresses",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.16-203.0.113.31",
        packets: |n| {
            let from = Ipv4Addr::from(0x0a00_0000 + n * 7);
            let to = SocketAddr::from(([198, 51, 100, 5], 80));
            vec![(dialogue::Port::Lan, Packet::udp(SocketAddr::new(from.into(), 9), to, b"x"))]
        },
        chosen: Chosen::Address,
        range: [16, 31],
        taken: &[],
    };
    let ours = ours(&case);
    let found = Expected::of(case.range, case.taken).square(&ours);
    assert!(found.is_likely(), "{found}\n{ours:?}");
}

#[test]
fn another_distribution_is_told_from_it() {
    let expected = Expected::of([1024, 65_535], &[]);
    // Uniform: the first 1,024 ports as often as the others.
    let uniform: Counts = (0..10_000u32).map(|n| (1024 + (n * 6 % 64_512) as u16, 1)).collect();
    let found = expected.square(&uniform);
    assert!(!found.is_likely(), "{found}");
    let expected = Expected::of([6000, 6003], &[6000, 6001]);
    let uniform = Counts::from([(6002, 500), (6003, 500)]);
    assert!(!expected.square(&uniform).is_likely());
    let right = Counts::from([(6002, 740), (6003, 260)]);
    assert!(expected.square(&right).is_likely());
    let outside = Counts::from([(6002, 740), (6003, 260), (6000, 1)]);
    assert!(!expected.square(&outside).is_likely());
}
