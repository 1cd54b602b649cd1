//! Where a packet entered the machine, and whether it was recorded as it came or as it left.
//!
//! In this order, the first that knows decides:
//!
//! 1. the capture: the interface's name in pcapng, if the machine has such an interface (`local`
//!    and the loopback are the machine itself), and the direction that pcapng and Linux cooked
//!    captures record;
//! 2. the user, who says by which interface the packets of a file came in (`--in`);
//! 3. routing: the interface that leads back to the packet's source.
//!
//! A source address of the machine's own makes a packet local output, unless the capture says that
//! it came in. Without routing the machine has whatever interfaces the captures name, and `eth0`
//! for those that name none.

use std::collections::HashMap;

use stateward_engine::route::{Network, Routing};
use stateward_engine::{InterfaceId, Port};
use stateward_wire::Packet;

use crate::capture::{Captured, Direction, Interface};
use crate::machine::DEFAULT_MTU;

/// What the machine itself is called as an interface.
pub const LOCAL: &str = "local";
/// The interface of captures that name none, without routing.
const UNNAMED: &str = "eth0";
/// The loopback device: its name, and its number on every Linux machine.
const LOOPBACK: (&str, u32) = ("lo", 1);
/// The longest packet it carries.
const LOOPBACK_MTU: u32 = 65_536;

/// Where and how a packet was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it enters.
    pub port: Port,
    /// The interface it was recorded on, if that is known.
    pub recorded: Option<InterfaceId>,
    /// Which way it went there.
    pub way: Way,
    /// The longest packet that the interface carries.
    pub mtu: u32,
}

/// Which way a packet was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On its way in.
    In,
    /// Nobody knows.
    Unknown,
    /// On its way out: it may be a sighting.
    Out,
    /// It was for another machine on the link: this one did not take it.
    Elsewhere,
}

/// What is known about the captures' interfaces.
#[derive(Debug)]
pub struct Entrance {
    interfaces: Vec<Named>,
    /// Where each name stands among them: a capture may hold tens of thousands.
    positions: HashMap<String, usize>,
    routing: Routing,
    /// The machine has addresses of its own.
    has_addresses: bool,
    captures: Vec<Known>,
}

#[derive(Debug)]
struct Named {
    name: String,
    mtu: u32,
}

/// What is known about one capture.
#[derive(Debug, Default)]
struct Known {
    given: Option<Port>,
    /// By [`InterfaceRef`](crate::capture::InterfaceRef), as far as asked for.
    by_name: Vec<Option<Port>>,
}

impl Entrance {
    /// For a machine, and captures whose packets came in where the user says, if the user says so.
    ///
    /// # Errors
    /// With the name, if the user names an interface that the machine has not.
    pub fn new(network: &Network, given: &[Option<String>], own: bool) -> Result<Self, String> {
        let named = |known: &stateward_engine::route::Interface| Named {
            name: known.name.clone(),
            mtu: known.mtu,
        };
        let interfaces: Vec<_> = network.interfaces().iter().map(named).collect();
        let names = interfaces.iter().map(|known| known.name.clone());
        let mut entrance = Self {
            positions: names.zip(0..).collect(),
            interfaces,
            routing: network.routing(),
            has_addresses: own,
            captures: Vec::new(),
        };
        for name in given {
            let given = match name {
                Some(name) => Some(entrance.port(name).ok_or_else(|| name.clone())?),
                None => None,
            };
            entrance.captures.push(Known { given, by_name: Vec::new() });
        }
        Ok(entrance)
    }

    /// The name of an interface.
    pub fn name(&self, id: InterfaceId) -> &str {
        self.interfaces.get(usize::from(id.0)).map_or(UNNAMED, |known| &known.name)
    }

    /// What the machine's interfaces are called, as far as they have been named.
    pub fn names(&self) -> Vec<&str> {
        self.interfaces.iter().map(|known| known.name.as_str()).collect()
    }

    /// Whether a packet can come in by what is called so; `local` is the machine itself.
    pub fn takes(&self, name: &str) -> bool {
        self.routing == Routing::Off
            || [LOCAL, LOOPBACK.0].contains(&name)
            || self.positions.contains_key(name)
    }

    /// Where a packet enters, by name.
    pub fn port_name(&self, port: Port) -> &str {
        match port {
            Port::Local => LOCAL,
            Port::Interface(id) => self.name(id),
        }
    }

