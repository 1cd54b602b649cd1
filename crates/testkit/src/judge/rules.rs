//! Rulesets on both sides: what is compared of them, and what of them was used.

use std::collections::BTreeMap;

use stateward_conntrack::TimeoutPolicy;
use stateward_engine::Engine;
use stateward_rules::restore::{RestoreOptions, restore};
use stateward_rules::{ShowCounters, Source, ValidRuleset};
use stateward_wire::{Family, protocol};

use crate::kernel::{Observation, Outcome};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The rulesets for our side. The kernel has taken them; that we do not is an error.
pub(super) fn read(texts: &[String; 2]) -> Result<Vec<ValidRuleset>, String> {
    let read = |(text, family): (&String, Family)| {
        let rules = restore(&Source::new("rules", text), family, RestoreOptions::default());
        rules.map_err(|errors| errors.first().map_or(String::new(), ToString::to_string))
    };
    texts.iter().zip(FAMILIES).map(read).collect()
}

/// What nfct makes of `NAME L3 L4 STATE SECONDS …`; `None` if the words say something else.
pub(super) fn policy(words: &str) -> Option<TimeoutPolicy> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let [name, l3, l4, states @ ..] = words.as_slice() else { return None };
    let family = if *l3 == "inet" { Family::V4 } else { Family::V6 };
    let protocol = match *l4 {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "udplite" => protocol::UDPLITE,
        "gre" => protocol::GRE,
        "sctp" => protocol::SCTP,
        "icmp" => protocol::ICMP,
        "icmpv6" => protocol::ICMPV6,
        "generic" => TimeoutPolicy::GENERIC,
        _ => return None,
    };
    let mut policy = TimeoutPolicy::new(name, family, protocol);
    let set = |pair: &[&str]| match pair {
        [state, seconds] => seconds.parse().is_ok_and(|seconds| policy.set(state, seconds)),
        _ => false,
    };
    states.chunks(2).all(set).then_some(policy)
}

/// The rules that a packet met, and those that the host's answers met.
pub(super) fn path_of_kernel(seen: &Observation) -> Vec<String> {
    seen.trace().into_iter().map(str::to_owned).collect()
}

/// The same on our side.
pub(super) fn path_of(engine: &Engine) -> Vec<String> {
    let names = engine.notes().path.iter().filter_map(|passed| engine.name(*passed));
    names.map(|name| name.to_string()).collect()
}

/// Every rule with its counters, as the kernel has them in the end.
pub(super) fn counted_by_kernel(outcome: &Outcome) -> [Vec<String>; 2] {
    [&outcome.rules4, &outcome.rules6].map(|text| lines(text.as_deref().unwrap_or_default()))
}

/// The same on our side.
pub(super) fn counted(engine: &Engine) -> [Vec<String>; 2] {
    FAMILIES.map(|family| {
        let rules = engine.rules(family).map(|rules| rules.counted().save(ShowCounters::Yes));
        lines(&rules.unwrap_or_default())
    })
}

/// What iptables-save prints, without its comments and with the tables in the order of their names:
/// the kernel has one of its own.
fn lines(text: &str) -> Vec<String> {
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut tables: Vec<&str> = text.split_inclusive("COMMIT\n").collect();
    tables.sort_unstable();
    tables.iter().flat_map(|table| table.lines()).map(str::to_owned).collect()
}

/// Whether a rule lets NAT look from a random port on for a free one, among so few that many are
/// taken.
pub(super) fn draws_from_few<'a>(texts: impl Iterator<Item = &'a String>) -> bool {
    texts.flat_map(|text| text.lines()).any(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_source = words.contains(&"SNAT") || words.contains(&"MASQUERADE");
        let has_ports = words.windows(2).any(|pair| match pair {
            ["--to-ports", _] => true,
            ["--to-source" | "--to-destination", to] => {
                to.contains("]:") || (to.contains(':') && to.contains('.')) || to.starts_with(':')
            }
            _ => false,
        });
        has_ports && (is_source || line.contains("--random"))
    })
}

/// How many packets have met rules with each match and each target.
#[derive(Debug, Clone, Default)]
pub(super) struct Used(BTreeMap<String, u64>);

impl Used {
    /// Adds the rules with their counters.
    pub(super) fn add(&mut self, counted: &[Vec<String>; 2]) {
        for line in counted.iter().flatten() {
            let Some((counters, rule)) = line.split_once(' ') else { continue };
            let packets = counters.trim_start_matches('[').split(':').next();
            let Some(packets) = packets.and_then(|packets| packets.parse::<u64>().ok()) else {
                continue;
            };
            let words: Vec<&str> = rule.split(' ').collect();
            for pair in words.windows(2) {
                if let [option @ ("-m" | "-j"), name] = pair {
                    *self.0.entry(format!("{option} {name}")).or_default() += packets;
                }
            }
        }
    }

    /// How many have met rules with this, `-m limit`.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}
