//! Targets of random rules. How to add one stands in the module above.

use super::{Draw, Place};
use crate::dialogue::Random;

/// All that are drawn, the commoner ones twice. The one without a name is a rule that only counts.
pub(super) const ALL: &[(&str, Draw)] = &[
    ("", nothing),
    ("ACCEPT", accept),
    ("ACCEPT", accept),
    ("CT", ct),
    ("DROP", drop),
    ("HL", hop_limit),
    ("MARK", mark),
    ("MARK", mark),
    ("NOTRACK", notrack),
    ("REJECT", reject),
    ("RETURN", back),
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

fn ct(_: &mut Random, place: &Place) -> Option<String> {
    (place.table == "raw").then(|| "-j CT --notrack".to_owned())
}

fn drop(_: &mut Random, _: &Place) -> Option<String> {
    Some("-j DROP".to_owned())
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
