//! Random nat tables: every target with its ranges and flags, where it can stand.
//!
//! Two chains of the user's serve the hooks that change destinations, one those that change
//! sources. Ranges are small, so that they run out; networks are those of the judge's links and
//! beyond, and the machine's own addresses.

use super::{CHAINS, Entry, Place, conditions, draw, header, not};
use crate::dialogue::Random;

/// The targets, the commoner ones twice.
pub(super) const TARGETS: &[Entry] = &[
    ("SNAT", snat),
    ("SNAT", snat),
    ("DNAT", dnat),
    ("DNAT", dnat),
    ("MASQUERADE", masquerade),
    ("MASQUERADE", masquerade),
    ("REDIRECT", redirect),
    ("NETMAP", netmap),
];

/// What a hook of the nat table changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// The hooks, what each changes, and its chains of the user's.
const HOOKS: [(&str, Side, &[&str]); 4] = [
    ("PREROUTING", Side::Destination, &["one", "two"]),
    ("INPUT", Side::Source, &["three"]),
    ("OUTPUT", Side::Destination, &["one", "two"]),
    ("POSTROUTING", Side::Source, &["three"]),
];

/// The table's lines.
pub(super) fn table(random: &mut Random, place: Place) -> Vec<String> {
    let place = Place { table: "nat", ..place };
    let mut lines = vec!["*nat".to_owned()];
    lines.extend(HOOKS.map(|(hook, ..)| format!(":{hook} ACCEPT [0:0]")));
    lines.extend(CHAINS.map(|chain| format!(":{chain} - [0:0]")));
    for (hook, _, chains) in HOOKS {
        let place = Place { hook: Some(hook), ..place };
        lines.extend(plain(random, hook, place));
        let many = if matches!(hook, "PREROUTING" | "POSTROUTING") { 6 } else { 3 };
        (0..random.below(many)).for_each(|_| lines.push(rule(random, hook, place, chains)));
    }
    for (chain, further) in [("one", &["two"][..]), ("two", &[]), ("three", &[])] {
        let hook = if chain == "three" { AFTER } else { BEFORE };
        let place = Place { hook: Some(hook), ..place };
        (0..random.below(3)).for_each(|_| lines.push(rule(random, chain, place, further)));
    }
    lines.push("COMMIT".to_owned());
    lines
}

/// Now and then a hook begins with a rule for all of a protocol, mostly with few ports to choose
/// from: so that they run out, and closed connections stand in the way.
fn plain(random: &mut Random, hook: &str, place: Place) -> Option<String> {
    if !random.chance(30) {
        return None;
    }
    let icmp = place.either("icmp", "ipv6-icmp");
    let name = random.pick(["tcp", "tcp", "udp", "sctp", icmp, icmp]);
    let place = Place { protocol: Some(name), ..place };
    let target = match hook {
        "POSTROUTING" if has_ports(&place) && random.chance(50) => {
            let ports = random.pick(["6000-6001", "6000-6000", "6000-6003"]);
            let to = to(&place, place.either("203.0.113.7", "fd00:2::7"), Some(ports));
            Some(format!("-j SNAT --to-source {to}"))
        }
        "POSTROUTING" if random.chance(50) => masquerade(random, &place),
        _ => draw(random, &place, TARGETS),
    };
    target.map(|target| format!("-A {hook} -p {name} {target}"))
}

/// Where the user's chains stand: what any hook that leads to them takes.
const BEFORE: &str = "PREROUTING or OUTPUT";
const AFTER: &str = "INPUT or POSTROUTING";

fn side(place: &Place) -> Side {
    match place.hook {
        Some("PREROUTING" | "OUTPUT" | BEFORE) => Side::Destination,
        _ => Side::Source,
    }
}

fn rule(random: &mut Random, chain: &str, stands: Place, chains: &[&str]) -> String {
    // What matches ask for must hold wherever a chain of the user's is led to from.
    let hook = stands.hook.filter(|hook| *hook == chain);
    let place = Place { hook, ..stands };
    let header::Header { mut protocol, mut text } = header::draw(random, &place);
    if random.chance(40) {
        let name =
            random.pick(["tcp", "udp", "sctp", place.either("icmp", "ipv6-icmp"), "udplite"]);
        (protocol, text) = (Some(name), format!("-p {name}"));
    } else if random.chance(30) {
        (protocol, text) = (None, String::new());
    }
    let place = Place { protocol, ..place };
    let mut words = vec![format!("-A {chain}"), text];
    if random.chance(15) {
        words.extend(draw(random, &place, &conditions::of_headers(&place)));
    }
    match random.below(8) {
        0 => {
            let (not, every) = (not(random), 1 + random.below(4));
            let packet = random.below(every);
            let nth = format!("--every {every} --packet {packet}");
            words.push(format!("-m statistic --mode nth {not}{nth}"));
        }
        1 => words.extend(draw(random, &place, conditions::ALL)),
        _ => {}
    }
    words.extend(match random.below(20) {
        0 => Some("-j ACCEPT".to_owned()),
        1 => Some("-j RETURN".to_owned()),
        2 => Some("-j MARK --set-xmark 0x1/0x1".to_owned()),
        3..=5 if !chains.is_empty() => super::targets::chain(random, chains),
        _ => draw(random, &Place { hook: stands.hook, ..place }, TARGETS),
    });
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// Whether the target may name ports: the rule names one protocol that has them.
fn has_ports(place: &Place) -> bool {
    matches!(place.protocol, Some("tcp" | "udp" | "sctp" | "dccp" | "icmp"))
}

/// Ports to choose from, mostly few; or none.
fn ports(random: &mut Random, place: &Place) -> Option<&'static str> {
    const PORTS: [&str; 9] = [
        "8080",
        "6000-6001",
        "6000-6001",
        "6000-6003",
        "40000-40002",
        "79-81",
        "500-520",
        "1-65535",
        "1024-1200",
    ];
    (has_ports(place) && random.chance(60)).then(|| random.pick(PORTS))
}

