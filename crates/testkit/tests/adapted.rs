//! Dialogues behind the running kernel's NAT: what is said of the ends' own addresses reaches them,
//! because answers are adapted to what was seen; and the kernel takes every random nat table.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::SocketAddr;

use stateward_wire::Family;
use testkit::adapt::Manner;
use testkit::build::{Packet, TCP_ACK, TCP_SYN};
use testkit::dialogue::Random;
use testkit::kernel::{self, CtState, Kernel, Look, Observation, Port, Scenario, Step};
use testkit::ruleset;

/// Sources in the machine's name, port 80 of its own to a server inside, from there as well.
const RULES: [&str; 2] = [
    "*nat
-A PREROUTING -d 203.0.113.1/32 -p tcp -j DNAT --to-destination 192.168.1.12:8080
-A POSTROUTING -o wan0 -j MASQUERADE
-A POSTROUTING -s 192.168.1.0/24 -d 192.168.1.0/24 -p tcp -j SNAT --to-source 192.168.1.1:900
COMMIT
",
    "*nat
-A PREROUTING -d fd00:2::1/128 -p tcp -j DNAT --to-destination [fd00:1::c]:8080
-A POSTROUTING -o wan0 -j MASQUERADE
-A POSTROUTING -s fd00:1::/64 -d fd00:1::/64 -p tcp -j SNAT --to-source [fd00:1::1]:900
COMMIT
",
];

fn said(from: Port, packet: &Packet) -> Step {
    Step::Answer { from, bytes: packet.bytes(), manner: Manner::Adapted }
}

/// A question, its answer, and a second question, between two ends that know of nobody else.
fn talk(v6: bool) -> Vec<Step> {
    let ends: [&str; 3] = match v6 {
        false => ["192.168.1.10:40000", "198.51.100.5:80", "203.0.113.1:80"],
        true => ["[fd00:1::a]:40000", "[2001:db8::5]:80", "[fd00:2::1]:80"],
    };
    let [client, server, own]: [SocketAddr; 3] = ends.map(|end| end.parse().unwrap());
    let tcp = |from, to, flags, seq, ack| Packet::tcp(from, to, flags, seq, ack);
    let echo = if v6 { [128, 129] } else { [8, 0] };
    let ping =
        |from: SocketAddr, to: SocketAddr, kind| Packet::icmp(from.ip(), to.ip(), kind, 0, 77, 1);
    let about = Packet::udp(client, server, b"lost").bytes();
    let error = if v6 { (1, 4) } else { (3, 3) };
    let mut steps = Vec::new();
    for to in [server, own] {
        steps.push(said(Port::Lan, &tcp(client, to, TCP_SYN, 7, 0)));
        steps.push(said(Port::Wan, &tcp(to, client, TCP_SYN | TCP_ACK, 70, 8)));
        steps.push(said(Port::Lan, &tcp(client, to, TCP_ACK, 8, 71)));
    }
    steps.push(said(Port::Lan, &ping(client, server, echo[0])));
    steps.push(said(Port::Wan, &ping(server, client, echo[1])));
    steps.push(said(Port::Lan, &Packet::udp(client, server, b"lost")));
    let (kind, code) = error;
    let told = Packet::icmp_error(server.ip(), client.ip(), kind, code, &about);
    steps.push(said(Port::Wan, &told));
    steps
}

/// The state of a packet, and its bytes where it arrived, with its first TTL.
fn arrived(seen: &Observation) -> (CtState, Port, Vec<u8>) {
    let (port, bytes) = seen.arrived().expect("it arrives");
    (seen.state().unwrap(), port, bytes.to_vec())
}

#[test]
fn answers_come_back_to_who_asked() {
    if !kernel::is_there() {
        return;
    }
    for v6 in [false, true] {
        let steps = talk(v6);
        let [rules4, rules6] = RULES.map(|text| Some(text.to_owned()));
        let scenario = Scenario { rules4, rules6, steps: steps.clone(), ..Scenario::default() };
        let outcome = kernel::run(&scenario).unwrap();
        let seen: Vec<_> = outcome.observations.iter().map(arrived).collect();
        let states: Vec<CtState> = seen.iter().map(|(state, ..)| *state).collect();
        use CtState::{Established, New, Related};
        let open = [New, Established, Established];
        let rest = [New, Established, New, Related];
        assert_eq!(states, [&open[..], &open, &rest].concat());
        for (place, step) in steps.iter().enumerate() {
            let Step::Answer { from: Port::Wan, bytes, .. } = step else { continue };
            let (_, port, there) = &seen[place];
            assert_eq!(*port, Port::Lan, "packet {place}");
            // All but the TTL, and the IPv4 header's checksum.
            let (addresses, hop) = if v6 { (8, 7) } else { (12, 8) };
            assert_eq!(there[addresses..], bytes[addresses..], "packet {place}");
            assert_eq!(there[hop], 63, "packet {place}");
        }
    }
}

#[test]
fn the_kernel_takes_every_random_nat_table() {
    if !kernel::is_there() {
        return;
    }
    let mut kernel = Kernel::new().unwrap();
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let [rules4, rules6] =
            [Family::V4, Family::V6].map(|family| Some(ruleset::generate_nat(&mut random, family)));
        let (look, steps) = (Look::default(), Vec::new());
        let scenario = Scenario { rules4, rules6, look, steps, ..Scenario::default() };
        let outcome = kernel.run(&scenario).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let rules = outcome.rules4.into_iter().chain(outcome.rules6);
        assert!(
            rules
                .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
                .any(|line| line == "*nat")
        );
    }
}
