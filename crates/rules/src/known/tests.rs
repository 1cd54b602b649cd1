//! What the kernel does where it knows these things, by matches that ask for them.

use stateward_wire::{Family, protocol};

use super::*;
use crate::Hook;
use crate::context::Context;
use crate::evaluate::tests::{Alone, met_in};
use crate::matches::policy::{Mode, Way};
use crate::shared::Answers;

/// A packet about which this is known, from a process of this host.
fn sent(known: Known) -> Alone {
    let mut packet = Alone::udp(53);
    packet.set_interfaces(["", "wan0"]);
    packet.know(known);
    packet
}

fn came(known: Known) -> Alone {
    let mut packet = Alone::udp(53);
    packet.know(known);
    packet
}

/// Whether the packet passes, where such a match may stand.
fn met(rule: &str, packet: &mut Alone) -> bool {
    let sending = ["owner", "cgroup", "--dir out"].iter().any(|word| rule.contains(word));
    met_in(if sending { Hook::Postrouting } else { Hook::Input }, rule, packet)
}

fn answers(packet: &Alone) -> Answers {
    let mut answers = Answers::default();
    packet.shared().borrow_mut().take_answers(&mut answers);
    answers
}

fn listening(local: &str) -> Socket {
    let local: core::net::SocketAddr = local.parse().unwrap();
    Socket {
        protocol: protocol::UDP,
        local: (local.ip(), local.port()),
        remote: None,
        process: None,
        transparent: false,
        mark: 0,
    }
}

#[test]
fn a_process_owns_what_it_sends() {
    let process = Process { group: 100, groups: vec![4, 27], ..Process::of(1000) };
    let known = || Known { sender: Some(process.clone()), ..Known::default() };
    for (rule, expected) in [
        ("-m owner --uid-owner 1000", true),
        ("-m owner --uid-owner 900-999", false),
        ("-m owner ! --uid-owner 0", true),
        ("-m owner --gid-owner 100 --socket-exists", true),
        ("-m owner --gid-owner 27", false),
        ("-m owner --gid-owner 27 --suppl-groups", true),
        ("-m owner ! --gid-owner 27 --suppl-groups", false),
        ("-m owner ! --socket-exists", false),
    ] {
        let mut packet = sent(known());
        assert_eq!(met(rule, &mut packet), expected, "{rule}");
        let Answers { assumed, given } = answers(&packet);
        assert!(assumed.is_empty());
        assert_eq!(&*given[0].words, "uid 1000, gid 100 4 27");
    }
    let mut forwarded = came(known());
    assert!(!met("-m owner --uid-owner 1000", &mut forwarded));
    assert_eq!(&*answers(&forwarded).given[0].words, "no process");
}

#[test]
fn nothing_known_is_assumed() {
    let mut packet = sent(Known::default());
    for rule in ["-m owner --uid-owner 0", "-m cgroup --cgroup 0", "-m socket"] {
        assert!(!met(rule, &mut packet), "{rule}");
    }
    let Answers { assumed, given } = answers(&packet);
    assert_eq!((assumed, given), (vec!["owner", "cgroup", "socket"], vec![]));
}

#[test]
fn a_control_group_stands_below_others() {
    let process =
        Process { path: "/user.slice/user-1000.slice".to_owned(), class: 7, ..Process::of(1000) };
    for (rule, expected) in [
        ("-m cgroup --path user.slice", true),
        ("-m cgroup --path /user.slice/user-1000.slice", true),
        ("-m cgroup --path user.slice/user", false),
        ("-m cgroup ! --path system.slice", true),
        ("-m cgroup --cgroup 7", true),
        ("-m cgroup ! --cgroup 7", false),
    ] {
        let mut packet = sent(Known { sender: Some(process.clone()), ..Known::default() });
        assert_eq!(met(rule, &mut packet), expected, "{rule}");
    }
}

#[test]
fn what_goes_out_by_a_socket_is_its_process_s() {
    let server = Socket { process: Some(Process::of(0)), ..listening("0.0.0.0:4000") };
    let others = listening("192.0.2.9:4000");
    let sockets = Some(vec![others, server]);
    let sender = Some(Process::of(1000));
    let mut packet = sent(Known { sockets, sender, ..Known::default() });
    assert!(met("-m owner --uid-owner 0", &mut packet));
    let sockets = Some(vec![listening("192.0.2.9:4000")]);
    let mut packet = sent(Known { sockets, ..Known::default() });
    assert!(met("-m owner ! --socket-exists", &mut packet));
    assert_eq!(&*answers(&packet).given[0].words, "no process");
}