/// An address or a range with ports.
fn to(place: &Place, addresses: &str, ports: Option<&str>) -> String {
    match (ports, place.either(false, true)) {
        (None, _) => addresses.to_owned(),
        (Some(ports), false) => format!("{addresses}:{ports}"),
        (Some(ports), true) if addresses.is_empty() => format!(":{ports}"),
        (Some(ports), true) => format!("[{addresses}]:{ports}"),
    }
}

fn snat(random: &mut Random, place: &Place) -> Option<String> {
    if side(place) != Side::Source {
        return None;
    }
    let addresses = random.pick(place.either(
        [
            "203.0.113.1",
            "203.0.113.1",
            "203.0.113.7",
            "203.0.113.7-203.0.113.10",
            "192.168.1.1",
            "192.168.1.11",
            "198.51.100.70-198.51.101.3",
        ],
        [
            "fd00:2::1",
            "fd00:2::1",
            "fd00:2::7",
            "fd00:2::7-fd00:2::a",
            "fd00:1::1",
            "fd00:1::b",
            "fd00:2:0:7::-fd00:2:1:9::1",
        ],
    ));
    let ports = ports(random, place);
    let alone = ports.is_some() && random.chance(15);
    let addresses = if alone { "" } else { addresses };
    let flags = random.pick(["", "", "", " --random", " --random-fully", " --persistent"]);
    Some(format!("-j SNAT --to-source {}{flags}", to(place, addresses, ports)))
}

fn dnat(random: &mut Random, place: &Place) -> Option<String> {
    if side(place) != Side::Destination {
        return None;
    }
    let addresses = random.pick(place.either(
        [
            "192.168.1.10",
            "192.168.1.12",
            "192.168.1.10-192.168.1.12",
            "198.51.100.5-198.51.100.8",
            "198.51.100.6",
            "203.0.113.1",
            "192.168.1.1",
        ],
        [
            "fd00:1::a",
            "fd00:1::c",
            "fd00:1::a-fd00:1::c",
            "2001:db8::5-2001:db8::8",
            "2001:db8::6",
            "fd00:2::1",
            "fd00:1::1",
        ],
    ));
    let mut ports = ports(random, place).map(str::to_owned);
    let alone = ports.is_some() && random.chance(15);
    let addresses = if alone { "" } else { addresses };
    let is_icmp = place.protocol == Some("icmp");
    if !is_icmp && !alone && has_ports(place) && random.chance(15) {
        ports = Some(random.pick(["6000-6100/50", "6000-6010/80", "7000-7400/100"]).to_owned());
    }
    let flags = random.pick(["", "", "", " --random", " --persistent"]);
    let to = to(place, addresses, ports.as_deref());
    Some(format!("-j DNAT --to-destination {to}{flags}"))
}

fn masquerade(random: &mut Random, place: &Place) -> Option<String> {
    if place.hook != Some("POSTROUTING") {
        return None;
    }
    let ports = ports(random, place).map_or(String::new(), |ports| format!(" --to-ports {ports}"));
    let flags = random.pick(["", "", "", " --random", " --random-fully"]);
    Some(format!("-j MASQUERADE{ports}{flags}"))
}

fn redirect(random: &mut Random, place: &Place) -> Option<String> {
    if side(place) != Side::Destination {
        return None;
    }
    let ports = ports(random, place).map_or(String::new(), |ports| format!(" --to-ports {ports}"));
    let flags = random.pick(["", "", "", " --random"]);
    Some(format!("-j REDIRECT{ports}{flags}"))
}

fn netmap(random: &mut Random, place: &Place) -> Option<String> {
    let networks = match side(place) {
        Side::Source => place.either(
            ["203.0.113.0/28", "203.0.113.64/26", "203.0.113.9/32"],
            ["fd00:2::/112", "fd00:2:0:5::/64", "fd00:2::9/128"],
        ),
        Side::Destination => place.either(
            ["192.168.1.0/28", "198.51.100.0/24", "192.168.1.11/32"],
            ["fd00:1::/112", "2001:db8::/64", "fd00:1::b/128"],
        ),
    };
    Some(format!("-j NETMAP --to {}", random.pick(networks)))
}
