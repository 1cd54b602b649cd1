//! What no capture tells, told to the engine as it is in the kernel: sockets that listen, that are
//! connected, that are transparent or not, whose process sends.

use std::net::{IpAddr, SocketAddr};

use stateward_engine::route::Delivered;
use stateward_wire::Family;
use testkit::build::{Packet, TCP_ACK, TCP_RST, TCP_SYN};
use testkit::dialogue::Random;
use testkit::kernel::{Carries, Opened, Port, Step};

use crate::both::{Case, hold, kernel, packet, seeds, shell};

/// The policy rule that people write beside TPROXY.
const DELIVERED: Delivered = Delivered { mark: 1, mask: 1 };
const RULES_OF_ROUTING: &str = "for v in -4 -6; do ip $v rule add fwmark 1/1 lookup 100; \
     ip $v route add local default dev lo table 100; done";

/// Of a family: who sends, the interface's own address, another of this host, somebody else.
fn addresses(family: Family) -> [IpAddr; 4] {
    let texts = match family {
        Family::V4 => ["192.168.1.9", "192.168.1.1", "203.0.113.1", "198.51.100.9"],
        Family::V6 => ["fd00:1::9", "fd00:1::1", "fd00:2::1", "2001:db8::9"],
    };
    texts.map(|text| text.parse().unwrap())
}

const PORTS: [u16; 2] = [80, 3129];
const SENDERS: [u16; 2] = [4000, 4001];

/// No two at the same place. One for all addresses there is at most, or of two families one would
/// be in the other's way.
fn sockets(random: &mut Random, family: Family) -> Vec<Opened> {
    let [sender, own, other, stranger] = addresses(family);
    let any = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
    let any =
        any[random.below(if family == Family::V4 { 2 } else { 1 }) ^ usize::from(sender.is_ipv6())];
    let mut sockets: Vec<Opened> = Vec::new();
    for _ in 0..=random.below(4) {
        let carries = random.pick([Carries::Tcp, Carries::Udp]);
        let local =
            SocketAddr::new(random.pick([own, other, stranger, any, any]), random.pick(PORTS));
        let connected = random.chance(30) && local.ip() != any;
        let remote = connected.then(|| SocketAddr::new(sender, random.pick(SENDERS)));
        // At addresses that are not this host's only a transparent one can be.
        let transparent = random.chance(70) || local.ip() == stranger;
        let mark = random.pick([0, 1, 6]);
        if !sockets
            .iter()
            .any(|one| (one.carries, one.local, one.remote) == (carries, local, remote))
        {
            sockets.push(Opened { carries, local, remote, transparent, mark, owner: (0, 0) });
        }
    }
    sockets
}

fn rules(random: &mut Random, family: Family) -> String {
    let [_, own, other, stranger] = addresses(family);
    let mut text = String::from("*mangle\n");
    for _ in 0..random.below(3) {
        text += &format!("-A PREROUTING {}\n", asks_for_socket(random));
    }
    for protocol in ["tcp", "udp"] {
        let port = random.pick([0, 80, 3129, 3129]);
        let address = match random.below(4) {
            0 => format!(" --on-ip {}", random.pick([own, other, stranger])),
            _ => String::new(),
        };
        let mark = random.pick(["1/1", "0x3/0x3", "0x2/0xff"]);
        text += &format!(
            "-A PREROUTING -p {protocol} -j TPROXY --on-port {port}{address} --tproxy-mark {mark}\n"
        );
    }
    text += "-A PREROUTING -m comment --comment behind\nCOMMIT\n*filter\n";
    for bit in 0..3 {
        text += &format!("-A INPUT -m mark --mark {0}/{0}\n", 1 << bit);
    }
    for _ in 0..random.below(3) {
        text += &format!("-A INPUT {}\n", asks_for_socket(random));
    }
    text + "COMMIT\n"
}

