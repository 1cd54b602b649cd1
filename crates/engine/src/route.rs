//! Routing: what the kernel's input and output routing makes of a packet.
//!
//! Without a configuration routing is off and every packet transits, but for those from or to this
//! host's own addresses. With one, a packet is delivered (own address, broadcast, multicast),
//! forwarded, or ends here: martians, no route, TTL, MTU. What ends here leaves no entry, because
//! only the end of the way confirms. Kernel counterpart: `ip_route_input_slow`, `ip_forward`,
//! `ip6_rcv_core`, `ip6_forward`. What sources may come in is [`crate::source`]'s.

mod kinds;
mod listed;
mod reason;
mod speaks;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use stateward_wire::{Family, Network as Header, Packet};

use crate::engine::Port;
use crate::options;
use crate::source::SourceCheck;

pub use self::listed::{Hop, Listed};
pub use self::reason::RoutingDrop;

/// An interface, by its position in [`Network::interfaces`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceId(pub u16);

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses, each with the prefix of its link.
    pub addresses: Vec<IpNet>,
    /// The largest packet it carries, in bytes.
    pub mtu: u32,
    /// What it is connected to.
    pub link: Link,
    /// Which IPv4 sources may come in.
    pub source_check: SourceCheck,
    /// `ip link set group`: what `devgroup` asks for.
    pub group: u32,
}

/// Whether neighbours are looked for on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// ARP and neighbour discovery find them: each address has its solicited-node group.
    #[default]
    Ethernet,
    /// There is one at the other end (a tunnel, the kernel's `NOARP`).
    PointToPoint,
}

impl Interface {
    /// An Ethernet interface that only its name is known of.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let (link, source_check) = (Link::default(), SourceCheck::default());
        Interface { name, addresses: Vec::new(), mtu: 1500, link, source_check, group: 0 }
    }
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destinations.
    pub to: IpNet,
    /// Where they are.
    pub dev: InterfaceId,
    /// The next router, if they are not on the link.
    pub via: Option<IpAddr>,
}

/// Whether this network routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Routing {
    /// Everything transits.
    #[default]
    Off,
    /// As a host: nothing is forwarded.
    Host,
    /// As a router.
    Forwarding,
}

/// Interfaces, addresses and routes.
#[derive(Default)]
pub struct Network {
    interfaces: Vec<Interface>,
    routing: Routing,
    own: BTreeSet<IpAddr>,
    delivered: Vec<Delivered>,
    broadcast: BTreeSet<Ipv4Addr>,
    v4: PrefixMap<Ipv4Net, Way>,
    v6: PrefixMap<Ipv6Net, Way>,
}

/// A policy rule by which this host takes packets of other destinations: `ip rule add fwmark
/// MARK/MASK lookup TABLE`, where that table has nothing but `local default dev lo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// What the packet's mark is, as far as the mask goes.
    pub mark: u32,
    /// Which of its bits are asked.
    pub mask: u32,
}

/// What a route does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    out: Result<InterfaceId, RoutingDrop>,
    /// The address that this host speaks from that way.
    source: Option<IpAddr>,
    /// The next router.
    via: Option<IpAddr>,
}

/// What input routing decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    Input,
    Forward(Option<InterfaceId>),
    Drop(RoutingDrop),
}

impl Network {
    /// A network that routes: each interface's addresses give its connected routes.
    pub fn new(interfaces: Vec<Interface>, routes: &[Route], routing: Routing) -> Network {
        let mut network = Network::addressed(interfaces, routing);
        for (number, interface) in network.interfaces.clone().iter().enumerate() {
            let id = InterfaceId(u16::try_from(number).unwrap_or(u16::MAX));
            for address in &interface.addresses {
                let way = Way { out: Ok(id), source: None, via: None };
                network.connect(address.trunc(), way);
            }
        }
        for route in routes {
            let way = Way { out: Ok(route.dev), source: None, via: route.via };
            network.connect(route.to, way);
        }
        network
    }

