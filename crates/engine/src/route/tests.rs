//! Routing without packets: groups, types of addresses, routes.

use super::*;

#[test]
fn a_host_has_no_route_in_ipv6_before_it_does_not_forward() {
    let interface = Interface {
        addresses: vec!["fd00:1::1/64".parse().unwrap(), "192.0.2.1/24".parse().unwrap()],
        ..Interface::named("lan0")
    };
    let host = Network::new(vec![interface], &[], Routing::Host);
    let v6 = |to: &str| host.input_v6(to.parse().unwrap(), InterfaceId(0), 0);
    assert_eq!(v6("fd00:1::9"), Decision::Drop(RoutingDrop::NotForwarding));
    assert_eq!(v6("2001:db8::9"), Decision::Drop(RoutingDrop::NoRoute));
    let ends = [[192, 0, 2, 9].into(), [198, 51, 100, 9].into()];
    let v4 = host.input_v4(ends, InterfaceId(0), 0);
    assert_eq!(v4, Decision::Drop(RoutingDrop::NotForwarding));
}

#[test]
fn every_reason_is_among_the_codes() {
    let too_big = RoutingDrop::TooBig { mtu: 1280 };
    let options = RoutingDrop::Options { problem: None };
    let all = [
        RoutingDrop::MartianSource,
        RoutingDrop::MartianDestination,
        RoutingDrop::ReversePath,
        RoutingDrop::Multicast,
        RoutingDrop::NoRoute,
        RoutingDrop::Blackhole,
        RoutingDrop::Unreachable,
        RoutingDrop::Prohibited,
        RoutingDrop::NotForwarding,
        RoutingDrop::TimeToLive,
        too_big,
        RoutingDrop::LinkLocalSource,
        options,
        RoutingDrop::SourceRoute,
        RoutingDrop::NotAddressed,
        RoutingDrop::Assigned,
    ];
    assert_eq!(all.map(|reason| reason.code()), RoutingDrop::CODES);
}

#[test]
fn of_two_routes_to_a_network_the_first_counts() {
    let on = |name: &str, addresses: [&str; 2]| Interface {
        addresses: addresses.map(|address| address.parse().unwrap()).to_vec(),
        ..Interface::named(name)
    };
    let interfaces = vec![
        on("lan0", ["192.0.2.1/24", "fd00:1::1/64"]),
        on("lan1", ["192.0.2.2/24", "fd00:1::2/64"]),
    ];
    let by_hand = |to: &str| Route { to: to.parse().unwrap(), dev: InterfaceId(1), via: None };
    let routes = [by_hand("192.0.2.0/24"), by_hand("fd00:1::/64")];
    let network = Network::new(interfaces, &routes, Routing::Forwarding);
    for to in ["192.0.2.9", "fd00:1::9"] {
        assert_eq!(network.route(to.parse().unwrap()), Some(InterfaceId(0)), "{to}");
    }
}

#[test]
fn an_ethernet_interface_is_of_the_groups_in_which_its_addresses_are_asked_for() {
    let network = |link, routing| {
        let addresses = vec!["fd00:1::1:2345/64".parse().unwrap()];
        let interface = Interface { addresses, link, ..Interface::named("lan0") };
        Network::new(vec![interface], &[], routing)
    };
    let joined = |network: &Network, group: &str| {
        network.input_v6(group.parse().unwrap(), InterfaceId(0), 0) == Decision::Input
    };
    let router = network(Link::Ethernet, Routing::Forwarding);
    for group in ["ff02::1", "ff02::2", "ff02::1:ff01:2345", "ff02::1:ff00:0"] {
        assert!(joined(&router, group), "{group}");
    }
    for group in ["ff02::3", "ff02::1:ff01:2346", "ff02::2:ff01:2345", "ff05::1:ff01:2345"] {
        assert!(!joined(&router, group), "{group}");
    }
    let host = network(Link::Ethernet, Routing::Host);
    assert!(joined(&host, "ff02::1:ff01:2345"));
    assert!(!joined(&host, "ff02::1:ff00:0") && !joined(&host, "ff02::2"));
    assert!(!joined(&network(Link::PointToPoint, Routing::Forwarding), "ff02::1:ff01:2345"));
}
