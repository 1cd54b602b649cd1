//! The two ends of a tuple, as NAT changes them: an address, and what stands for a port there.
//!
//! ICMP has one id for both ends; GRE has keys; other protocols have nothing.

use core::net::{IpAddr, Ipv4Addr};

use stateward_wire::edit::End;
use stateward_wire::protocol;

use super::{Key, L4Key, Tuple, Zone};

/// One end of a tuple, as NAT writes it into packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, ICMP id or GRE key; 0 where the protocol has none.
    pub port: u16,
}

impl Key {
    /// What stands for a port at an end.
    #[inline]
    fn port_at(&self, end: End) -> u16 {
        match (self.protocol, end) {
            (protocol::ICMP | protocol::ICMPV6, _) | (_, End::Source) => self.source_port,
            (_, End::Destination) => self.destination_port,
        }
    }

    /// An end of an IPv4 tuple.
    #[inline]
    pub(crate) fn endpoint(&self, end: End) -> Endpoint {
        let address = match end {
            End::Source => self.source,
            End::Destination => self.destination,
        };
        Endpoint { address: Ipv4Addr::from_bits(address).into(), port: self.port_at(end) }
    }
}

impl Tuple {
    /// An end, with all that NAT writes of it.
    #[inline]
    pub fn endpoint(&self, end: End) -> Endpoint {
        Endpoint { address: self.address_at(end), port: self.key.port_at(end) }
    }

    /// The address at an end.
    pub fn address_at(&self, end: End) -> IpAddr {
        match end {
            End::Source => self.source(),
            End::Destination => self.destination(),
        }
    }

    /// The port, ICMP id or GRE key at an end; `None` where the protocol has none.
    pub fn port_at(&self, end: End) -> Option<u16> {
        Some(match (self.l4(), end) {
            (L4Key::Ports { source, .. } | L4Key::Gre { source, .. }, End::Source) => source,
            (
                L4Key::Ports { destination, .. } | L4Key::Gre { destination, .. },
                End::Destination,
            ) => destination,
            (L4Key::Icmp { id, .. }, _) => id,
            (L4Key::None, _) => return None,
        })
    }

    /// Its source with protocol and zone, and nothing else.
    pub(crate) fn source_only(&self) -> Tuple {
        let key = Key { destination: 0, destination_port: 0, ..self.key };
        Tuple { key, pair: [self.pair[0], [0; 16]] }
    }

    /// The same packets in another zone.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Tuple {
        self.key.zone = zone.0;
        self
    }

    /// Another address at an end; one of the other family changes nothing.
    #[must_use]
    pub fn with_address(mut self, end: End, address: IpAddr) -> Tuple {
        match (address, self.key.version) {
            (IpAddr::V4(address), 4) => match end {
                End::Source => self.key.source = address.to_bits(),
                End::Destination => self.key.destination = address.to_bits(),
            },
            (IpAddr::V6(address), 6) => self.pair[end as usize] = address.octets(),
            _ => {}
        }
        self
    }

    /// Another port, id or key at an end; where the protocol has none, nothing changes.
    #[must_use]
    pub fn with_port(mut self, end: End, port: u16) -> Tuple {
        match (self.key.protocol, end) {
            (protocol::ICMP | protocol::ICMPV6, _) => self.key.source_port = port,
            _ if self.l4() == L4Key::None => {}
            (_, End::Source) => self.key.source_port = port,
            (_, End::Destination) => self.key.destination_port = port,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: u8, l4: L4Key) -> Tuple {
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        Tuple::new(a, b, protocol, l4, Zone(7)).unwrap()
    }

    #[test]
    fn an_end_is_an_address_and_what_stands_for_a_port() {
        let tcp = tuple(6, L4Key::Ports { source: 1, destination: 2 });
        let other = tcp.with_port(End::Source, 9).with_address(End::Destination, tcp.source());
        assert_eq!(other.l4(), L4Key::Ports { source: 9, destination: 2 });
        assert_eq!(other.destination(), tcp.source());
        assert_eq!(
            (other.port_at(End::Source), other.port_at(End::Destination)),
            (Some(9), Some(2))
        );
        assert_eq!(other.zone(), Zone(7));
    }

    #[test]
    fn icmp_has_one_id_for_both_ends_and_others_have_none() {
        let echo = tuple(1, L4Key::Icmp { kind: 8, code: 0, id: 5 });
        for end in [End::Source, End::Destination] {
            assert_eq!(echo.with_port(end, 6).l4(), L4Key::Icmp { kind: 8, code: 0, id: 6 });
            assert_eq!(echo.port_at(end), Some(5));
        }
        let esp = tuple(50, L4Key::None);
        assert_eq!((esp.with_port(End::Source, 1), esp.port_at(End::Source)), (esp, None));
    }

    #[test]
    fn addresses_of_the_other_family_change_nothing() {
        let tcp = tuple(6, L4Key::Ports { source: 1, destination: 2 });
        assert_eq!(tcp.with_address(End::Source, "fd00::1".parse().unwrap()), tcp);
        let [a, b, c] = ["fd00::1", "fd00::2", "fd00::3"].map(|text| text.parse().unwrap());
        let six = Tuple::new(a, b, 50, L4Key::None, Zone::DEFAULT).unwrap();
        let moved = six.with_address(End::Destination, c);
        assert_eq!((moved.source(), moved.destination()), (a, c));
    }
}