    /// Where a packet of the capture at a position enters.
    pub fn of(
        &mut self,
        network: &Network,
        position: usize,
        interfaces: &[Interface],
        captured: &Captured<'_>,
    ) -> Entry {
        let recorded = self.recorded(position, interfaces, captured);
        let way = match captured.direction {
            Some(Direction::Out) => Way::Out,
            // Without routing nothing is known of the machine's own place on the link.
            Some(Direction::OtherHost) if self.routing != Routing::Off => Way::Elsewhere,
            Some(Direction::In | Direction::OtherHost) => Way::In,
            None => Way::Unknown,
        };
        let port = match (recorded, captured.direction) {
            (Some(Port::Local), _) => Port::Local,
            (_, Some(Direction::Out)) if !self.has_addresses => Port::Local,
            (_, Some(Direction::Out) | None) if self.is_from_here(network, captured.bytes) => {
                Port::Local
            }
            // It left here: where it came in was not recorded.
            (Some(_), Some(Direction::Out)) if self.routing != Routing::Off => {
                self.route_back(network, captured.bytes)
            }
            (Some(port), _) => port,
            (None, _) => self.route_back(network, captured.bytes),
        };
        let (recorded, mtu) = match recorded {
            Some(Port::Interface(id)) => (Some(id), self.mtu(id)),
            Some(Port::Local) => (None, LOOPBACK_MTU),
            None => (None, DEFAULT_MTU),
        };
        Entry { port, recorded, way, mtu }
    }

    fn mtu(&self, id: InterfaceId) -> u32 {
        self.interfaces.get(usize::from(id.0)).map_or(DEFAULT_MTU, |known| known.mtu)
    }

    /// Where the packet was recorded: what the capture says, then what the user says.
    fn recorded(
        &mut self,
        position: usize,
        interfaces: &[Interface],
        captured: &Captured<'_>,
    ) -> Option<Port> {
        let known = &self.captures.get(position)?.by_name;
        let index = captured.interface.0 as usize;
        if let Some(port) = known.get(index) {
            return *port;
        }
        // Interfaces only ever come to the end of a capture's list.
        for number in known.len()..=index {
            let port = self.resolve(position, interfaces.get(number));
            self.captures.get_mut(position)?.by_name.push(port);
        }
        self.captures.get(position)?.by_name.get(index).copied().flatten()
    }

    fn resolve(&mut self, position: usize, interface: Option<&Interface>) -> Option<Port> {
        let name = interface.and_then(|interface| interface.name.as_deref());
        let index = interface.and_then(|interface| interface.index);
        // What is seen there this machine sent to itself; it is recorded once.
        if name == Some(LOOPBACK.0) || index == Some(LOOPBACK.1) {
            return Some(Port::Local);
        }
        let given = self.captures.get(position).and_then(|known| known.given);
        match self.routing {
            Routing::Off => given.or_else(|| self.port(name.unwrap_or(UNNAMED))),
            _ => name.and_then(|name| self.port(name)).or(given),
        }
    }

    /// The interface of a name; without routing there is one as soon as it is named.
    fn port(&mut self, name: &str) -> Option<Port> {
        if name == LOCAL {
            return Some(Port::Local);
        }
        let position = match self.positions.get(name) {
            Some(position) => *position,
            None if self.routing == Routing::Off => {
                let next = self.interfaces.len();
                self.interfaces.push(Named { name: name.to_owned(), mtu: DEFAULT_MTU });
                self.positions.insert(name.to_owned(), next);
                next
            }
            None => return None,
        };
        Some(Port::Interface(InterfaceId(u16::try_from(position).unwrap_or(u16::MAX))))
    }

    fn is_from_here(&self, network: &Network, bytes: &[u8]) -> bool {
        self.has_addresses
            && Packet::parse_cut(bytes).is_ok_and(|packet| network.is_own(packet.source()))
    }

