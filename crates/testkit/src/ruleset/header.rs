//! What a rule asks for without a match: protocol, addresses, interfaces.

use super::{Place, not};
use crate::dialogue::Random;

/// A rule's header.
pub(super) struct Header {
    /// What `-p` names without `!`.
    pub(super) protocol: Option<&'static str>,
    /// Its options.
    pub(super) text: String,
}

pub(super) fn draw(random: &mut Random, place: &Place) -> Header {
    let (protocol, asked) = protocol(random, place);
    let mut words = vec![asked];
    words.extend(["-s", "-d"].map(|option| address(random, place, option)));
    words.extend(interfaces(random, place));
    words.retain(|word| !word.is_empty());
    Header { protocol, text: words.join(" ") }
}

fn protocol(random: &mut Random, place: &Place) -> (Option<&'static str>, String) {
    let protocol = match random.below(12) {
        0..=3 => "tcp",
        4 | 5 => "udp",
        6 | 7 => place.either("icmp", "ipv6-icmp"),
        8 => random.pick(["sctp", "gre", "udplite", "253"]),
        9 => random.pick(["sctp", "dccp", "esp", "ah", "ipcomp", place.either("sctp", "mh")]),
        10 => return (None, "! -p udp".to_owned()),
        _ => return (None, String::new()),
    };
    (Some(protocol), format!("-p {protocol}"))
}

fn address(random: &mut Random, place: &Place, option: &str) -> String {
    if !random.chance(20) {
        return String::new();
    }
    let networks = place.either(
        ["192.168.1.0/24", "203.0.113.0/24", "198.51.100.0/25"],
        ["fd00:1::/64", "fd00:2::/64", "fd00::/16"],
    );
    let not = not(random);
    let odd = place.either("0.0.0.1/0.0.0.3", "::1/::3");
    let network = if random.chance(20) { odd } else { random.pick(networks) };
    format!("{not}{option} {network}")
}

fn interfaces(random: &mut Random, place: &Place) -> Vec<String> {
    let (has_input, has_output) = match place.hook {
        Some("PREROUTING" | "INPUT") => (true, false),
        Some("OUTPUT" | "POSTROUTING") => (false, true),
        _ => (true, true),
    };
    let mut words = Vec::new();
    for (option, possible) in [("-i", has_input), ("-o", has_output)] {
        if possible && random.chance(15) {
            let not = not(random);
            let name = random.pick(["lan0", "wan0", "lan+", "+", "lo", "eth9"]);
            words.push(format!("{not}{option} {name}"));
        }
    }
    words
}
