//! Matches of random rules. How to add one stands in the module above.

mod ipv6;
mod remembering;
mod transport;
mod unknown;

use super::{Entry, Place, not};
use crate::dialogue::Random;

/// All that are drawn.
pub(super) const ALL: &[Entry] = &[
    ("addrtype", addrtype),
    ("ah", transport::ah),
    ("cgroup", unknown::cgroup),
    ("connbytes", connbytes),
    ("connlabel", connlabel),
    ("connmark", connmark),
    ("conntrack", conntrack),
    ("dccp", transport::dccp),
    ("devgroup", unknown::devgroup),
    ("dscp", dscp),
    ("dst", ipv6::dst),
    ("ecn", ecn),
    ("esp", transport::esp),
    ("eui64", ipv6::eui64),
    ("frag", ipv6::frag),
    ("hashlimit", remembering::hashlimit),
    ("hbh", ipv6::hbh),
    ("helper", helper),
    ("hl", hop_limit),
    ("icmp", icmp),
    ("icmp6", icmp6),
    ("ipcomp", transport::ipcomp),
    ("iprange", iprange),
    ("ipv6header", ipv6::ipv6header),
    ("length", length),
    ("limit", limit),
    ("mark", mark),
    ("mh", ipv6::mh),
    ("multiport", multiport),
    ("owner", unknown::owner),
    ("owner", unknown::owner),
    ("physdev", unknown::physdev),
    ("policy", unknown::policy),
    ("quota", quota),
    ("recent", remembering::recent),
    ("rpfilter", unknown::rpfilter),
    ("rt", ipv6::rt),
    ("sctp", transport::sctp),
    ("socket", unknown::socket),
    ("state", state),
    ("statistic", statistic),
    ("string", remembering::string),
    ("tcp", tcp),
    ("tcpmss", tcpmss),
    ("time", remembering::time),
    ("tos", tos),
    ("ttl", hop_limit),
    ("u32", words),
    ("udp", udp),
];

/// Those that look into the headers that the rule's packets have, which would be drawn too seldom.
pub(super) fn of_headers(place: &Place) -> Vec<Entry> {
    let of_protocol: &[&str] = match place.protocol {
        Some("tcp") => &["tcp", "tcpmss", "ecn"],
        Some("ipv6-icmp") => &["icmp6"],
        Some(protocol) => &[protocol],
        None => &["ah", "dst", "frag", "hbh", "ipv6header", "rt"],
    };
    ALL.iter().filter(|(name, _)| of_protocol.contains(name)).copied().collect()
}

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

fn connbytes(random: &mut Random, _: &Place) -> Option<String> {
    let range = random.pick(["1:1", "2:", "40:200", "0:5", "100", "1:3", "0"]);
    let side = random.pick(["original", "reply", "both"]);
    let mode = random.pick(["packets", "bytes", "avgpkt"]);
    let options = format!("--connbytes-mode {mode} --connbytes-dir {side}");
    Some(format!("-m connbytes {}--connbytes {range} {options}", not(random)))
}

fn connlabel(random: &mut Random, _: &Place) -> Option<String> {
    let set = random.pick(["", " --set"]);
    Some(format!("-m connlabel {}--label {}{set}", not(random), random.pick([0, 1, 70, 127])))
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

fn helper(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m helper {}--helper {}", not(random), random.pick(["ftp", "\"\""])))
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

fn dscp(random: &mut Random, _: &Place) -> Option<String> {
    let asked = random.pick(["dscp 0", "dscp 0x0a", "dscp-class EF", "dscp-class CS1"]);
    Some(format!("-m dscp {}--{asked}", not(random)))
}

fn ecn(random: &mut Random, place: &Place) -> Option<String> {
    let not = not(random);
    let asked = match random.below(3) {
        0 if place.protocol == Some("tcp") => "ecn-tcp-ece".to_owned(),
        1 if place.protocol == Some("tcp") => "ecn-tcp-cwr".to_owned(),
        _ => format!("ecn-ip-ect {}", random.below(4)),
    };
    Some(format!("-m ecn {not}--{asked}"))
}

fn tos(random: &mut Random, _: &Place) -> Option<String> {
    let asked = random.pick(["0x10/0x3f", "0x00/0xff", "0xb8/0xfc", "0x02/0x03"]);
    Some(format!("-m tos {}--tos {asked}", not(random)))
}

fn quota(random: &mut Random, _: &Place) -> Option<String> {
    Some(format!("-m quota {}--quota {}", not(random), random.pick([0, 500, 2000, 20_000])))
}

/// Chance cannot be compared, but for what is certain.
fn statistic(random: &mut Random, _: &Place) -> Option<String> {
    let not = not(random);
    let every = 1 + random.below(5);
    Some(match random.below(4) {
        0 => format!("-m statistic --mode random {not}--probability {}", random.below(2)),
        _ => {
            let packet = random.below(every);
            format!("-m statistic --mode nth {not}--every {every} --packet {packet}")
        }
    })
}

/// `u32`: the protocol, what the header's length leads to, and what is beyond the packet's end.
fn words(random: &mut Random, place: &Place) -> Option<String> {
    let asked = random.pick(place.either(
        ["6&0xFF=6,17", "0>>22&0x3C@0>>16=0:1023", "0>>22&0x3C@12>>26&0x3C@0=0:0x7fffffff"],
        ["4>>8&0xFF=6,17", "40>>16=0:1023", "4>>16@40=0:0xffffffff"],
    ));
    let asked = if random.chance(20) { "60=0:0xffffffff&&0>>28=4:6" } else { asked };
    Some(format!("-m u32 {}--u32 \"{asked}\"", not(random)))
}