    /// The interface that leads back to the source; the first one if none does.
    fn route_back(&self, network: &Network, bytes: &[u8]) -> Port {
        let source = Packet::parse_cut(bytes).ok().map(|packet| packet.source());
        let back = source.and_then(|source| network.route(source));
        Port::Interface(back.unwrap_or(InterfaceId(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::capture::InterfaceRef;
    use crate::config::Config;
    use crate::machine::Machine;

    const ROUTER: &str = "
        [[interface]]
        name = \"lan0\"
        addresses = [\"192.0.2.254/24\"]
        [[interface]]
        name = \"wan0\"
        addresses = [\"198.51.100.254/24\"]
        mtu = 1400
    ";

    /// A packet from 192.0.2.1, recorded on an interface of a name and a number.
    struct Case {
        name: Option<&'static str>,
        index: Option<u32>,
        direction: Option<Direction>,
        given: Option<&'static str>,
        source: [u8; 4],
    }

    const PLAIN: Case =
        Case { name: None, index: None, direction: None, given: None, source: [192, 0, 2, 1] };
    /// The router itself.
    const OWN: [u8; 4] = [192, 0, 2, 254];
    /// A host behind the router's wan0.
    const FAR: [u8; 4] = [198, 51, 100, 2];

    fn enter(machine: &Machine, own: bool, case: &Case) -> (String, Way) {
        let given = [case.given.map(str::to_owned)];
        let mut entrance = Entrance::new(&machine.network, &given, own).unwrap();
        let mut bytes = crate::craft::ipv4(0);
        bytes[12..16].copy_from_slice(&case.source);
        let sum = stateward_wire::checksum::of(&bytes[..20]).to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
        let captured = Captured {
            number: 1,
            time: 0,
            interface: InterfaceRef(0),
            direction: case.direction,
            link: None,
            bytes: &bytes,
            original_length: 32,
            cut: false,
        };
        let interfaces = [Interface { name: case.name.map(str::to_owned), index: case.index }];
        let entry = entrance.of(&machine.network, 0, &interfaces, &captured);
        (entrance.port_name(entry.port).to_owned(), entry.way)
    }

    fn routed(case: &Case) -> String {
        let config = Config::parse("gateway.toml".as_ref(), ROUTER).unwrap();
        enter(&Machine::from_config(&config, []).unwrap(), true, case).0
    }

    fn transparent(case: &Case) -> String {
        enter(&Machine::transparent([]), false, case).0
    }

    #[test]
    fn a_name_that_the_machine_has_comes_first() {
        assert_eq!(routed(&Case { name: Some("wan0"), given: Some("lan0"), ..PLAIN }), "wan0");
        assert_eq!(routed(&Case { name: Some("eth7"), given: Some("wan0"), ..PLAIN }), "wan0");
        assert_eq!(routed(&Case { name: Some("local"), ..PLAIN }), "local");
    }

    #[test]
    fn else_the_way_back_to_the_source() {
        assert_eq!(routed(&PLAIN), "lan0");
        assert_eq!(routed(&Case { source: FAR, ..PLAIN }), "wan0");
        assert_eq!(routed(&Case { name: Some("eth7"), source: FAR, ..PLAIN }), "wan0");
    }

    #[test]
    fn own_addresses_are_local_unless_the_capture_says_they_came_in() {
        assert_eq!(routed(&Case { source: OWN, ..PLAIN }), "local");
        assert_eq!(routed(&Case { source: OWN, name: Some("lan0"), ..PLAIN }), "local");
        let spoofed =
            Case { direction: Some(Direction::In), name: Some("wan0"), source: OWN, ..PLAIN };
        assert_eq!(routed(&spoofed), "wan0");
        let host = Machine::transparent([IpAddr::from(OWN)]);
        assert_eq!(enter(&host, true, &Case { source: OWN, ..PLAIN }).0, "local");
        assert_eq!(enter(&host, true, &PLAIN).0, "eth0");
    }

    #[test]
    fn what_left_came_in_where_its_source_is() {
        let left = Case { direction: Some(Direction::Out), name: Some("wan0"), ..PLAIN };
        assert_eq!(routed(&left), "lan0");
        // About a machine without addresses nothing else is known than that it sent the packet.
        assert_eq!(transparent(&left), "local");
    }

    #[test]
    fn without_routing_interfaces_are_those_that_are_named() {
        assert_eq!(transparent(&PLAIN), "eth0");
        assert_eq!(transparent(&Case { name: Some("enp3s0"), ..PLAIN }), "enp3s0");
        assert_eq!(
            transparent(&Case { name: Some("enp3s0"), given: Some("lan0"), ..PLAIN }),
            "lan0"
        );
    }

    #[test]
    fn the_loopback_is_the_machine_itself() {
        let named = Case { name: Some("lo"), direction: Some(Direction::In), ..PLAIN };
        let numbered = Case { name: Some("if1"), index: Some(1), ..PLAIN };
        for case in [named, numbered] {
            assert_eq!(transparent(&case), "local");
            assert_eq!(routed(&case), "local");
        }
    }

    #[test]
    fn packets_for_others_on_the_link_pass_only_a_transparent_machine() {
        let case = Case { direction: Some(Direction::OtherHost), ..PLAIN };
        assert_eq!(enter(&Machine::transparent([]), false, &case).1, Way::In);
        let config = Config::parse("gateway.toml".as_ref(), ROUTER).unwrap();
        let router = Machine::from_config(&config, []).unwrap();
        assert_eq!(enter(&router, true, &case).1, Way::Elsewhere);
    }

    #[test]
    fn an_interface_that_is_not_there_cannot_be_given() {
        let config = Config::parse("gateway.toml".as_ref(), ROUTER).unwrap();
        let router = Machine::from_config(&config, []).unwrap();
        let given = [Some("dmz0".to_owned())];
        assert_eq!(Entrance::new(&router.network, &given, true).unwrap_err(), "dmz0");
    }
}
