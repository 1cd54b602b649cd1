//! Matches of random rules. How to add one stands in the module above.

use super::{Draw, Place, not};
use crate::dialogue::Random;

/// All that are drawn.
pub(super) const ALL: &[(&str, Draw)] = &[
    ("addrtype", addrtype),
    ("connmark", connmark),
    ("conntrack", conntrack),
    ("hl", hop_limit),
    ("icmp", icmp),
    ("icmp6", icmp6),
    ("iprange", iprange),
    ("length", length),
    ("limit", limit),
    ("mark", mark),
    ("multiport", multiport),
    ("state", state),
    ("tcp", tcp),
    ("tcpmss", tcpmss),
    ("ttl", hop_limit),
    ("udp", udp),
];

const STATES: [&str; 5] = ["NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "NEW,UNTRACKED"];

fn addrtype(random: &mut Random, place: &Place) -> Option<String> {
    let kinds = place.either(
        ["LOCAL", "UNICAST", "BROADCAST", "MULTICAST"],
        ["LOCAL", "ANYCAST", "MULTICAST", "UNREACHABLE"],
    );
    let (not, kind, side) = (not(random), random.pick(kinds), random.pick(["src", "dst"]));
    let device = match place.hook {
        Some("PREROUTING" | "INPUT" | "FORWARD") if random.chance(20) => " --limit-iface-in",
        Some("OUTPUT" | "POSTROUTING" | "FORWARD") if random.chance(20) => " --limit-iface-out",
        _ => "",
    };
    Some(format!("-m addrtype {not}--{side}-type {kind}{device}"))
}

fn connmark(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m connmark {}--mark {:#x}/0x3", not(random), random.below(2)))
}

fn conntrack(random: &mut Random, _: &Place) -> Option<String> {
    let not = not(random);
    Some(match random.below(4) {
        0 => format!("-m conntrack {not}--ctstate {}", random.pick(STATES)),
        1 => {
            let status = random.pick(["ASSURED", "SEEN_REPLY", "CONFIRMED,EXPECTED", "NONE"]);
            format!("-m conntrack {not}--ctstatus {status}")
        }
        2 => format!("-m conntrack --ctdir {}", random.pick(["ORIGINAL", "REPLY"])),
        _ => format!("-m conntrack {not}--ctproto {}", random.pick([6, 17, 1, 58, 132])),
    })
}

/// `ttl`, and `hl` of IPv6.
fn hop_limit(random: &mut Random, place: &Place) -> Option<String> {
    let name = place.either("ttl", "hl");
    Some(format!("-m {name} --{name}-{}", random.pick(["lt 64", "gt 63", "eq 63", "eq 9"])))
}

fn icmp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("icmp", || format!("-m icmp --icmp-type {}", random.pick(["8", "3", "11/0", "any"])))
}

fn icmp6(random: &mut Random, place: &Place) -> Option<String> {
    place.only("ipv6-icmp", || {
        format!("-m icmp6 --icmpv6-type {}", random.pick(["128", "1", "3/0", "129"]))
    })
}

fn iprange(random: &mut Random, place: &Place) -> Option<String> {
    let range = place.either("192.168.1.5-192.168.1.77", "fd00:1::5-fd00:1::77");
    Some(format!("-m iprange {}--{}-range {range}", not(random), random.pick(["src", "dst"])))
}

fn length(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m length {}--length {}", not(random), random.pick(["0:60", "40", "61:1500"])))
}

fn limit(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m limit --limit 1/min --limit-burst {}", random.below(30) + 1))
}

fn mark(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m mark {}--mark {:#x}/{:#x}", not(random), random.below(4), random.below(8)))
}

fn multiport(random: &mut Random, place: &Place) -> Option<String> {
    let has_ports = ["tcp", "udp", "sctp", "dccp", "udplite"].map(Some).contains(&place.protocol);
    let side = random.pick(["ports", "sports", "dports"]);
    let not = not(random);
    has_ports.then(|| format!("-m multiport {not}--{side} 0:1000,2000,40000:65535"))
}

fn state(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m state {}--state {}", not(random), random.pick(STATES)))
}

const PORTS: [&str; 5] = ["0:1023", "1024:65535", "80", "53", "7000:8000"];

fn tcp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("tcp", || match random.below(3) {
        0 => format!("-m tcp --{} {}", random.pick(["sport", "dport"]), random.pick(PORTS)),
        1 => "-m tcp --tcp-flags FIN,SYN,RST,ACK SYN".to_owned(),
        _ => "-m tcp --tcp-option 8".to_owned(),
    })
}

fn tcpmss(_: &mut Random, place: &Place) -> Option<String> {
    place.only("tcp", || "-m tcpmss --mss 536:1400".to_owned())
}

fn udp(random: &mut Random, place: &Place) -> Option<String> {
    place.only("udp", || {
        format!("-m udp --{} {}", random.pick(["sport", "dport"]), random.pick(PORTS))
    })
}
