//! Where packets go that this host sends to all of a link, and what mangle's and nat's changes do to
//! that: as the running kernel answered to sockets bound to these addresses.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use stateward_conntrack::Instant;
use stateward_engine::account::{Keep, Station};
use stateward_engine::route::{Interface, Network, Route, Routing, RoutingDrop};
use stateward_engine::{
    Arrival, At, Config, Engine, From, InterfaceId, Outcome, Port, Verdict, Why,
};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{ShowCounters, Source};
use stateward_wire::{Family, compose};

const RULES: &str = "\
*mangle
-A OUTPUT -p udp --dport 5353 -j MARK --set-mark 5
-A OUTPUT -p udp --dport 5354 -j TOS --set-tos 0x10
-A OUTPUT -p udp --dport 5355 -j MARK --set-mark 0
COMMIT
*filter
-A OUTPUT -o lan0
-A OUTPUT -o wan0
COMMIT
";

/// A port alone, and where to.
const NAT: [&str; 2] = [
    "*nat\n-A OUTPUT -p udp --dport 67 -j DNAT --to-destination :6767\n\
     -A OUTPUT -p udp --dport 68 -j DNAT --to-destination 224.0.0.251\nCOMMIT\n",
    "*nat\n-A OUTPUT -p udp --dport 67 -j DNAT --to-destination :6767\n\
     -A OUTPUT -p udp --dport 68 -j DNAT --to-destination ff02::fb\nCOMMIT\n",
];

fn engine() -> Engine {
    let on = |name: &str, addresses: [&str; 2]| Interface {
        addresses: addresses.map(|address| address.parse().unwrap()).to_vec(),
        ..Interface::named(name)
    };
    let interfaces = vec![
        on("lan0", ["192.168.1.1/24", "fe80::1/64"]),
        on("wan0", ["203.0.113.1/24", "fe80::2/64"]),
    ];
    let default = |to: &str| Route { to: to.parse().unwrap(), dev: InterfaceId(1), via: None };
    let network = Network::new(interfaces, &[default("0.0.0.0/0")], Routing::Forwarding);
    let mut engine = Engine::new(Config { network, ..Config::default() });
    set(&mut engine, Family::V4, RULES);
    engine
}

fn set(engine: &mut Engine, family: Family, rules: &str) {
    let source = Source::new("rules", rules);
    engine.set_rules(&restore(&source, family, RestoreOptions::default()).unwrap());
}

fn sent(engine: &mut Engine, from: &str, to: &str, port: u16) -> Outcome {
    let ends = [(from, 4000), (to, port)].map(|(one, port)| (one.parse().unwrap(), port));
    let mut bytes = compose::udp(ends[0], ends[1], b"1234");
    let now = Instant::from_secs(1);
    let mut arrival = Arrival { port: Port::Local, bytes: &mut bytes, now, link: None };
    engine.process(&mut arrival, From::Wire)
}

const LAN: Verdict = Verdict::Output(Some(InterfaceId(0)));
const WAN: Verdict = Verdict::Output(Some(InterfaceId(1)));

#[test]
fn what_goes_to_a_link_goes_by_the_interface_that_speaks() {
    let mut engine = engine();
    for (from, to, verdict) in [
        ("192.168.1.1", "224.0.0.251", LAN),
        ("203.0.113.1", "224.0.0.251", WAN),
        ("192.168.1.1", "255.255.255.255", LAN),
        ("0.0.0.0", "255.255.255.255", WAN),
        ("192.168.1.1", "198.51.100.7", WAN),
        ("fe80::1", "ff02::fb", LAN),
        ("fe80::2", "fe80::9", WAN),
    ] {
        assert_eq!(sent(&mut engine, from, to, 9).verdict, verdict, "{from} {to}");
    }
    let saved = engine.rules(Family::V4).unwrap().counted().save(ShowCounters::Yes);
    assert!(saved.contains("[2:64] -A OUTPUT -o lan0"), "{saved}");
}

#[test]
fn what_mangle_has_changed_must_have_an_interface_that_speaks() {
    let mut engine = engine();
    for (from, port, verdict) in [
        ("192.168.1.1", 5353, LAN),
        ("198.51.100.9", 9, WAN),
        ("198.51.100.9", 5353, Verdict::Drop(At::Routing)),
        ("198.51.100.9", 5354, Verdict::Drop(At::Routing)),
        ("198.51.100.9", 5355, WAN),
    ] {
        let outcome = sent(&mut engine, from, "224.0.0.251", port);
        assert_eq!(outcome.verdict, verdict, "{from} {port}");
        let dropped = matches!(verdict, Verdict::Drop(_));
        let why = dropped.then_some(Why::Routing(RoutingDrop::NoRoute));
        assert_eq!(outcome.why, why, "{from} {port}");
    }
    assert_eq!(sent(&mut engine, "198.51.100.9", "198.51.100.7", 5353).verdict, WAN);
}

#[test]
fn what_nat_has_changed_is_routed_again_only_for_its_destination() {
    let mut engine = engine();
    set(&mut engine, Family::V4, NAT[0]);
    set(&mut engine, Family::V6, NAT[1]);
    engine.set_explaining(Keep::Everything);
    for (from, to, port, verdict, routed) in [
        ("192.168.1.1", "255.255.255.255", 67, LAN, 1),
        ("203.0.113.1", "255.255.255.255", 67, WAN, 1),
        ("192.168.1.1", "198.51.100.7", 67, WAN, 1),
        ("192.168.1.1", "255.255.255.255", 68, LAN, 2),
        ("192.168.1.1", "198.51.100.7", 68, LAN, 2),
        ("203.0.113.1", "192.168.1.7", 68, WAN, 2),
        ("fe80::1", "fe80::9", 67, LAN, 1),
        ("fe80::2", "fe80::9", 67, WAN, 1),
        ("fe80::1", "fe80::9", 68, LAN, 2),
        ("fe80::1", "ff02::1", 67, LAN, 1),
    ] {
        assert_eq!(sent(&mut engine, from, to, port).verdict, verdict, "{from} {to} {port}");
        let stations = engine.notes().account.stations().iter();
        let met = stations.filter(|station| matches!(station, Station::Routed(_))).count();
        assert_eq!(met, routed, "{from} {to} {port}");
    }
}
