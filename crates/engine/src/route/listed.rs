//! Routes as a kernel lists them: nothing is implied by addresses, the best of several to one
//! network comes first, and some lead nowhere on purpose.

use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{Interface, InterfaceId, Network, Routing, RoutingDrop, Way};

/// A route of a kernel's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Destinations.
    pub to: IpNet,
    /// Where they are.
    pub hop: Hop,
    /// The address that this host speaks from to them, if the route says so (`src`).
    pub source: Option<IpAddr>,
    /// The next router, if they are not on the link.
    pub via: Option<IpAddr>,
}

/// What a route does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// They leave here.
    Out(InterfaceId),
    /// `throw`: there is no route.
    Nowhere,
    /// `blackhole`: nobody is told.
    Blackhole,
    /// `unreachable`: the sender is told so.
    Unreachable,
    /// `prohibit`: the sender is told that it is forbidden.
    Prohibited,
}

impl Network {
    /// A network with these routes and no others.
    pub fn listed(interfaces: Vec<Interface>, routes: &[Listed], routing: Routing) -> Network {
        let mut network = Network::addressed(interfaces, routing);
        for &Listed { to, hop, source, via } in routes {
            let out = match hop {
                Hop::Out(dev) => Ok(dev),
                Hop::Nowhere => Err(RoutingDrop::NoRoute),
                Hop::Blackhole => Err(RoutingDrop::Blackhole),
                Hop::Unreachable => Err(RoutingDrop::Unreachable),
                Hop::Prohibited => Err(RoutingDrop::Prohibited),
            };
            network.connect(to, Way { out, source, via });
        }
        network
    }

    /// An address of this host that no interface has (a route of type `local`).
    pub fn add_own(&mut self, address: IpAddr) {
        self.own.insert(address);
    }

    /// An address that means all of a link (a route of type `broadcast`).
    pub fn add_broadcast(&mut self, address: Ipv4Addr) {
        self.broadcast.insert(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_routes_counts_and_some_lead_nowhere() {
        let interfaces = vec![Interface::named("lan0"), Interface::named("wan0")];
        let route =
            |to: &str, hop| Listed { to: to.parse().unwrap(), hop, source: None, via: None };
        let preferred: IpAddr = "192.0.2.7".parse().unwrap();
        let routes = [
            Listed { source: Some(preferred), ..route("0.0.0.0/0", Hop::Out(InterfaceId(1))) },
            route("0.0.0.0/0", Hop::Out(InterfaceId(0))),
            route("10.0.0.0/8", Hop::Blackhole),
            route("10.1.0.0/16", Hop::Out(InterfaceId(0))),
            route("172.16.0.0/12", Hop::Unreachable),
            route("192.168.0.0/16", Hop::Prohibited),
            route("198.51.100.0/24", Hop::Nowhere),
        ];
        let network = Network::listed(interfaces, &routes, Routing::Forwarding);
        let way = |to: &str| {
            let to = to.parse().unwrap();
            network.route(to).ok_or_else(|| network.refusal(to))
        };
        assert_eq!(way("8.8.8.8"), Ok(InterfaceId(1)));
        assert_eq!(way("10.9.9.9"), Err(RoutingDrop::Blackhole));
        assert_eq!(way("10.1.9.9"), Ok(InterfaceId(0)));
        assert_eq!(way("172.16.1.1"), Err(RoutingDrop::Unreachable));
        assert_eq!(way("192.168.1.1"), Err(RoutingDrop::Prohibited));
        assert_eq!(way("198.51.100.1"), Err(RoutingDrop::NoRoute));
        assert_eq!(network.preferred_source("8.8.8.8".parse().unwrap()), Some(preferred));
        assert_eq!(way("2001:db8::1"), Err(RoutingDrop::NoRoute));
    }
}