#[test]
fn sockets_wait_for_packets() {
    let of = |sockets: Vec<Socket>| came(Known { sockets: Some(sockets), ..Known::default() });
    let everywhere = || of(vec![listening("0.0.0.0:53")]);
    assert!(!met("-m socket", &mut everywhere()));
    assert!(met("-m socket --nowildcard", &mut everywhere()));
    assert!(!met("-m socket --nowildcard --transparent", &mut everywhere()));
    assert!(met("-m socket --nowildcard", &mut of(vec![listening("[::]:53")])));
    assert!(!met("-m socket --nowildcard", &mut of(vec![listening("0.0.0.0:54")])));
    let remote = Some(("192.0.2.1".parse().unwrap(), 4000));
    let connected = Socket { remote, transparent: true, ..listening("192.0.2.2:53") };
    let mut packet = of(vec![listening("192.0.2.2:53"), connected]);
    assert!(met("-m socket --transparent", &mut packet));
    assert_eq!(&*answers(&packet).given[0].words, "udp 192.0.2.2:53 to 192.0.2.1:4000");
    let mut packet = of(vec![]);
    assert!(!met("-m socket", &mut packet));
    assert_eq!(&*answers(&packet).given[0].words, "no socket");
}

#[test]
fn an_error_is_for_who_sent_what_it_quotes() {
    let quoted = Alone::udp(53).bytes().to_vec();
    let mut body = vec![3, 3, 0, 0, 0, 0, 0, 0];
    body.extend(quoted);
    let mut packet = Alone::of(Family::V4, protocol::ICMP, &body);
    let sockets = Some(vec![listening("192.0.2.1:4000")]);
    packet.know(Known { sockets, ..Known::default() });
    assert!(met("-m socket", &mut packet));
    *packet.upper(0) = 8;
    assert!(!met("-m socket", &mut packet));
}

#[test]
fn a_routed_packet_came_by_a_port_and_leaves_by_none() {
    let known = || Known { ports: vec![("lan0".to_owned(), "vnet0".into())], ..Known::default() };
    for (rule, expected) in [
        ("--physdev-in vnet0", true),
        ("--physdev-in vnet+", true),
        ("! --physdev-in vnet1", true),
        ("! --physdev-in vnet0", false),
        ("--physdev-is-in", true),
        ("! --physdev-is-in", false),
        ("--physdev-is-out", false),
        ("! --physdev-is-out", true),
        ("! --physdev-is-bridged", true),
        ("--physdev-is-bridged", false),
        ("! --physdev-out vnet1", false),
    ] {
        let mut packet = came(known());
        assert_eq!(met(&format!("-m physdev {rule}"), &mut packet), expected, "{rule}");
    }
    let mut packet = came(known());
    packet.set_interfaces(["eth1", "wan0"]);
    assert!(!met("-m physdev --physdev-is-in", &mut packet));
    assert_eq!(&*answers(&packet).given[0].words, "no bridge");
}

#[test]
fn ipsec_has_carried_packets_of_its_networks() {
    let network = |text: &str| {
        let address = text.parse().unwrap();
        Network { address, mask: "255.255.255.0".parse().unwrap() }
    };
    let transform = Transform {
        way: Way::In,
        source: Some(network("192.0.2.0")),
        destination: None,
        mode: Mode::Tunnel,
        protocol: protocol::ESP,
        tunnel: Some(["203.0.113.9", "203.0.113.1"].map(|end| end.parse().unwrap())),
        reqid: 1,
        spi: 0xc0de,
    };
    let known = |transform: &Transform| Known {
        transforms: Some(vec![transform.clone()]),
        ..Known::default()
    };
    for (rule, expected) in [
        ("--dir in --pol ipsec", true),
        ("--dir in --pol none", false),
        ("--dir out --pol ipsec", false),
        ("--dir out --pol none", true),
        ("--dir in --pol ipsec --proto esp --reqid 1 --spi 0xc0de", true),
        ("--dir in --pol ipsec --proto ah", false),
        ("--dir in --pol ipsec --strict --mode tunnel --tunnel-src 203.0.113.0/24", true),
        ("--dir in --pol ipsec --strict --mode tunnel --tunnel-dst 203.0.113.9", false),
        ("--dir in --pol ipsec --strict --mode tunnel --next --proto esp", false),
        ("--dir in --pol ipsec ! --mode transport ! --reqid 2", true),
    ] {
        let mut packet = came(known(&transform));
        assert_eq!(met(&format!("-m policy {rule}"), &mut packet), expected, "{rule}");
    }
    let elsewhere = Transform { source: Some(network("198.51.100.0")), ..transform };
    assert!(met("-m policy --dir in --pol none", &mut came(known(&elsewhere))));
}
