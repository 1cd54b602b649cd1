//! Rulesets under which connections have helpers: who gets which, and what rules ask of those that
//! come of it.
//!
//! What stands at the beginning of a table is here; the rest of it is as in other rulesets, or
//! empty.

use super::Place;
use crate::dialogue::Random;

/// Helpers, the protocol and the port by which they are given.
const ASSIGNED: [(&str, &str, u16); 8] = [
    ("ftp", "tcp", 21),
    ("irc", "tcp", 6667),
    ("sane", "tcp", 6566),
    ("amanda", "udp", 10080),
    ("tftp", "udp", 69),
    ("pptp", "tcp", 1723),
    ("sip", "udp", 5060),
    ("sip", "tcp", 5060),
];

/// What of a dialogue's rules is drawn once for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Translated {
    Yes,
    No,
}

/// The rules that come first in a table.
pub(super) fn first(random: &mut Random, place: Place, translated: Translated) -> Vec<String> {
    match place.table {
        "raw" => raw(random, place, translated),
        "mangle" => mangle(random),
        "filter" => filter(random),
        "nat" => nat(random, place),
        _ => Vec::new(),
    }
}

fn raw(random: &mut Random, place: Place, translated: Translated) -> Vec<String> {
    let options = match (translated, random.below(20)) {
        (Translated::No, 0) => " --zone 3",
        (Translated::No, 1) => " --zone-orig 3",
        (Translated::No, 2) => " --zone-reply 3",
        (Translated::No, 3) => " --expevents new",
        _ => "",
    };
    let mut rules = Vec::new();
    for hook in ["PREROUTING", "OUTPUT"] {
        for (helper, protocol, port) in ASSIGNED {
            // Which IPv6 does not have.
            if place.either(false, matches!(helper, "irc" | "pptp")) {
                continue;
            }
            rules.push(format!(
                "-A {hook} -p {protocol} -m {protocol} --dport {port} -j CT{options} --helper {helper}"
            ));
        }
        if options.starts_with(" --zone") {
            rules.push(format!("-A {hook} -j CT{options}"));
        }
    }
    rules
}

fn mangle(random: &mut Random) -> Vec<String> {
    const RULES: [&str; 6] = [
        "-A PREROUTING -p tcp -m tcp --dport 21 -j CONNMARK --set-xmark 0x5/0xffffffff",
        "-A PREROUTING -p udp -m udp --dport 69 -j CONNMARK --set-xmark 0x6/0xffffffff",
        "-A PREROUTING -m conntrack --ctstate RELATED -j CONNMARK --restore-mark",
        "-A POSTROUTING -m connmark --mark 0x5 -m helper --helper ftp -j MARK --set-xmark 0x1/0x1",
        "-A FORWARD -m conntrack --ctstatus EXPECTED -j MARK --set-xmark 0x2/0x2",
        "-A INPUT -m helper --helper tftp -j CONNMARK --set-xmark 0x9/0xf",
    ];
    RULES.iter().filter(|_| random.chance(40)).map(|rule| (*rule).to_owned()).collect()
}

fn filter(random: &mut Random) -> Vec<String> {
    const RULES: [&str; 7] = [
        "-A FORWARD -m conntrack --ctstate RELATED -m helper --helper ftp -j ACCEPT",
        "-A FORWARD -m conntrack --ctstate RELATED -m helper --helper sip -j ACCEPT",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        "-A FORWARD -m helper --helper \"\" -j RETURN",
        "-A FORWARD -p tcp -m tcp --dport 1025 -m conntrack --ctstate NEW -j DROP",
        "-A INPUT -m conntrack --ctstate RELATED -j DROP",
        "-A FORWARD -m conntrack ! --ctstatus EXPECTED -m helper --helper irc -j REJECT",
    ];
    RULES.iter().filter(|_| random.chance(20)).map(|rule| (*rule).to_owned()).collect()
}

/// All of what goes out, or what comes in for a port, is translated; or only what other rules say.
fn nat(random: &mut Random, place: Place) -> Vec<String> {
    let to = random.pick(place.either(
        ["203.0.113.7", "9.9.9.9", "203.0.113.111", "203.0.113.1"],
        ["fd00:2::7", "fd00:2:3:4:5:6:7:8", "2001:db8:9::9", "fd00:2::1"],
    ));
    let within = place.either("192.168.1.10", "fd00:1::a");
    let beyond = place.either("198.51.100.5", "2001:db8::5");
    let rules = [
        vec![format!("-A POSTROUTING -o wan0 -j SNAT --to-source {to}")],
        vec![format!("-A POSTROUTING -o wan0 -j SNAT --to-source {to}")],
        vec!["-A POSTROUTING -o wan0 -j MASQUERADE".to_owned()],
        vec![format!("-A PREROUTING -i wan0 -j DNAT --to-destination {within}")],
        vec![format!("-A PREROUTING -i lan0 -j DNAT --to-destination {beyond}")],
        vec![
            format!("-A POSTROUTING -o wan0 -j SNAT --to-source {to}"),
            format!("-A PREROUTING -i wan0 -j DNAT --to-destination {within}"),
        ],
        Vec::new(),
        Vec::new(),
    ];
    random.choose(&rules).cloned().unwrap_or_default()
}
