//! What a real `ip -j` of iproute2 6.1 printed.

use super::*;

const ADDRESSES: &str = include_str!("../../tests/inputs/addr.json");
const ROUTES: &str = include_str!("../../tests/inputs/route.json");
const ROUTES6: &str = include_str!("../../tests/inputs/route6.json");
const LOCAL: &str = include_str!("../../tests/inputs/local.json");

fn read() -> IpListing {
    let mut tables = IpListing::default();
    tables.read_addresses("addr.json", ADDRESSES).unwrap();
    for (name, text) in [("route.json", ROUTES), ("route6.json", ROUTES6)] {
        tables.read_routes(name, text).unwrap();
    }
    tables
}

fn leads(network: &Network, to: &str) -> Option<String> {
    let dev = network.route(to.parse().unwrap())?;
    network.interface(dev).map(|interface| interface.name.clone())
}

#[test]
fn interfaces_and_routes_are_the_kernels() {
    let tables = read();
    let network = tables.network(Routing::Forwarding).unwrap();
    let names: Vec<_> = network.interfaces().iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["lo", "lan0", "tun9", "down0"]);
    assert_eq!(network.interfaces()[2].link, Link::PointToPoint);
    assert_eq!(network.interfaces()[1].mtu, 1400);
    for own in ["192.168.1.1", "192.168.1.2", "fd00:1::1", "10.9.0.1", "10.255.0.1"] {
        assert!(network.is_own(own.parse().unwrap()), "{own}");
    }
    assert!(!network.is_own("172.31.0.1".parse().unwrap()), "down0 is down");
    // The least metric wins: by tun9, not by lan0.
    assert_eq!(leads(&network, "8.8.8.8").as_deref(), Some("tun9"));
    assert_eq!(leads(&network, "192.168.1.77").as_deref(), Some("lan0"));
    assert_eq!(leads(&network, "2001:db8::1").as_deref(), Some("lan0"));
    assert_eq!(leads(&network, "198.51.100.9").as_deref(), Some("lan0"));
    assert_eq!(leads(&network, "203.0.113.9").as_deref(), Some("lan0"));
    for nowhere in ["10.8.0.1", "172.20.0.1", "172.17.0.1", "2001:db8:1::1"] {
        assert_eq!(leads(&network, nowhere), None, "{nowhere}");
    }
}

#[test]
fn what_does_not_count_is_said() {
    let tables = read();
    let expected = [
        "`down0` is down: its addresses do not count",
        "route.json: of several next hops the first one is taken",
        "route.json: routes for one type of service do not count",
        "route.json: `colour` is not known and does not count",
        "route.json: routes of table 100 do not count: policy rules are not read",
    ];
    let mut notes = tables.notes().to_vec();
    let mut expected = expected.map(str::to_owned).to_vec();
    notes.sort();
    expected.sort();
    assert_eq!(notes, expected);
}

#[test]
fn the_local_table_is_this_hosts_own() {
    let mut tables = read();
    tables.read_routes("local.json", LOCAL).unwrap();
    let network = tables.network(Routing::Host).unwrap();
    assert!(network.is_own("192.0.2.99".parse().unwrap()));
    assert!(tables.notes().iter().any(|note| note.contains("the local route to 192.0.2.128/25")));
}

#[test]
fn addresses_alone_imply_their_routes() {
    let mut tables = IpListing::default();
    tables.read_addresses("addr.json", ADDRESSES).unwrap();
    let network = tables.network(Routing::Forwarding).unwrap();
    assert_eq!(leads(&network, "192.168.1.77").as_deref(), Some("lan0"));
    assert_eq!(leads(&network, "8.8.8.8"), None);
}

#[test]
fn what_is_not_of_ip_is_an_error_with_a_hint() {
    let mut tables = IpListing::default();
    let cases = [
        (tables.read_addresses("a", "1: lo: <UP>"), "a:1:2: this is not JSON", "`ip -j addr`"),
        (tables.read_addresses("a", "{}"), "a: this is no list", "`ip -j addr`"),
        (tables.read_addresses("a", ROUTES), "a: these are routes", "--route"),
        (tables.read_routes("r", ADDRESSES), "r: these are interfaces", "--addr"),
        (tables.read_routes("r", "[{\"dst\":\"x\"}]"), "r: `x` is no destination", "`ip -j route`"),
        (
            tables.read_routes("r", "[{\"dst\":\"default\",\"type\":\"nat\"}]"),
            "r: `nat` is no type of route",
            "`ip -j route`",
        ),
    ];
    for (result, message, hint) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint.as_deref().is_some_and(|text| text.contains(hint)), "{error:?}");
    }
    let mut tables = IpListing::default();
    tables.read_routes("r", "[{\"dst\":\"default\",\"dev\":\"eth9\"}]").unwrap();
    let error = tables.network(Routing::Host).err().unwrap().to_string();
    assert_eq!(error, "r: the route to 0.0.0.0/0 leads by `eth9`, which there is not");
}

