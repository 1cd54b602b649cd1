//! What the link tells of a packet, as rules see it. Each answer is the one that the running kernel
//! gave to the same frames on a TAP device.

#![allow(clippy::unwrap_used, reason = "a failure is the test's own")]

use stateward_conntrack::Instant;
use stateward_engine::route::{Interface, Network, Routing};
use stateward_engine::rules::Logged;
use stateward_engine::{Arrival, At, Config, Engine, From, InterfaceId, LinkHeader, Port, Verdict};
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{ShowCounters, Source};
use stateward_wire::{Family, compose};

const RULES: &str = "\
*filter
-A INPUT -m pkttype --pkt-type unicast
-A INPUT -m pkttype --pkt-type broadcast
-A INPUT -m pkttype --pkt-type multicast
-A INPUT -m mac --mac-source 02:00:00:00:00:AA
-A INPUT -m mac ! --mac-source 02:00:00:00:00:BB
-A INPUT -j LOG
-A INPUT -p udp -j REJECT
COMMIT
";

fn engine() -> Engine {
    engine_of(["192.168.1.1/24", "10.9.9.1/24"])
}

fn engine_of([lan, wan]: [&str; 2]) -> Engine {
    let interfaces = [("lan0", lan), ("wan0", wan)];
    let interfaces = interfaces.map(|(name, address)| Interface {
        addresses: vec![address.parse().unwrap()],
        ..Interface::named(name)
    });
    let network = Network::new(interfaces.to_vec(), &[], Routing::Forwarding);
    let mut engine = Engine::new(Config { network, ..Config::default() });
    let source = Source::new("rules.v4", RULES);
    engine.set_rules(&restore(&source, Family::V4, RestoreOptions::default()).unwrap());
    engine
}

const US: [u8; 6] = [2, 0, 0, 0, 0, 7];
const ALL: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 5];

fn header(destination: [u8; 6]) -> LinkHeader {
    let mut bytes = [0; 14];
    bytes[..6].copy_from_slice(&destination);
    bytes[6..].copy_from_slice(&[2, 0, 0, 0, 0, 0xaa, 8, 0]);
    LinkHeader::new(bytes)
}

/// A datagram to this address: what became of it, which rules have counted it, the line logged.
fn send(to: &str, port: Port, link: Option<&LinkHeader>) -> (Verdict, Vec<u64>, String) {
    let mut engine = engine();
    let from = if port == Port::Local { to } else { "192.168.1.9" };
    let ends = [(from, 4000), (to, 9)].map(|(address, port)| (address.parse().unwrap(), port));
    let mut bytes = compose::udp(ends[0], ends[1], b"1234");
    let mut arrival = Arrival { port, bytes: &mut bytes, now: Instant::from_secs(1), link };
    let outcome = engine.process(&mut arrival, From::Wire);
    let saved = engine.rules(Family::V4).unwrap().counted().save(ShowCounters::Yes);
    let met = saved.lines().filter(|line| line.contains("-A INPUT"));
    let met = met.zip(1..).filter(|(line, _)| !line.starts_with("[0:")).map(|(_, number)| number);
    let logged = match engine.notes().log.first() {
        Some(Logged::Line(line)) => line.text.clone(),
        _ => String::new(),
    };
    let logged = logged.split(" SRC=").next().unwrap().to_owned();
    (outcome.verdict, met.collect(), logged)
}

const LAN: Port = Port::Interface(InterfaceId(0));

#[test]
fn a_frame_for_this_host_or_many() {
    let mac = "02:00:00:00:00:aa:08:00";
    let (verdict, met, logged) = send("192.168.1.1", LAN, Some(&header(US)));
    assert_eq!((verdict, met), (Verdict::Reject, vec![1, 4, 5, 6, 7]));
    assert_eq!(logged, format!("IN=lan0 OUT= MAC=02:00:00:00:00:07:{mac}"));
    let (_, met, logged) = send("192.168.1.1", LAN, Some(&header(ALL)));
    assert_eq!(met, [2, 4, 5, 6, 7]);
    assert_eq!(logged, format!("IN=lan0 OUT= MAC=ff:ff:ff:ff:ff:ff:{mac}"));
    let (_, met, _) = send("192.168.1.1", LAN, Some(&header(GROUP)));
    assert_eq!(met, [3, 4, 5, 6, 7]);
}

#[test]
fn what_came_by_no_link_of_stations_has_none() {
    let (_, met, logged) = send("192.168.1.1", LAN, None);
    assert_eq!((met, logged.as_str()), (vec![1, 6, 7], "IN=lan0 OUT= MAC="));
    // The host's own interface has a header of zeroes, and no stations.
    let (_, met, logged) = send("192.168.1.1", Port::Local, None);
    let zeroes = "00:00:00:00:00:00:00:00:00:00:00:00";
    assert_eq!((met, logged), (vec![1, 6, 7], format!("IN=lo OUT= MAC={zeroes}:08:00")));
}

#[test]
fn a_frame_for_many_is_not_forwarded() {
    let verdict = |link| send("10.9.9.2", LAN, Some(&link)).0;
    assert_eq!(verdict(header(US)), Verdict::Forward(Some(InterfaceId(1))));
    assert_eq!(verdict(header(ALL)), Verdict::Drop(At::Routing));
    assert_eq!(verdict(header(GROUP)), Verdict::Drop(At::Routing));
}

/// What the host answers to a packet with an option of this kind that it does not know.
fn answers_to_option(kind: u8, to: &str, destination: [u8; 6]) -> usize {
    let mut engine = engine_of(["fd00::1/64", "fd00:9::1/64"]);
    let header = [59, 0, kind, 4, 0, 0, 0, 0];
    let (from, to) = ("fd00::9".parse().unwrap(), to.parse().unwrap());
    let mut bytes = compose::ip(from, to, 0, &header);
    let link = self::header(destination);
    let now = Instant::from_secs(1);
    let mut arrival = Arrival { port: LAN, bytes: &mut bytes, now, link: Some(&link) };
    engine.process(&mut arrival, From::Wire);
    let mut emitted = Vec::new();
    engine.take_emitted(&mut emitted);
    emitted.len()
}

#[test]
fn of_what_many_received_one_kind_of_option_is_answered() {
    const DISCARD_AND_TELL: u8 = 0x9e;
    const TELL_UNLESS_MULTICAST: u8 = 0xde;
    const MULTICAST: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    for (kind, to, link, answers) in [
        (DISCARD_AND_TELL, "fd00::1", US, 1),
        (DISCARD_AND_TELL, "fd00::1", MULTICAST, 1),
        (DISCARD_AND_TELL, "ff02::1", MULTICAST, 1),
        (TELL_UNLESS_MULTICAST, "fd00::1", US, 1),
        (TELL_UNLESS_MULTICAST, "fd00::1", MULTICAST, 0),
        (TELL_UNLESS_MULTICAST, "ff02::1", MULTICAST, 0),
    ] {
        assert_eq!(answers_to_option(kind, to, link), answers, "{kind:#x} {to} {link:x?}");
    }
}
