//! Helpers by port, as until Linux 6.0: held against rules that give the same ones, which are held
//! against the running kernel (`helpers`). No kernel does this any more that could be asked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's own")]

use std::net::SocketAddr;

use stateward_conntrack::{Assigned, EventMode, Instant, Sysctls};
use stateward_engine::route::{Interface, InterfaceId, Link, Network, Routing};
use stateward_engine::source::SourceCheck;
use stateward_engine::{Arrival, Config, Engine, From, Port};
use stateward_rules::Source;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_wire::{Family, protocol};
use testkit::build::{Packet, TCP_ACK, TCP_PSH, TCP_SYN};

const LAN: Port = Port::Interface(InterfaceId(0));
const WAN: Port = Port::Interface(InterfaceId(1));

const FTP: Assigned = Assigned { helper: "ftp", protocol: protocol::TCP, family: None, port: 21 };
const IRC: Assigned =
    Assigned { helper: "irc", protocol: protocol::TCP, family: Some(Family::V4), port: 6667 };

/// Which rules each table has.
fn engine(assigned: &[Assigned], raw: &str, nat: &str) -> Engine {
    let interface = |name: &str, address: &str| Interface {
        name: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        mtu: 1500,
        link: Link::PointToPoint,
        source_check: SourceCheck::default(),
        group: 0,
    };
    let interfaces =
        vec![interface("lan0", "192.168.1.1/24"), interface("wan0", "198.51.100.1/24")];
    let network = Network::new(interfaces, &[], Routing::Forwarding);
    let sysctls = Sysctls { max: 64, events: EventMode::Always, ..Sysctls::default() };
    let tracker = stateward_conntrack::Config { sysctls, ..Default::default() };
    let mut engine = Engine::new(Config { tracker, network, ..Config::default() });
    let text = format!("*raw\n{raw}COMMIT\n*nat\n{nat}COMMIT\n");
    let rules = restore(&Source::new("rules", &text), Family::V4, RestoreOptions::default());
    engine.set_rules(&rules.unwrap());
    engine.tracker_mut().set_assigned(assigned.to_vec());
    engine
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A session with a server that is at `port` for its client, who says where it listens, and the
/// connection that comes of it. What left, and what was told.
fn session(engine: &mut Engine, server: &str, known: &str) -> String {
    let (client, server, known) = (at("192.168.1.7:3000"), at(server), at(known));
    let tcp = |from, to, flags, numbers: [u32; 2], data: &[u8]| {
        Packet::tcp(from, to, flags, numbers[0], numbers[1]).payload(data).bytes()
    };
    let data = |port| SocketAddr::new(client.ip(), port);
    let steps = [
        (LAN, tcp(client, known, TCP_SYN, [1, 0], b"")),
        (WAN, tcp(server, client, TCP_SYN | TCP_ACK, [9, 2], b"")),
        (LAN, tcp(client, known, TCP_ACK, [2, 10], b"")),
        (WAN, tcp(server, client, TCP_ACK | TCP_PSH, [10, 2], b"220 hello\r\n")),
        (LAN, tcp(client, known, TCP_ACK | TCP_PSH, [2, 21], b"USER me\r\n")),
        (LAN, tcp(client, known, TCP_ACK | TCP_PSH, [11, 21], b"PORT 192,168,1,7,4,1\r\n")),
        (WAN, tcp(SocketAddr::new(server.ip(), 20), data(1025), TCP_SYN, [5, 0], b"")),
    ];
    let mut told = String::new();
    for (number, (port, mut bytes)) in steps.into_iter().enumerate() {
        let now = Instant::from_secs(1000 + number as u64);
        let arrival = &mut Arrival { port, bytes: &mut bytes, now, link: None };
        let outcome = engine.process(arrival, From::Wire);
        told += &format!("{:?} {:?} {bytes:02x?}\n", outcome.verdict, outcome.state);
        let (mut events, mut emitted) = (Vec::new(), Vec::new());
        engine.take_events(&mut events);
        engine.take_emitted(&mut emitted);
        events.iter().for_each(|event| told += &format!("{event:?}\n"));
    }
    told
}

const SERVER: &str = "198.51.100.9:21";

#[test]
fn a_port_gives_what_a_rule_would_have_given() {
    const RULE: &str = "-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\n";
    let by_rule = session(&mut engine(&[], RULE, ""), SERVER, SERVER);
    assert!(by_rule.contains("Some(Related)"), "{by_rule}");
    assert_eq!(session(&mut engine(&[IRC, FTP], "", ""), SERVER, SERVER), by_rule);
    let none = session(&mut engine(&[], "", ""), SERVER, SERVER);
    assert!(!none.contains("Related") && !none.contains("Some(\"ftp\")"), "{none}");
}

#[test]
fn a_service_is_known_by_where_nat_leads_to() {
    const DNAT: &str =
        "-A PREROUTING -p tcp --dport 2121 -j DNAT --to-destination 198.51.100.9:21\n";
    const RULE: &str = "-A PREROUTING -p tcp --dport 2121 -j CT --helper ftp\n";
    let known = "198.51.100.9:2121";
    let by_rule = session(&mut engine(&[], RULE, DNAT), SERVER, known);
    assert!(by_rule.contains("Some(Related)"), "{by_rule}");
    assert_eq!(session(&mut engine(&[FTP], "", DNAT), SERVER, known), by_rule);
    // From the port to another one, where nobody speaks it, or something else.
    let away = "-A PREROUTING -p tcp --dport 21 -j DNAT --to-destination 198.51.100.9:6667\n";
    for assigned in [&[FTP][..], &[FTP, IRC]] {
        let told = session(&mut engine(assigned, "", away), "198.51.100.9:6667", SERVER);
        assert!(!told.contains("Related") && !told.contains("helper: Some"), "{told}");
    }
}

#[test]
fn what_a_rule_says_goes_before_the_port() {
    const RULE: &str = "-A PREROUTING -p tcp --dport 21 -j CT --helper irc\n";
    const AWAY: &str = "-A PREROUTING -p tcp --dport 21 -j DNAT --to-destination 198.51.100.9:21\n";
    for nat in ["", AWAY] {
        let told = session(&mut engine(&[FTP], RULE, nat), SERVER, SERVER);
        assert!(told.contains("helper: Some(\"irc\")"), "{told}");
        assert!(!told.contains("Related"), "{told}");
    }
    // Nor does a connection that was announced get one.
    let data = Assigned { helper: "irc", protocol: protocol::TCP, family: None, port: 1025 };
    let told = session(&mut engine(&[FTP, data], "", ""), SERVER, SERVER);
    assert!(told.contains("Some(Related)") && !told.contains("Some(\"irc\")"), "{told}");
}
