//! One line for each kind of packet, held against tcpdump, and any bytes at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use proptest::prelude::*;
use stateward_wire::compose::{self, Icmp, Tcp};
use stateward_wire::{TcpFlags, protocol};

use super::*;
use crate::craft::{Endian, PcapFile};

const FOUR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2))];
const SIX: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
];

fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    tcp_between(FOUR, flags, options, payload)
}

fn tcp_between(ends: [IpAddr; 2], flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    compose::tcp(&Tcp {
        source: (ends[0], 40_000),
        destination: (ends[1], 8_888),
        sequence: 1_234,
        acknowledgment: 99,
        flags: TcpFlags(flags),
        window: 64_240,
        options,
        payload,
    })
}

fn udp(ends: [IpAddr; 2], payload: usize) -> Vec<u8> {
    compose::udp((ends[0], 40_000), (ends[1], 9_999), &vec![0; payload])
}

fn icmp(ends: [IpAddr; 2], kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    compose::icmp(&Icmp { source: ends[1], destination: ends[0], kind, code, rest, body })
}

fn ip(ends: [IpAddr; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    compose::ip(ends[0], ends[1], protocol, payload)
}

fn sctp(chunks: &[&[u8]]) -> Vec<u8> {
    compose::sctp((FOUR[0], 5_000), (FOUR[1], 36_412), 7, &chunks.concat())
}

/// Makes an IPv4 packet a fragment. Its header checksum becomes wrong, which tcpdump does not mind
/// either.
fn fragment(mut packet: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
    packet[4..6].copy_from_slice(&4_660u16.to_be_bytes());
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet
}

fn fragment6(offset: u16, more: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    let header = [protocol::UDP, 0, high, low | more, 0x12, 0x34, 0x56, 0x78];
    ip(SIX, protocol::FRAGMENT, &[&header, payload].concat())
}

/// A packet and its line; `same` if tcpdump's line is the same but for what we add at its end.
struct Case {
    packet: Vec<u8>,
    line: &'static str,
    same: bool,
}

fn same(packet: Vec<u8>, line: &'static str) -> Case {
    Case { packet, line, same: true }
}

fn ours(packet: Vec<u8>, line: &'static str) -> Case {
    Case { packet, line, same: false }
}

fn tcp_cases() -> Vec<Case> {
    let usual = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let sack = [1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    vec![
        same(
            tcp(0x02, &usual, b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [S], seq 1234, win 64240, options \
             [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0",
        ),
        same(
            tcp_between(SIX, 0x18, b"", b"hello"),
            "IP6 2001:db8::1.40000 > 2001:db8::2.8888: Flags [P.], seq 1234:1239, ack 99, \
             win 64240, length 5",
        ),
        same(
            tcp(0x10, &sack, b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [.], ack 99, win 64240, options \
             [nop,nop,sack 2 {1:2}{3:4}], length 0",
        ),
        same(
            tcp(0, b"", b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [none], win 64240, length 0",
        ),
        same(
            tcp(0xff, b"", b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [FSRP.UEW], seq 1234, ack 99, win \
             64240, \
             urg 0, length 0",
        ),
        same(
            tcp(0x04, &[0, 0, 0, 0], b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [R], seq 1234, win 64240, options \
             [eol], \
             length 0",
        ),
        same(
            tcp(0x10, &[99, 4, 1, 2, 98, 2, 0, 0], b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [.], ack 99, win 64240, options \
             [unknown-99 0x0102,unknown-98,eol], length 0",
        ),
        ours(
            tcp(0x10, &[2, 0, 0, 0], b""),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [.], ack 99, win 64240, options [[bad \
             opt]], \
             length 0",
        ),
        ours(tcp(0x10, b"", b"")[..30].to_vec(), "IP 192.0.2.1.40000 > 198.51.100.2.8888: [|tcp]"),
        ours(tcp(0x10, b"", b"")[..22].to_vec(), "IP 192.0.2.1 > 198.51.100.2: [|tcp]"),
        ours(
            tcp(0x10, &usual, b"")[..48].to_vec(),
            "IP 192.0.2.1.40000 > 198.51.100.2.8888: Flags [.], ack 99, win 64240, options \
             [mss 1460,sackOK,[|tcp]], length 0",
        ),
    ]
}

fn icmp_cases() -> Vec<Case> {
    let (flow, flow6) = (udp(FOUR, 4), udp(SIX, 4));
    let echo = icmp(FOUR, 8, 0, compose::echo(7, 1), &[0; 56]);
    vec![
        same(
            echo.clone(),
            "IP 198.51.100.2 > 192.0.2.1: ICMP echo request, id 7, seq 1, length 64",
        ),
        same(
            icmp(FOUR, 0, 0, compose::echo(7, 1), &[]),
            "IP 198.51.100.2 > 192.0.2.1: ICMP echo reply, id 7, seq 1, length 8",
        ),
        same(
            icmp(FOUR, 3, 3, [0; 4], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP 198.51.100.2 udp port 9999 unreachable, length 40, \
             quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 3, 3, [0; 4], &tcp(2, b"", b"")[..28]),
            "IP 198.51.100.2 > 192.0.2.1: ICMP 198.51.100.2 tcp port 8888 unreachable, length 36, \
             quoting 192.0.2.1.40000 > 198.51.100.2.8888: TCP",
        ),
        same(
            icmp(FOUR, 3, 2, [0; 4], &ip(FOUR, 200, &[0; 8])),
            "IP 198.51.100.2 > 192.0.2.1: ICMP 198.51.100.2 protocol 200 unreachable, length 36, \
             quoting 192.0.2.1 > 198.51.100.2: ip-proto-200",
        ),
        same(
            icmp(FOUR, 3, 4, [0, 0, 5, 0x78], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP 198.51.100.2 unreachable - need to frag (mtu 1400), \
             length 40, quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 3, 1, [0; 4], &echo),
            "IP 198.51.100.2 > 192.0.2.1: ICMP host 192.0.2.1 unreachable, length 92, \
             quoting 198.51.100.2 > 192.0.2.1: ICMP echo request, id 7, seq 1",
        ),
        same(
            icmp(FOUR, 3, 13, [0; 4], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP host 198.51.100.2 unreachable - admin prohibited \
             filter, \
             length 40, quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 11, 0, [0; 4], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP time exceeded in-transit, length 40, \
             quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 5, 1, [192, 0, 2, 9], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP redirect 198.51.100.2 to host 192.0.2.9, length 40, \
             quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 12, 0, [9, 0, 0, 0], &flow),
            "IP 198.51.100.2 > 192.0.2.1: ICMP parameter problem - octet 9, length 40, \
             quoting 192.0.2.1.40000 > 198.51.100.2.9999: UDP",
        ),
        same(
            icmp(FOUR, 13, 0, compose::echo(7, 1), &[0; 12]),
            "IP 198.51.100.2 > 192.0.2.1: ICMP time stamp query id 7 seq 1, length 20",
        ),
        same(
            icmp(FOUR, 42, 0, [0; 4], &[]),
            "IP 198.51.100.2 > 192.0.2.1: ICMP type-#42, length 8",
        ),
        same(
            icmp(SIX, 128, 0, compose::echo(7, 1), &[0; 56]),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, echo request, id 7, seq 1, length 64",
        ),
        same(
            icmp(SIX, 1, 4, [0; 4], &flow6),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, destination unreachable, unreachable port, \
             2001:db8::2 udp port 9999, length 60, quoting 2001:db8::1.40000 > 2001:db8::2.9999: \
             UDP",
        ),
        same(
            icmp(SIX, 1, 0, [0; 4], &icmp(SIX, 128, 0, compose::echo(7, 1), &[])),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, destination unreachable, unreachable route \
             2001:db8::1, length 56, quoting 2001:db8::2 > 2001:db8::1: ICMP6, echo request, id \
             7, seq 1",
        ),
        same(
            icmp(SIX, 2, 0, [0, 0, 5, 0], &flow6),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, packet too big, mtu 1280, length 60, \
             quoting 2001:db8::1.40000 > 2001:db8::2.9999: UDP",
        ),
        same(
            icmp(SIX, 3, 0, [0; 4], &flow6),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, time exceeded in-transit for 2001:db8::2, \
             length 60, \
             quoting 2001:db8::1.40000 > 2001:db8::2.9999: UDP",
        ),
        same(
            icmp(SIX, 4, 1, [0, 0, 0, 6], &flow6),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, parameter problem, next header - octet 6, \
             length 60, \
             quoting 2001:db8::1.40000 > 2001:db8::2.9999: UDP",
        ),
    ]
}

fn neighbour_cases() -> Vec<Case> {
    let address = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let two = [address, address].concat();
    vec![
        same(
            icmp(SIX, 135, 0, [0; 4], &address),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, neighbor solicitation, who has fe80::9, length \
             24",
        ),
        same(
            icmp(SIX, 136, 0, [0x60, 0, 0, 0], &address),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, neighbor advertisement, tgt is fe80::9, length \
             24",
        ),
        same(
            icmp(SIX, 133, 0, [0; 4], &[]),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, router solicitation, length 8",
        ),
        same(
            icmp(SIX, 134, 0, [0; 4], &[0; 8]),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, router advertisement, length 16",
        ),
        same(
            icmp(SIX, 137, 0, [0; 4], &two),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, redirect, fe80::9 to fe80::9, length 40",
        ),
        // tcpdump has forgotten a space there.
        ours(
            icmp(SIX, 131, 0, [0; 4], &address),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, multicast listener report max resp delay: 0 \
             addr: fe80::9, length 24",
        ),
        same(
            icmp(SIX, 130, 0, [0; 4], &[&address[..], &[0; 4]].concat()),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, multicast listener query v2 [gaddr fe80::9], \
             length 28",
        ),
        same(
            icmp(SIX, 143, 0, [0, 0, 0, 1], &[&[4, 0, 0, 0][..], &address].concat()),
            "IP6 2001:db8::2 > 2001:db8::1: ICMP6, multicast listener report v2, 1 group \
             record(s), \
             length 28",
        ),
        same(
            ip(FOUR, 2, &[0x16, 0, 0, 0, 239, 1, 1, 1]),
            "IP 192.0.2.1 > 198.51.100.2: igmp v2 report 239.1.1.1",
        ),
        same(
            ip(FOUR, 2, &[0x17, 0, 0, 0, 239, 1, 1, 1]),
            "IP 192.0.2.1 > 198.51.100.2: igmp leave 239.1.1.1",
        ),
        same(
            ip(FOUR, 2, &[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 1, 1]),
            "IP 192.0.2.1 > 198.51.100.2: igmp v3 report, 1 group record(s)",
        ),
        same(
            ip(FOUR, 2, &[0x11, 100, 0, 0, 0, 0, 0, 0]),
            "IP 192.0.2.1 > 198.51.100.2: igmp query v2",
        ),
        same(
            ip(FOUR, 2, &[0x11, 100, 0, 0, 239, 1, 1, 1, 0, 0, 0, 0]),
            "IP 192.0.2.1 > 198.51.100.2: igmp query v3 [gaddr 239.1.1.1]",
        ),
    ]
}

fn sctp_cases() -> Vec<Case> {
    let init = [1, 0, 0, 20, 0, 0, 0, 5, 0, 1, 0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 9];
    let data = [0, 3, 0, 20, 0, 0, 0, 9, 0, 1, 0, 2, 0, 0, 0, 60, 1, 2, 3, 4];
    let sack = [3, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0];
    let (cookie, abort) = ([10, 0, 0, 8, 1, 2, 3, 4], [6, 1, 0, 4]);
    vec![
        same(
            sctp(&[&init]),
            "IP 192.0.2.1.5000 > 198.51.100.2.36412: sctp (1) [INIT] [init tag: 5] [rwnd: 65536] \
             [OS: 10] [MIS: 65535] [init TSN: 9]",
        ),
        ours(
            sctp(&[&cookie, &data]),
            "IP 192.0.2.1.5000 > 198.51.100.2.36412: sctp (1) [COOKIE ECHO], (2) [DATA] (B)(E) \
             [TSN: 9] [SID: 1] [SSEQ 2] [PPID 0x3c]",
        ),
        same(
            sctp(&[&sack]),
            "IP 192.0.2.1.5000 > 198.51.100.2.36412: sctp (1) [SACK] [cum ack 9] [a_rwnd 65536] \
             [#gap acks 0] [#dup tsns 0]",
        ),
        ours(sctp(&[&abort]), "IP 192.0.2.1.5000 > 198.51.100.2.36412: sctp (1) [ABORT] (T)"),
        ours(
            sctp(&[&[200, 0, 0, 4], &[0, 0, 0, 99]]),
            "IP 192.0.2.1.5000 > 198.51.100.2.36412: sctp (1) [Unknown chunk type: 0xc8] [|sctp]",
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    let inner = icmp(FOUR, 8, 0, compose::echo(7, 1), &[]);
    let gre = [&[0x30, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 5][..], &inner].concat();
    let pptp = [0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
    let ah = [&[1, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0; 12], &inner[20..]].concat();
    let hop = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(SIX, 4)[40..]].concat();
    let dccp = [0x9c, 0x40, 0x13, 0x88, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 42];
    vec![
        same(udp(FOUR, 12), "IP 192.0.2.1.40000 > 198.51.100.2.9999: UDP, length 12"),
        same(udp(SIX, 12), "IP6 2001:db8::1.40000 > 2001:db8::2.9999: UDP, length 12"),
        ours(
            ip(FOUR, 136, &[0x9c, 0x40, 0x27, 0x0f, 0, 8, 0, 0, 1, 2]),
            "IP 192.0.2.1.40000 > 198.51.100.2.9999: UDP-Lite, coverage 8, length 2",
        ),
        ours(
            ip(FOUR, 33, &dccp),
            "IP 192.0.2.1.40000 > 198.51.100.2.5000: DCCP DCCP-Request seq 9, length 0",
        ),
        same(
            ip(FOUR, 47, &gre),
            "IP 192.0.2.1 > 198.51.100.2: GREv0, key=0x1, seq 5, length 40: \
             IP 198.51.100.2 > 192.0.2.1: ICMP echo request, id 7, seq 1, length 8",
        ),
        ours(
            ip(FOUR, 47, &pptp),
            "IP 192.0.2.1 > 198.51.100.2: GREv1, call 7, seq 1, ack 2, no-payload, length 16",
        ),
        same(
            ip(FOUR, 50, &[0, 0, 0, 1, 0, 0, 0, 2, 9, 9]),
            "IP 192.0.2.1 > 198.51.100.2: ESP(spi=0x00000001,seq=0x2), length 10",
        ),
        ours(
            ip(FOUR, 51, &ah),
            "IP 192.0.2.1 > 198.51.100.2: AH(spi=0x00000001,seq=0x2): ICMP echo request, id 7, \
             seq 1, \
             length 8",
        ),
        same(
            ip(FOUR, 4, &inner),
            "IP 192.0.2.1 > 198.51.100.2: IP 198.51.100.2 > 192.0.2.1: ICMP echo request, id 7, \
             seq 1, \
             length 8",
        ),
        ours(ip(FOUR, 200, &[0; 8]), "IP 192.0.2.1 > 198.51.100.2: ip-proto-200 8"),
        ours(ip(SIX, 0, &hop), "IP6 2001:db8::1.40000 > 2001:db8::2.9999: HBH UDP, length 4"),
        same(ip(SIX, 59, &[]), "IP6 2001:db8::1 > 2001:db8::2: no next header"),
        ours(
            fragment(udp(FOUR, 16), 0, true),
            "IP 192.0.2.1.40000 > 198.51.100.2.9999: UDP, length 16, frag (4660:0+)",
        ),
        ours(
            fragment(udp(FOUR, 16), 1_480, false),
            "IP 192.0.2.1 > 198.51.100.2: UDP, length 24, frag (4660:1480)",
        ),
        ours(
            fragment6(0, 1, &udp(SIX, 16)[40..]),
            "IP6 2001:db8::1.40000 > 2001:db8::2.9999: UDP, length 16, frag (0x12345678:0+)",
        ),
        ours(
            fragment6(1_448, 0, &[0; 16]),
            "IP6 2001:db8::1 > 2001:db8::2: UDP, length 16, frag (0x12345678:1448)",
        ),
    ]
}

fn cases() -> Vec<Case> {
    let all = [tcp_cases(), icmp_cases(), neighbour_cases(), sctp_cases(), other_cases()];
    all.into_iter().flatten().collect()
}

#[test]
fn each_kind_of_packet_has_its_line() {
    for case in cases() {
        assert_eq!(Described(&case.packet).to_string(), case.line);
    }
}

/// tcpdump's line for each packet.
fn tcpdump(packets: &[&[u8]]) -> Option<Vec<String>> {
    let mut file = PcapFile::new(Endian::Little, 101);
    for packet in packets {
        file = file.frame((1, 0), packet);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("packets.pcap");
    std::fs::write(&path, &file.bytes).unwrap();
    let output = Command::new("tcpdump").args(["-n", "-S", "-t", "-r"]).arg(&path).output();
    let Ok(output) = output else {
        crate::craft::skip_without("tcpdump");
        return None;
    };
    Some(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect(),
    )
}

#[test]
fn tcpdump_says_the_same() {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.same).collect();
    let packets: Vec<_> = cases.iter().map(|case| &*case.packet).collect();
    let Some(lines) = tcpdump(&packets) else { return };
    let ours = cases.iter().map(|case| case.line.split(", quoting ").next().unwrap());
    assert_eq!(ours.collect::<Vec<_>>(), lines);
}

#[test]
fn what_is_no_packet_is_described_by_the_reason() {
    let mut short = udp(FOUR, 4);
    short[0] = 0x44;
    let mut bad = udp(FOUR, 4);
    bad[8] ^= 1;
    for (bytes, line) in [
        (&[][..], "IP version 0, length 0"),
        (&[0x55; 20], "IP version 5, length 20"),
        (&[0x45; 10], "IP [|ip]"),
        (&[0x60; 10], "IP6 [|ip6]"),
        (
            &short,
            "IP 192.0.2.1 > 198.51.100.2: malformed: the IPv4 header length is below 20 bytes",
        ),
        // A wrong checksum hides nothing.
        (&bad, "IP 192.0.2.1.40000 > 198.51.100.2.9999: UDP, length 4"),
        (&bad[..30], "IP 192.0.2.1 > 198.51.100.2: malformed: the IPv4 header checksum is wrong"),
    ] {
        assert_eq!(Described(bytes).to_string(), line);
    }
}

#[test]
fn packets_in_packets_end_somewhere() {
    let mut packet = udp(FOUR, 4);
    for _ in 0..200 {
        packet = ip(FOUR, 4, &packet);
    }
    let line = Described(&packet).to_string();
    assert!(line.ends_with(": another packet, length 3952"), "{line}");
}

#[test]
fn lines_have_an_end() {
    let chunks: Vec<_> = std::iter::repeat_n(&[200u8, 0, 0, 4][..], 10_000).collect();
    assert!(Described(&sctp(&chunks)).to_string().len() < 1_000);
}

#[test]
fn a_packet_of_many_extension_headers_makes_no_endless_line() {
    let with = |count: usize| {
        let mut payload = [[protocol::DEST, 0, 1, 4, 0, 0, 0, 0]].repeat(count).concat();
        payload[8 * count - 8] = protocol::UDP;
        payload.extend([0x9c, 0x40, 0x27, 0x0f, 0, 8, 0, 0]);
        Described(&ip(SIX, protocol::DEST, &payload)).to_string()
    };
    let line =
        |before: &str| format!("IP6 2001:db8::1.40000 > 2001:db8::2.9999: {before}UDP, length 0");
    assert_eq!(with(16), line(&"DSTOPT ".repeat(16)));
    assert_eq!(with(8_000), line(&format!("{}… ", "DSTOPT ".repeat(16))));
}

/// Those that are described, and the extension headers.
const PROTOCOLS: [u8; 17] = [0, 1, 2, 4, 6, 17, 33, 41, 43, 44, 47, 50, 51, 58, 60, 132, 136];

proptest! {
    #[test]
    fn any_bytes_can_be_described(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        version in prop::sample::select(vec![0x45u8, 0x4f, 0x60]),
        protocol in prop::sample::select(PROTOCOLS.to_vec()),
    ) {
        let mut bytes = bytes;
        Described(&bytes).to_string();
        let Some(first) = bytes.first_mut() else { return Ok(()) };
        *first = version;
        if let Some(length) = bytes.get_mut(2..4) {
            length.fill(0);
        }
        let at = if version == 0x60 { 6 } else { 9 };
        if let Some(field) = bytes.get_mut(at) {
            *field = protocol;
        }
        if let Some(checksum) = bytes.get_mut(10..12).filter(|_| version != 0x60) {
            checksum.fill(0);
        }
        Described(&bytes).to_string();
    }

    #[test]
    fn cut_packets_can_be_described(
        at in any::<prop::sample::Index>(),
        which in any::<prop::sample::Index>(),
    ) {
        let cases = cases();
        let packet = &cases[which.index(cases.len())].packet;
        let line = Described(&packet[..at.index(packet.len())]).to_string();
        prop_assert!(!line.contains('\n'));
    }
}