fn asks_for_socket(random: &mut Random) -> String {
    let mut text = "-m socket".to_owned();
    for option in [" --transparent", " --nowildcard", " --restore-skmark"] {
        if random.chance(50) {
            text += option;
        }
    }
    text
}

fn packets(random: &mut Random, family: Family) -> Vec<Step> {
    let [sender, own, other, stranger] = addresses(family);
    let one = |_| {
        let from = SocketAddr::new(sender, random.pick(SENDERS));
        let to = SocketAddr::new(random.pick([own, other, stranger, stranger]), random.pick(PORTS));
        let flags = random.pick([TCP_SYN, TCP_SYN, TCP_ACK, TCP_RST]);
        packet(
            Port::Lan,
            &match random.chance(60) {
                true => Packet::tcp(from, to, flags, 1, 0),
                false => Packet::udp(from, to, b"1234"),
            },
        )
    };
    (0..12).map(one).collect()
}

/// Sockets of the first family that are there for packets of it, and rules that ask for them.
#[test]
fn packets_are_handed_to_the_sockets_that_the_kernel_hands_them_to() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(30) {
        let random = &mut Random::new(seed);
        let mut case = Case::default();
        for family in [Family::V4, Family::V6] {
            let text = rules(random, family);
            match family {
                Family::V4 => case.rules4 = text,
                Family::V6 => case.rules6 = text,
            }
        }
        if random.chance(70) {
            case.delivered = Some(DELIVERED);
            case.steps.push(shell(RULES_OF_ROUTING));
        }
        let family = random.pick([Family::V4, Family::V6]);
        case.steps.extend(sockets(random, family).into_iter().map(Step::Open));
        case.steps.extend(packets(random, family));
        hold(&mut kernel, &case)
            .unwrap_or_else(|difference| panic!("seed {seed}\n{difference}\n{:?}", opened(&case)));
    }
}

/// Datagrams of processes of several users and groups, and rules that ask whose they are.
#[test]
fn what_a_process_sends_is_its_owner_s() {
    let Some(mut kernel) = kernel() else { return };
    for seed in seeds(10) {
        let random = &mut Random::new(seed);
        let rules = [(); 2].map(|()| {
            let mut text = String::from("*filter\n");
            for _ in 0..6 {
                text += &format!("-A OUTPUT {}\n", asks_for_owner(random));
            }
            text + "COMMIT\n"
        });
        let [rules4, rules6] = rules;
        let mut case = Case { rules4, rules6, ..Case::default() };
        for family in [Family::V4, Family::V6] {
            let [_, own, _, stranger] = addresses(family);
            for _ in 0..4 {
                let socket = case.steps.iter().filter(|one| matches!(one, Step::Open(_))).count();
                let owner = (random.pick([0, 1, 1000]), random.pick([0, 1, 1000]));
                let local = SocketAddr::new(own, 2000 + u16::try_from(socket).unwrap());
                case.steps.push(Step::Open(Opened { owner, ..Opened::at(Carries::Udp, local) }));
                let (to, payload) = (SocketAddr::new(stranger, 53), b"1234".to_vec());
                case.steps.push(Step::Send { socket, to, payload });
            }
        }
        let held = hold(&mut kernel, &case);
        held.unwrap_or_else(|difference| {
            panic!("seed {seed}\n{difference}\n{:?}", opened(&case));
        });
    }
}

fn asks_for_owner(random: &mut Random) -> String {
    let id = random.pick(["0", "1", "1000", "1-999", "0-1"]);
    let not = random.pick(["", "! "]);
    match random.below(5) {
        0 => format!("-m owner {not}--socket-exists"),
        1 | 2 => format!("-m owner {not}--uid-owner {id}"),
        3 => format!("-m owner {not}--gid-owner {id}"),
        _ => format!("-m owner --uid-owner {id} {not}--gid-owner 0-1"),
    }
}

fn opened(case: &Case) -> Vec<&Step> {
    case.steps.iter().filter(|step| matches!(step, Step::Open(_))).collect()
}