    /// A network whose interfaces have addresses, and that has no routes yet.
    fn addressed(interfaces: Vec<Interface>, routing: Routing) -> Network {
        let mut network = Network { interfaces, routing, ..Network::default() };
        for interface in &network.interfaces {
            for address in &interface.addresses {
                network.own.insert(address.addr());
                match address {
                    IpNet::V4(net) if net.prefix_len() < 31 => {
                        network.broadcast.insert(net.broadcast());
                    }
                    // RFC 4291, 2.6.1: every router of a link is reached by the link's own address.
                    IpNet::V6(net) if routing == Routing::Forwarding && net.prefix_len() < 127 => {
                        network.own.insert(net.network().into());
                    }
                    _ => {}
                }
            }
        }
        network
    }

    /// A network without routing, whose interfaces have names alone; `own` are this host's
    /// addresses.
    pub fn transparent(names: Vec<String>, own: impl IntoIterator<Item = IpAddr>) -> Network {
        Network {
            interfaces: names.into_iter().map(Interface::named).collect(),
            own: own.into_iter().collect(),
            ..Network::default()
        }
    }

    /// Of several routes to one network the first counts: Linux takes the interface that had its
    /// address first, and none that is added to it by hand before one that an address implies.
    fn connect(&mut self, to: IpNet, way: Way) {
        match to {
            IpNet::V4(net) => self.v4.entry(net).or_insert(way),
            IpNet::V6(net) => self.v6.entry(net).or_insert(way),
        };
    }

    /// Delivers what comes in with such a mark and would be forwarded, or not routed at all.
    pub fn deliver(&mut self, marked: Delivered) {
        self.delivered.push(marked);
    }

    pub(crate) fn is_delivered(&self, mark: u32) -> bool {
        self.delivered.iter().any(|one| mark & one.mask == one.mark)
    }

    /// The interfaces, in the order of their ids.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// What the interfaces carry and ask for can be changed; their addresses count as they were
    /// when the network was made.
    pub fn interfaces_mut(&mut self) -> &mut [Interface] {
        &mut self.interfaces
    }

