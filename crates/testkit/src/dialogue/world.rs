//! Who may talk in a dialogue: few stations and few ports, so that flows meet again and again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::random::Random;

/// Where a packet enters the machine in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// `lan0`.
    Lan,
    /// `wan0`.
    Wan,
    /// A process of the machine itself.
    Local,
}

/// A party to a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Station {
    /// Where its packets enter.
    pub(super) port: Port,
    pub(super) address: IpAddr,
}

impl Station {
    /// This station with a transport port.
    pub(super) fn at(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// Whether a socket of the machine sends to an address as it stands there: that of nobody it takes
/// for its own host's, and to all of a subnet it sends only when asked to. Of neighbours on a link
/// it wants to know the link.
pub(super) fn is_reachable(address: IpAddr) -> bool {
    let v4 = match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => return !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    !v4.is_unspecified() && v4.octets()[3] != 255
}

/// A station of the LAN.
pub(super) fn lan(random: &mut Random, v6: bool) -> Station {
    let host = random.pick([10, 11, 12]);
    let address = match v6 {
        false => Ipv4Addr::new(192, 168, 1, host).into(),
        true => Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, u16::from(host)).into(),
    };
    Station { port: Port::Lan, address }
}

/// A station beyond the WAN.
pub(super) fn wan(random: &mut Random, v6: bool) -> Station {
    let host = random.pick([5, 6, 7]);
    let address = match v6 {
        false => Ipv4Addr::new(198, 51, 100, host).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)).into(),
    };
    Station { port: Port::Wan, address }
}

/// The machine itself.
pub(super) fn host(random: &mut Random, v6: bool) -> Station {
    let wan = random.chance(50);
    let address = match (v6, wan) {
        (false, false) => Ipv4Addr::new(192, 168, 1, 1).into(),
        (false, true) => Ipv4Addr::new(203, 0, 113, 1).into(),
        (true, false) => Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1).into(),
        (true, true) => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1).into(),
    };
    Station { port: Port::Local, address }
}

/// Two stations that talk, the one that begins first.
pub(super) fn pair(random: &mut Random, v6: bool) -> (Station, Station) {
    match random.below(100) {
        0..=57 => (lan(random, v6), wan(random, v6)),
        58..=69 => (wan(random, v6), lan(random, v6)),
        70..=79 => (lan(random, v6), host(random, v6)),
        80..=87 => (host(random, v6), wan(random, v6)),
        88..=92 => (wan(random, v6), host(random, v6)),
        93..=95 => (host(random, v6), lan(random, v6)),
        96..=97 => (lan(random, v6), lan(random, v6)),
        _ => (host(random, v6), host(random, v6)),
    }
}

/// The ports of a client and a server; now and then the same, so that a flow may be its own answer.
pub(super) fn ports(random: &mut Random) -> (u16, u16) {
    let client = 40000 + random.below(4) as u16;
    match random.below(20) {
        0 => (client, client),
        1 => (random.half(), random.half()),
        _ => (client, random.pick([80, 443, 53, 2905])),
    }
}
