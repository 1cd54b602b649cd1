//! Policies of timeouts, and the rules by which connections get them.

use std::fmt::Write;

use super::{Plan, Settings};
use crate::dialogue::random::Random;

/// Drawn apart from everything else.
const APART: u64 = 0x0070_6f6c_6963_7900;
/// How many of 100 dialogues under random rules.
const SHARE: usize = 15;

/// What `-p` says, what nfct calls it, and its states.
const PROTOCOLS: [(&str, &str, &[&str]); 7] = [
    (
        "tcp",
        "tcp",
        &[
            "syn_sent",
            "syn_recv",
            "established",
            "fin_wait",
            "close_wait",
            "last_ack",
            "time_wait",
            "close",
            "syn_sent2",
            "retrans",
            "unacknowledged",
        ],
    ),
    ("udp", "udp", &["unreplied", "replied"]),
    ("udplite", "udplite", &["unreplied", "replied"]),
    ("gre", "gre", &["unreplied", "replied"]),
    (
        "sctp",
        "sctp",
        &[
            "closed",
            "cookie_wait",
            "cookie_echoed",
            "established",
            "shutdown_sent",
            "shutdown_recd",
            "shutdown_ack_sent",
        ],
    ),
    ("icmp", "icmp", &["timeout"]),
    ("esp", "generic", &["timeout"]),
];

/// Gives some of the connections policies.
pub(super) fn draw(settings: &mut Settings, seed: u64, plan: &Plan) {
    let Some(texts) = settings.rules.as_mut().filter(|_| plan.rules.is_none()) else { return };
    let random = &mut Random::new(seed ^ APART);
    if !random.chance(SHARE) {
        return;
    }
    // The kernel tells iptables-save no more than four bytes of a name.
    for (text, (l3, name)) in texts.iter_mut().zip([("inet", "v4-"), ("inet6", "v6-")]) {
        let mut rules = String::new();
        for (number, (written, l4, states)) in PROTOCOLS.iter().enumerate() {
            if random.chance(40) {
                continue;
            }
            let (written, l4) = match (*l4, l3) {
                ("icmp", "inet6") => ("ipv6-icmp", "icmpv6"),
                _ => (*written, *l4),
            };
            let mut policy = format!("{name}{number} {l3} {l4}");
            for state in *states {
                let seconds = random.pick([None, None, Some(40), Some(200), Some(299), Some(700)]);
                if let Some(seconds) = seconds {
                    // Writing to a string does not fail.
                    let _ = write!(policy, " {state} {seconds}");
                }
            }
            if policy.split(' ').count() == 3 {
                let _ = write!(policy, " {} 444", states.first().copied().unwrap_or_default());
            }
            for chain in ["PREROUTING", "OUTPUT"] {
                let _ = writeln!(rules, "-A {chain} -p {written} -j CT --timeout {name}{number}");
            }
            settings.policies.push(policy);
        }
        put_into_raw(text, &rules);
    }
}

/// Rules at the end of table raw, which a text may not have yet.
fn put_into_raw(text: &mut String, rules: &str) {
    let end = text.find("*raw\n").and_then(|raw| Some(raw + text.get(raw..)?.find("COMMIT\n")?));
    match end {
        Some(end) => text.insert_str(end, rules),
        None => text.push_str(&format!("*raw\n{rules}COMMIT\n")),
    }
}