    /// An interface.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(id.0))
    }

    /// The interface of this name.
    pub fn interface_named(&self, name: &str) -> Option<InterfaceId> {
        let position = self.interfaces.iter().position(|interface| interface.name == name)?;
        u16::try_from(position).ok().map(InterfaceId)
    }

    /// Adds an interface that a capture names, without addresses.
    pub fn add_interface(&mut self, name: &str) -> InterfaceId {
        if let Some(id) = self.interface_named(name) {
            return id;
        }
        self.interfaces.push(Interface::named(name));
        InterfaceId(u16::try_from(self.interfaces.len() - 1).unwrap_or(u16::MAX))
    }

    /// Whether this network routes.
    #[inline]
    pub fn routing(&self) -> Routing {
        self.routing
    }

    /// Whether an address is this host's own.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Whether what this host sends there comes back to it.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_own(address)
    }

    /// Whether an address is ours without being an interface's: IPv6's subnet-router anycast.
    pub(crate) fn is_anycast(&self, address: IpAddr) -> bool {
        let named =
            |interface: &Interface| interface.addresses.iter().any(|known| known.addr() == address);
        self.routing != Routing::Off
            && address.is_ipv6()
            && self.is_own(address)
            && !self.interfaces.iter().any(named)
    }

    /// Whether a destination is all of a link.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || self.broadcast.contains(&v4))
    }

    /// Where a destination is.
    #[inline]
    pub fn route(&self, to: IpAddr) -> Option<InterfaceId> {
        self.way(to)?.out.ok()
    }

    /// Where a packet goes that this host sends. What says nothing without its link (all of a link,
    /// a group, IPv6's link-local addresses) goes by the interface whose address speaks: the kernel
    /// does so where a process chose the address or the interface, and else makes the address the
    /// interface's.
    pub(crate) fn way_out(&self, from: IpAddr, to: IpAddr) -> Option<InterfaceId> {
        match self.is_of_link(to) {
            true => self.speaker(from).or_else(|| self.route(to)),
            false => self.route(to),
        }
    }

    /// Where a packet goes that this host sends, asked once more because of its new destination. To
    /// a link's own addresses IPv4 goes only by the interface whose address speaks, and IPv6 stays
    /// on the link it was to go by (kernel `ip_route_me_harder`, `ip6_route_me_harder`).
    pub(crate) fn way_again(
        &self,
        from: IpAddr,
        to: IpAddr,
        egress: Option<InterfaceId>,
    ) -> Option<InterfaceId> {
        match to {
            _ if !self.is_of_link(to) => self.route(to),
            IpAddr::V4(_) => self.speaker(from),
            IpAddr::V6(_) => egress,
        }
    }

    /// Whether an address says nothing without its link.
    pub(crate) fn is_of_link(&self, to: IpAddr) -> bool {
        match to {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        }
    }

    /// The first interface that has an address.
    pub(crate) fn speaker(&self, address: IpAddr) -> Option<InterfaceId> {
        let has = |one: &Interface| one.addresses.iter().any(|net| net.addr() == address);
        u16::try_from(self.interfaces.iter().position(has)?).ok().map(InterfaceId)
    }

    /// Why a packet does not go where no route leads to.
    pub(crate) fn refusal(&self, to: IpAddr) -> RoutingDrop {
        self.way(to).and_then(|way| way.out.err()).unwrap_or(RoutingDrop::NoRoute)
    }

    /// The address that the route there says this host speaks from.
    pub(crate) fn preferred_source(&self, to: IpAddr) -> Option<IpAddr> {
        self.way(to)?.source
    }

    #[inline]
    fn way(&self, to: IpAddr) -> Option<&Way> {
        match to {
            IpAddr::V4(to) => self.v4.get_lpm(&Ipv4Net::from(to)).map(|(_, way)| way),
            IpAddr::V6(to) => self.v6.get_lpm(&Ipv6Net::from(to)).map(|(_, way)| way),
        }
    }

    /// Where a packet to `to` goes that `port`'s packet is, or is answered with. A link-local
    /// address says nothing without its link: it leaves where the packet came in, or not at all.
    pub(crate) fn route_back(&self, to: IpAddr, port: Port) -> Option<InterfaceId> {
        let routed = self.route(to);
        let link_local = matches!(to, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let (Port::Interface(ingress), true) = (port, link_local) else { return routed };
        let on_link = |net: &IpNet| net.contains(&to);
        let reaches = routed == Some(ingress)
            || self.interface(ingress).is_some_and(|link| link.addresses.iter().any(on_link));
        reaches.then_some(ingress)
    }

    /// The address this host speaks from on an interface: the first of the family.
    pub fn address_on(&self, id: InterfaceId, like: IpAddr) -> Option<IpAddr> {
        let own = self.interface(id)?.addresses.iter().map(IpNet::addr);
        own.filter(|address| address.is_ipv4() == like.is_ipv4())
            .find(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
    }

    /// Why a packet is thrown away on arrival, before any hook: addresses that no IPv6 packet on a
    /// link may have (RFC 4291, 2.5.3 and 2.7), and hop-by-hop options. IPv4 has neither.
    #[inline]
    pub(crate) fn on_arrival(&self, packet: &Packet<'_>) -> Option<RoutingDrop> {
        let Header::V6(header) = packet.network() else { return None };
        if self.routing == Routing::Off {
            return None;
        }
        let (source, destination) = (header.source(), header.destination());
        if source.is_multicast() || source.is_loopback() {
            return Some(RoutingDrop::MartianSource);
        }
        // Scopes 0 (reserved) and 1 (of the interface itself).
        let stays = destination.is_multicast() && destination.octets()[1] & 0xf < 2;
        if stays || destination.is_loopback() {
            return Some(RoutingDrop::MartianDestination);
        }
        options::on_arrival(packet).err()
    }

    /// Why a packet that this host sends to itself is thrown away on its return: hop-by-hop options,
    /// which nobody has looked at so far.
    pub(crate) fn on_return(&self, packet: &Packet<'_>) -> Result<(), RoutingDrop> {
        match packet.network() {
            Header::V6(_) if self.routing != Routing::Off => options::on_arrival(packet),
            _ => Ok(()),
        }
    }

    /// The family's first address of an interface; of IPv6 those of the link come last.
    pub(crate) fn first_address(&self, id: InterfaceId, family: Family) -> Option<IpAddr> {
        let own = self.interface(id)?.addresses.iter().map(IpNet::addr);
        let own = own.filter(|address| Family::of(*address) == family);
        own.min_by_key(|address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
    }

    /// Whether this host has addresses of its own.
    #[inline(always)]
    pub fn has_addresses(&self) -> bool {
        !self.own.is_empty()
    }

    /// What becomes of a packet that came in from outside with this mark, where there is routing.
    pub(crate) fn input(&self, packet: &Packet<'_>, ingress: InterfaceId, mark: u32) -> Decision {
        match packet.network() {
            Header::V4(header) => {
                let ends = [header.source(), header.destination()];
                match self.input_v4(ends, ingress, mark) {
                    martian @ Decision::Drop(
                        RoutingDrop::MartianSource
                        | RoutingDrop::MartianDestination
                        | RoutingDrop::ReversePath
                        | RoutingDrop::Multicast,
                    ) => martian,
                    decision => {
                        options::after_routing(packet).map_or_else(Decision::Drop, |()| decision)
                    }
                }
            }
            Header::V6(header) => self.input_v6(header.destination(), ingress, mark),
        }
    }

    /// How long the pieces were at most in which a captured packet came in, if it is longer than
    /// its link carries: then the network card put it together (GRO), or was left to cut it (TSO).
    #[inline]
    pub(crate) fn pieces_of_superpacket(&self, packet: &Packet<'_>, port: Port) -> Option<usize> {
        if self.routing == Routing::Off {
            return None;
        }
        let Port::Interface(ingress) = port else { return None };
        let mtu = self.interface(ingress)?.mtu as usize;
        (packet.length() > mtu).then_some(mtu)
    }

    /// Whether a packet may go out on an interface: its time to live, its size, its source.
    /// `largest_piece` is the length of its largest fragment or segment, if it came in several.
    pub(crate) fn may_forward(
        &self,
        packet: &Packet<'_>,
        ingress: InterfaceId,
        egress: Option<InterfaceId>,
        largest_piece: Option<usize>,
    ) -> Result<(), RoutingDrop> {
        if packet.ttl() <= 1 {
            return Err(RoutingDrop::TimeToLive);
        }
        let may_be_cut = match packet.network() {
            Header::V4(header) => !header.dont_fragment(),
            Header::V6(header) => {
                // On the link it came from it is known who that is.
                if egress != Some(ingress) {
                    may_leave_link(header.source())?;
                }
                false
            }
        };
        let mtu = egress.and_then(|id| self.interface(id)).map_or(u32::MAX, |to| to.mtu);
        // What came in pieces may leave in pieces, if those fit.
        let largest = largest_piece.unwrap_or(packet.length());
        if packet.length() > mtu as usize && largest > mtu as usize && !may_be_cut {
            return Err(RoutingDrop::TooBig { mtu });
        }
        Ok(())
    }

    fn input_v4(&self, ends: [Ipv4Addr; 2], ingress: InterfaceId, mark: u32) -> Decision {
        let [source, destination] = ends;
        if source.is_multicast() || source.is_broadcast() {
            return Decision::Drop(RoutingDrop::MartianSource);
        }
        let decision = self.destination_v4(source, destination, mark);
        let unspecified = source.is_unspecified();
        match decision {
            Decision::Input | Decision::Forward(_) if !unspecified => {
                let valid = self.validate_source(source, ingress);
                valid.map_or_else(Decision::Drop, |()| decision)
            }
            _ => decision,
        }
    }

    fn destination_v4(&self, source: Ipv4Addr, destination: Ipv4Addr, mark: u32) -> Decision {
        if destination.is_multicast() {
            if source.is_loopback() {
                return Decision::Drop(RoutingDrop::MartianSource);
            }
            // Every interface is a member of this group and no other.
            return match destination.octets() {
                [224, 0, 0, 1] => Decision::Input,
                _ => Decision::Drop(RoutingDrop::Multicast),
            };
        }
        let unspecified = source.is_unspecified() && destination.is_unspecified();
        if destination.is_broadcast() || unspecified {
            return Decision::Input;
        }
        if source.is_unspecified() || source.is_loopback() {
            return Decision::Drop(RoutingDrop::MartianSource);
        }
        if destination.is_unspecified() || destination.is_loopback() {
            return Decision::Drop(RoutingDrop::MartianDestination);
        }
        let own = self.is_own(destination.into()) || self.broadcast.contains(&destination);
        if own || self.is_delivered(mark) {
            return Decision::Input;
        }
        self.forward(destination.into(), self.route(destination.into()))
    }

    fn input_v6(&self, destination: Ipv6Addr, ingress: InterfaceId, mark: u32) -> Decision {
        if destination.is_multicast() {
            return match self.has_joined(destination, ingress) {
                true => Decision::Input,
                false => Decision::Drop(RoutingDrop::Multicast),
            };
        }
        if self.is_own(destination.into()) || self.is_delivered(mark) {
            return Decision::Input;
        }
        // IPv6 looks for a route, and says that there is none, before it knows that it does not
        // forward.
        let Some(egress) = self.route_back(destination.into(), Port::Interface(ingress)) else {
            return Decision::Drop(self.refusal(destination.into()));
        };
        self.forward(destination.into(), Some(egress))
    }

    /// Whether an interface is of a group: all nodes, all routers, and where neighbours are looked
    /// for the group of each of its own addresses (RFC 4291, 2.7.1) and of its networks' routers.
    fn has_joined(&self, group: Ipv6Addr, ingress: InterfaceId) -> bool {
        let routers = self.routing == Routing::Forwarding;
        match group.segments() {
            [0xff02, 0, 0, 0, 0, 0, 0, 1] => true,
            [0xff02, 0, 0, 0, 0, 0, 0, 2] => routers,
            [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _] => {
                let Some(interface) = self.interface(ingress) else { return false };
                let asked = |own: Ipv6Addr| own.octets()[13..] == group.octets()[13..];
                let solicits = |own: &IpNet| match own {
                    IpNet::V6(own) => {
                        let anycast = routers && own.prefix_len() < 127;
                        asked(own.addr()) || (anycast && asked(own.network()))
                    }
                    IpNet::V4(_) => false,
                };
                interface.link == Link::Ethernet && interface.addresses.iter().any(solicits)
            }
            _ => false,
        }
    }

    fn forward(&self, to: IpAddr, route: Option<InterfaceId>) -> Decision {
        if self.routing != Routing::Forwarding {
            return Decision::Drop(RoutingDrop::NotForwarding);
        }
        match route {
            Some(dev) => Decision::Forward(Some(dev)),
            None => Decision::Drop(self.refusal(to)),
        }
    }
}

/// Whether a packet of this source may be forwarded to another link.
fn may_leave_link(source: Ipv6Addr) -> Result<(), RoutingDrop> {
    if source.is_unspecified() {
        return Err(RoutingDrop::MartianSource);
    }
    if source.is_unicast_link_local() {
        return Err(RoutingDrop::LinkLocalSource);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
