//! The choices: rules, the packets of the nth connection, and what it chooses from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use testkit::build::{Packet, TCP_SYN};
use testkit::dialogue::Port;

/// What is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The source port.
    Source,
    /// The destination port.
    Destination,
    /// The ICMP identifier.
    Identifier,
    /// The last part of the source address.
    Address,
}

/// A choice.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) is_v6: bool,
    pub(crate) rule: &'static str,
    /// Of connection n: what takes ports before, and last what is to be looked at.
    pub(crate) packets: fn(u32) -> Vec<(Port, Packet)>,
    pub(crate) chosen: Chosen,
    /// The ports that may be chosen.
    pub(crate) range: [u16; 2],
    /// Those of them that are taken when the last packet comes.
    pub(crate) taken: &'static [u16],
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "MASQUERADE --random with ports",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -p udp -j MASQUERADE --to-ports 6000-6015 --random",
        packets: |n| vec![udp(10, 40000, n)],
        chosen: Chosen::Source,
        range: [6000, 6015],
        taken: &[],
    },
    Case {
        name: "SNAT to ports",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -p tcp -j SNAT --to-source 203.0.113.7:500-1500",
        packets: |n| vec![tcp(10, 20_000 + n as u16, n)],
        chosen: Chosen::Source,
        range: [500, 1500],
        taken: &[],
    },
    Case {
        name: "SNAT --random-fully",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j SNAT --to-source 203.0.113.7 --random-fully",
        packets: |n| vec![udp(10, 40000, n)],
        chosen: Chosen::Source,
        range: [1024, 65_535],
        taken: &[],
    },
    Case {
        name: "MASQUERADE --random of a low port",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j MASQUERADE --random",
        packets: |n| vec![udp(10, 123, n)],
        chosen: Chosen::Source,
        range: [1, 511],
        taken: &[],
    },
    Case {
        name: "MASQUERADE --random of a port below 1024",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j MASQUERADE --random",
        packets: |n| vec![udp(10, 700, n)],
        chosen: Chosen::Source,
        range: [600, 1023],
        taken: &[],
    },
    Case {
        name: "MASQUERADE of a port that is taken",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j MASQUERADE",
        packets: |n| {
            // Always another one: else the second would get what it once got again.
            let port = 20_000 + n as u16;
            vec![tcp(10, port, n), tcp(11, port, n)]
        },
        chosen: Chosen::Source,
        range: [1024, 65_535],
        taken: &[],
    },
    Case {
        name: "SNAT behind taken ports",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -p udp -j SNAT --to-source 203.0.113.7:6000-6003",
        packets: |n| {
            let third = 20_000 + n as u16;
            vec![udp(10, 6000, n), udp(10, 6001, n), udp(11, third, n)]
        },
        chosen: Chosen::Source,
        range: [6000, 6003],
        taken: &[6000, 6001],
    },
    Case {
        name: "DNAT --random to ports",
        is_v6: false,
        rule: "-A PREROUTING -i wan0 -p udp -j DNAT --to-destination 192.168.1.10:7000-7007 --random",
        packets: |n| vec![from_outside(n)],
        chosen: Chosen::Destination,
        range: [7000, 7007],
        taken: &[],
    },
    Case {
        name: "an ICMP identifier that is taken",
        is_v6: false,
        rule: "-A POSTROUTING -o wan0 -j MASQUERADE",
        packets: |n| vec![ping(10, n), ping(11, n)],
        chosen: Chosen::Identifier,
        range: [0, 65_535],
        taken: &[],
    },
    Case {
        name: "REDIRECT --random to ports, IPv6",
        is_v6: true,
        rule: "-A PREROUTING -i wan0 -p udp -j REDIRECT --to-ports 9000-9099 --random",
        packets: |n| vec![from_outside_v6(n)],
        chosen: Chosen::Destination,
        range: [9000, 9099],
        taken: &[],
    },
    Case {
        name: "MASQUERADE --random-fully, IPv6",
        is_v6: true,
        rule: "-A POSTROUTING -o wan0 -j MASQUERADE --random-fully",
        packets: |n| vec![udp_v6(n)],
        chosen: Chosen::Source,
        range: [1024, 65_535],
        taken: &[],
    },
];

/// A server that only connection n speaks to.
fn server(n: u32) -> SocketAddr {
    const FIRST: u32 = 0x6440_0000;
    SocketAddr::new(Ipv4Addr::from(FIRST + n).into(), 80)
}

fn host(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 168, 1, host).into(), port)
}

fn udp(from: u8, port: u16, n: u32) -> (Port, Packet) {
    (Port::Lan, Packet::udp(host(from, port), server(n), b"x"))
}

fn tcp(from: u8, port: u16, n: u32) -> (Port, Packet) {
    (Port::Lan, Packet::tcp(host(from, port), server(n), TCP_SYN, 7, 0))
}

fn ping(from: u8, n: u32) -> (Port, Packet) {
    (Port::Lan, Packet::icmp(host(from, 0).ip(), server(n).ip(), 8, 0, 20_000 + n as u16, 1))
}

fn from_outside(n: u32) -> (Port, Packet) {
    let own = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 1).into(), 80);
    (Port::Wan, Packet::udp(server(n), own, b"x"))
}

fn server_v6(n: u32) -> SocketAddr {
    let [high, low] = [(n >> 16) as u16, n as u16];
    SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, high, low).into(), 80)
}

fn udp_v6(n: u32) -> (Port, Packet) {
    let host: IpAddr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 10).into();
    (Port::Lan, Packet::udp(SocketAddr::new(host, 40000), server_v6(n), b"x"))
}

fn from_outside_v6(n: u32) -> (Port, Packet) {
    let own: IpAddr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1).into();
    (Port::Wan, Packet::udp(server_v6(n), SocketAddr::new(own, 80), b"x"))
}
