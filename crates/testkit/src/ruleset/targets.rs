//! Targets of random rules. How to add one stands in the module above.

use super::{Entry, Place};
use crate::dialogue::Random;

/// All that are drawn, the commoner ones twice. The one without a name is a rule that only counts.
pub(super) const ALL: &[Entry] = &[
    ("", nothing),
    ("ACCEPT", accept),
    ("ACCEPT", accept),
    ("CONNMARK", connmark),
    ("CT", ct),
    ("DROP", drop),
    ("DSCP", dscp),
    ("ECN", ecn),
    ("HL", hop_limit),
    ("MARK", mark),
    ("MARK", mark),
    ("NOTRACK", notrack),
    ("REJECT", reject),
    ("RETURN", back),
    ("TCPMSS", tcpmss),
    ("TCPMSS", tcpmss),
    ("TCPOPTSTRIP", tcpoptstrip),
    ("TOS", tos),
    ("TTL", hop_limit),
];

/// A jump or a goto to one of the chains.
pub(super) fn chain(random: &mut Random, chains: &[&str]) -> Option<String> {
    let verb = random.pick(["-j", "-j", "-g"]);
    random.choose(chains).map(|chain| format!("{verb} {chain}"))
}

fn nothing(_: &mut Random, _: &Place) -> Option<String> {
    Some("-m comment --comment \"only counts\"".to_owned())
}

fn accept(_: &mut Random, _: &Place) -> Option<String> {
    Some("-j ACCEPT".to_owned())
}

fn back(_: &mut Random, _: &Place) -> Option<String> {
    Some("-j RETURN".to_owned())
}

/// Not in raw, where it would mark the rule of `-j CT` that a packet has met.
fn connmark(random: &mut Random, place: &Place) -> Option<String> {
    if place.table == "raw" {
        return None;
    }
    let (value, mask) = (random.below(16), random.below(256));
    let shift = match random.below(6) {
        0 => format!(" --left-shift-mark {}", random.below(32)),
        1 => format!(" --right-shift-mark {}", random.below(5)),
        _ => String::new(),
    };
    let work = match random.below(4) {
        0 => format!("set-xmark {value:#x}/{mask:#x}"),
        1 => format!("save-mark --nfmask {mask:#x} --ctmask {value:#x}"),
        2 => format!("restore-mark --nfmask {mask:#x} --ctmask {value:#x}"),
        _ => random.pick(["save-mark", "restore-mark"]).to_owned(),
    };
    Some(format!("-j CONNMARK --{work}{shift}"))
}

fn ct(random: &mut Random, place: &Place) -> Option<String> {
    if place.table != "raw" {
        return None;
    }
    let events = random.pick(["new,destroy", "reply", "assured,mark", "protoinfo,related,new"]);
    Some(match random.below(6) {
        0 => "-j CT --notrack".to_owned(),
        1 => "-j CT".to_owned(),
        2 => format!("-j CT --ctevents {events}"),
        3 => "-j CT --zone mark".to_owned(),
        4 => format!("-j CT --zone {}", random.below(3)),
        // Zone 0 of one direction is told otherwise (PARITY).
        _ => format!("-j CT --zone-{} {}", random.pick(["orig", "reply"]), 1 + random.below(2)),
    })
}

/// iptables does not take it in the nat table.
fn drop(_: &mut Random, place: &Place) -> Option<String> {
    (place.table != "nat").then(|| "-j DROP".to_owned())
}

fn dscp(random: &mut Random, place: &Place) -> Option<String> {
    (place.table == "mangle").then(|| format!("-j DSCP --set-dscp {}", random.below(64)))
}

/// Of IPv4 only.
fn ecn(random: &mut Random, place: &Place) -> Option<String> {
    if place.table != "mangle" || place.either(false, true) {
        return None;
    }
    if place.protocol == Some("tcp") && random.chance(70) {
        let what = random.pick(["remove", "cwr 0", "cwr 1", "ece 0", "ece 1 --ecn-tcp-cwr 1"]);
        return Some(format!("-j ECN --ecn-tcp-{what}"));
    }
    Some(format!("-j ECN --ecn-ip-ect {}", random.below(4)))
}

/// `TTL`, and `HL` of IPv6.
fn hop_limit(random: &mut Random, place: &Place) -> Option<String> {
    let (target, option) = place.either(("TTL", "ttl"), ("HL", "hl"));
    let change = random.pick(["set 9", "dec 7", "inc 3", "inc 250"]);
    (place.table == "mangle").then(|| format!("-j {target} --{option}-{change}"))
}

fn mark(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-j MARK --set-xmark {:#x}/{:#x}", random.below(8), random.below(8)))
}

fn notrack(_: &mut Random, place: &Place) -> Option<String> {
    (place.table == "raw").then(|| "-j NOTRACK".to_owned())
}

fn reject(random: &mut Random, place: &Place) -> Option<String> {
    if place.table != "filter" {
        return None;
    }
    if place.protocol == Some("tcp") && random.chance(40) {
        return Some("-j REJECT --reject-with tcp-reset".to_owned());
    }
    let with = random.pick(place.either(
        ["icmp-admin-prohibited", "icmp-proto-unreachable", "icmp-port-unreachable"],
        ["icmp6-adm-prohibited", "icmp6-policy-fail", "icmp6-port-unreachable"],
    ));
    Some(format!("-j REJECT --reject-with {with}"))
}

fn tcpmss(random: &mut Random, place: &Place) -> Option<String> {
    let knows_the_way = matches!(place.hook, Some("FORWARD" | "OUTPUT" | "POSTROUTING"));
    let size = match knows_the_way && random.chance(50) {
        true => "--clamp-mss-to-pmtu".to_owned(),
        false => format!("--set-mss {}", random.pick([0, 100, 536, 1000, 1300, 1459, 9000])),
    };
    let flags = random.pick(["SYN,RST SYN", "SYN SYN", "SYN,ACK SYN"]);
    place.only("tcp", || format!("-m tcp --tcp-flags {flags} -j TCPMSS {size}"))
}

fn tcpoptstrip(random: &mut Random, place: &Place) -> Option<String> {
    let kinds = random.pick(["mss", "timestamp,sack-permitted", "3,5,9", "sack", "wscale,md5,255"]);
    let stands = place.table == "mangle" && place.protocol == Some("tcp");
    stands.then(|| format!("-j TCPOPTSTRIP --strip-options {kinds}"))
}

fn tos(random: &mut Random, place: &Place) -> Option<String> {
    let (value, mask) = (random.below(256), random.below(256));
    (place.table == "mangle").then(|| format!("-j TOS --set-tos {value}/{mask}"))
}
