//! Targets that edit packets, each held against every kind of packet it might stumble over: options
//! of both headers, right and broken, extension headers, fragments, data, bad checksums.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is the test's own"
)]

use std::net::{IpAddr, SocketAddr};

use stateward_wire::Family;
use testkit::build::fragments;
use testkit::build::{Checksum, Packet, TCP_ACK, TCP_CWR, TCP_ECE, TCP_RST, TCP_SYN, TcpOption};
use testkit::dialogue::{Dialogue, Port, Settings, Step};
use testkit::judge::Judge;
use testkit::kernel;

const SYNS: &str = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS";

/// What stands behind `-A FORWARD` and `-A OUTPUT` of mangle, for both families or IPv4 alone.
const RULES: &[(&str, &[Family])] = &[
    ("-p tcp -m tcp --tcp-flags SYN SYN -j TCPMSS --set-mss 1000", BOTH),
    ("{SYNS} --clamp-mss-to-pmtu", BOTH),
    ("{SYNS} --set-mss 0", BOTH),
    ("-p tcp -j TCPOPTSTRIP --strip-options mss,timestamp,9", BOTH),
    (
        "-p tcp -j TCPOPTSTRIP --strip-options mss\n{SYNS} --set-mss 1300\n{SYNS} --set-mss 400",
        BOTH,
    ),
    ("-j TOS --set-tos 0xb9/0xff", BOTH),
    ("-j DSCP --set-dscp 46", BOTH),
    ("-j TTL --ttl-set 200", &[Family::V4]),
    ("-j HL --hl-set 200", &[Family::V6]),
    ("-j ECN --ecn-ip-ect 2", &[Family::V4]),
    ("-p tcp -j ECN --ecn-tcp-remove", &[Family::V4]),
    ("-p tcp -j ECN --ecn-tcp-ece 1 --ecn-tcp-cwr 1 --ecn-ip-ect 3", &[Family::V4]),
];

const BOTH: &[Family] = &[Family::V4, Family::V6];

/// TCP options as they stand in a SYN.
const OPTIONS: &[&[u8]] = &[
    &[],
    &[2, 4, 5, 0xb4],
    &[2, 4, 0, 9],
    &[1, 2, 4, 5, 0xb4, 1, 1, 0],
    &[3, 3, 7, 2, 4, 5, 0xb4, 1],
    &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 5, 0xb4],
    &[4, 2, 9, 9],
    &[4, 2, 2, 4],
    &[9, 0, 9, 2],
    &[2, 4],
    &[0, 2, 4, 5, 0xb4, 0, 0, 0],
    &[2, 3, 5, 2, 4, 5, 0xb4, 0],
    &[2, 4, 5, 0xb4, 2, 4, 5, 0xa0],
    &[1; 40],
    &[1; 36],
    &[254, 40, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
];

/// Where packets enter, and between whom.
fn ends(family: Family, number: u16) -> [(Port, SocketAddr, SocketAddr); 3] {
    let ends = match family {
        Family::V4 => ["192.168.1.7", "198.51.100.9", "203.0.113.1"],
        Family::V6 => ["fd00:1::7", "2001:db8::9", "fd00:2::1"],
    };
    let end = |which: usize, port| {
        let address: IpAddr = ends.get(which).and_then(|text| text.parse().ok()).unwrap();
        SocketAddr::new(address, port)
    };
    [
        (Port::Lan, end(0, 2000 + number), end(1, 80)),
        (Port::Wan, end(1, 2000 + number), end(0, 80)),
        (Port::Local, end(2, 2000 + number), end(1, 80)),
    ]
}

fn packets(family: Family) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, options) in OPTIONS.iter().enumerate() {
        for (port, from, to) in ends(family, number as u16) {
            let options = vec![TcpOption::Raw(options.to_vec())];
            let syn = Packet::tcp(from, to, TCP_SYN, 1, 0).with_tcp(|tcp| tcp.options = options);
            steps.push(Step::new(port, syn.bytes(), 0));
        }
    }
    for (number, change) in CHANGES.iter().enumerate() {
        for (port, from, to) in ends(family, 500 + number as u16) {
            let mut syn = Packet::tcp(from, to, TCP_SYN, 1, 0);
            change(&mut syn);
            steps.push(Step::new(port, syn.bytes(), 0));
        }
    }
    for (number, size) in [8, 16, 24, 104, 1200].into_iter().enumerate() {
        for (port, from, to) in ends(family, 600 + number as u16) {
            // Pieces of what this host sends are another judge's.
            if port == Port::Local {
                continue;
            }
            let data = if size > 24 { vec![7; 1300] } else { Vec::new() };
            let options = vec![TcpOption::Raw(OPTIONS[number % 4].to_vec())];
            let syn = Packet::tcp(from, to, TCP_SYN, 1, 0).payload(&data);
            let mut syn = syn.with_tcp(|tcp| tcp.options = options);
            syn.id = 77 + number as u16;
            let pieces = fragments(&syn.bytes(), size, 99 + number as u32);
            steps.extend(pieces.into_iter().map(|piece| Step::new(port, piece, 0)));
        }
    }
    steps
}

/// What else can be about a SYN.
const CHANGES: &[fn(&mut Packet)] = &[
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.checksum = Checksum::Wrong),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.checksum = Checksum::Zero),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.checksum = Checksum::Offloaded),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.header_words = Some(4)),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.header_words = Some(6)),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.header_words = Some(15)),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.flags = TCP_SYN | TCP_ECE | TCP_CWR),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.flags = TCP_SYN | TCP_ACK | TCP_ECE),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.flags = TCP_SYN | TCP_RST),
    |syn| *syn = syn.clone().with_tcp(|tcp| tcp.reserved = 9),
    |syn| *syn = syn.clone().payload(b"odd"),
    |syn| syn.options = vec![1, 1, 1, 1],
    |syn| syn.options = vec![0, 9, 9, 9, 9, 9, 9, 9],
    |syn| syn.extensions = vec![(60, vec![0, 1, 4, 0, 0, 0, 0])],
    |syn| syn.extensions = vec![(0, vec![0, 1, 4, 0, 0, 0, 0]), (60, vec![0, 1, 4, 0, 0, 0, 0])],
    |syn| (syn.tos, syn.flow_label) = (0xff, 0xf_ffff),
    |syn| (syn.tos, syn.ttl) = (3, 255),
];

/// A judge; none, and said so, where there is no kernel.
fn judge() -> Option<Judge> {
    kernel::is_there().then(|| Judge::new().expect("a namespace"))
}

#[test]
fn packets_are_edited_as_the_kernel_edits_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for (rules, families) in RULES {
        let text = |family: Family| {
            let mut text = String::from("*mangle\n");
            for line in rules.replace("{SYNS}", SYNS).lines().filter(|_| families.contains(&family))
            {
                text += &format!("-A FORWARD {line}\n-A OUTPUT {line}\n");
            }
            text + "COMMIT\n"
        };
        let steps = families.iter().flat_map(|family| packets(*family)).collect();
        let rules = Some([Family::V4, Family::V6].map(text));
        let settings = Settings { rules, mtu: Some(1400), ..Settings::default() };
        let dialogue = Dialogue { settings, steps };
        for difference in judge.hold(&dialogue).unwrap() {
            let rules = dialogue.settings.rules.iter().flatten();
            failures += &format!("{difference}\n{}", rules.cloned().collect::<String>());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