#[test]
fn interfaces_that_have_no_ids_are_refused() {
    let list = |names: std::ops::RangeInclusive<usize>| {
        let info = r#"[{"local":"192.0.2.1","prefixlen":24}]"#;
        let object =
            |number| format!(r#"{{"ifname":"i{number}","flags":["UP"],"addr_info":{info}}}"#);
        format!("[{}]", names.map(object).collect::<Vec<_>>().join(","))
    };
    let mut tables = IpListing::default();
    tables.read_addresses("most", &list(1..=65_535)).unwrap();
    // The same ones again are no more.
    tables.read_addresses("again", &list(65_534..=65_535)).unwrap();
    tables.read_routes("r", r#"[{"dst":"2001:db8::/32","dev":"i65535"}]"#).unwrap();
    let network = tables.network(Routing::Forwarding).unwrap();
    assert_eq!(network.interfaces().len(), 65_535);
    assert_eq!(leads(&network, "192.0.2.7").as_deref(), Some("i1"));
    assert_eq!(leads(&network, "2001:db8::1").as_deref(), Some("i65535"));
    let error = tables.read_addresses("more", &list(65_536..=65_536)).unwrap_err();
    assert_eq!(error.to_string(), "more: there are more than 65535 interfaces");
}

#[test]
fn notes_end_where_nobody_reads_on() {
    let keys = (0..100_000).map(|key| format!("\"k{key}\":1")).collect::<Vec<_>>().join(",");
    let mut tables = IpListing::default();
    tables.read_addresses("a", &format!("[{{\"ifname\":\"lan0\",{keys}}}]")).unwrap();
    assert_eq!(tables.notes().len(), MOST_NOTES);
    assert!(tables.notes()[..LAST_NOTE].iter().all(|note| note.contains("is not known")));
    assert_eq!(tables.notes()[LAST_NOTE], "more does not count; it is not said");
}

/// `ip addr add 10.0.0.1 peer 10.0.0.2/32`, `10.1.0.1 peer 10.2.0.7/24` and
/// `2001:db8::1 peer 2001:db8:1::2/64`. The kernel's routes were 10.0.0.2, 10.2.0.0/24,
/// 2001:db8::/64 and 2001:db8:1::2, and 10.2.0.255 its broadcast.
const PEERS: &str = include_str!("../../tests/inputs/peer.json");

#[test]
fn an_address_with_a_peer_leads_to_the_peer() {
    let mut tables = IpListing::default();
    tables.read_addresses("peer.json", PEERS).unwrap();
    let network = tables.network(Routing::Host).unwrap();
    for own in ["10.0.0.1", "10.1.0.1", "2001:db8::1"] {
        assert!(network.is_own(own.parse().unwrap()), "{own}");
    }
    for peer in ["10.0.0.2", "10.2.0.7", "10.2.0.9", "2001:db8:1::2", "2001:db8::9"] {
        assert!(!network.is_own(peer.parse().unwrap()), "{peer}");
        assert_eq!(leads(&network, peer).as_deref(), Some("d0"), "{peer}");
    }
    for nowhere in ["10.0.0.3", "10.1.0.7", "2001:db8:1::3"] {
        assert_eq!(leads(&network, nowhere), None, "{nowhere}");
    }
    let implied = tables.implied();
    let source = |to: &str| implied.iter().find(|one| one.to == to.parse().unwrap())?.source;
    assert_eq!(source("10.0.0.2/32"), Some("10.0.0.1".parse().unwrap()));
    assert_eq!(source("10.2.0.0/24"), Some("10.1.0.1".parse().unwrap()));
    let broadcast = tables.peers.values().flatten().filter_map(Peer::broadcast);
    assert_eq!(broadcast.collect::<Vec<_>>(), ["10.2.0.255".parse::<Ipv4Addr>().unwrap()]);
    // A list of routes stands for all of them.
    tables.read_routes("none", "[]").unwrap();
    let network = tables.network(Routing::Host).unwrap();
    assert_eq!(leads(&network, "10.0.0.2"), None);
    assert_eq!(leads(&network, "2001:db8:1::2").as_deref(), Some("d0"));
}

#[test]
fn a_peer_is_an_address_of_the_same_family() {
    let cases = [
        ("2001:db8::1", "`192.0.2.1` and its peer `2001:db8::1` are of two families"),
        ("x", "`x/24` of `d0` is no address"),
    ];
    for (peer, message) in cases {
        let info = format!(r#"[{{"local":"192.0.2.1","address":"{peer}","prefixlen":24}}]"#);
        let text = format!(r#"[{{"ifname":"d0","flags":["UP"],"addr_info":{info}}}]"#);
        let error = IpListing::default().read_addresses("a", &text).unwrap_err().to_string();
        assert_eq!(error, format!("a: {message}"));
    }
}
