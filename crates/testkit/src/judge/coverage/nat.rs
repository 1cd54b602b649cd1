//! What of NAT was touched: targets, each with protocols and families, what they choose from, how
//! errors came through, and what becomes of a connection that no port is left for.

use std::collections::BTreeMap;
use std::fmt;

use stateward_conntrack::{CtState, Direction};
use stateward_engine::{Outcome, Why};

use crate::adapt;
use crate::judge::heard::{Fate, Left, Told};

const TARGETS: [&str; 5] = ["SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP"];
/// What rules ask for by `-p`, as both families name it.
const PROTOCOLS: [&str; 5] = ["tcp", "udp", "sctp", "icmp", "any"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// What rules choose from, and how.
const KINDS: [&str; 6] =
    ["addresses", "ports", "--random", "--random-fully", "--persistent", "base port"];
/// A closed connection that has ended for the sake of a new one.
const EVICTED: &str = "a closed connection gives way";
const EXHAUSTED: &str = "no port is left";

/// Packets by what of NAT they met.
#[derive(Debug, Clone, Default)]
pub(super) struct Translated(BTreeMap<String, u64>);

impl Translated {
    fn add(&mut self, what: String, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// Notes rules with their counters.
    pub(super) fn note_rules(&mut self, counted: &[Vec<String>; 2]) {
        for (lines, family) in counted.iter().zip(FAMILIES) {
            for line in lines {
                let words: Vec<&str> = line.split(' ').collect();
                let packets = words.first().and_then(|word| {
                    word.trim_start_matches('[').split(':').next()?.parse::<u64>().ok()
                });
                let target = value(&words, "-j").filter(|target| TARGETS.contains(target));
                let (Some(packets @ 1..), Some(target)) = (packets, target) else { continue };
                self.add(of_target(target, protocol(&words), family), packets);
                for kind in KINDS.into_iter().filter(|kind| is_of(kind, &words)) {
                    self.add(of_kind(kind, family), packets);
                }
            }
        }
    }

    /// Notes what became of a packet.
    pub(super) fn note(&mut self, bytes: &[u8], outcome: &Outcome, fate: &Fate) {
        let family = if bytes.first().is_some_and(|first| first >> 4 == 6) { 1 } else { 0 };
        let Some(family) = FAMILIES.get(family).copied() else { return };
        let direction = outcome.connection.map(|connection| connection.direction);
        if let (Some(CtState::Related), Some(direction)) = (outcome.state, direction)
            && fate.out.iter().any(|left| is_translated(bytes, left))
        {
            self.add(of_errors(direction, family), 1);
        }
        let [mut ended, mut begun] = [None, None];
        for told in &fate.events {
            match told.event {
                "DESTROY" => ended = Some(told),
                "NEW" => begun = Some(told),
                _ => {}
            }
        }
        if let (Some(ended), Some(begun)) = (ended, begun)
            && gives_way(ended, begun)
        {
            self.add(format!("{EVICTED}, {family}"), 1);
        }
        if let Some(Why::Nat(why)) = outcome.why
            && why.code() == "nat_no_free_port"
        {
            self.add(format!("{EXHAUSTED}, {family}"), 1);
        }
    }

    /// What was met less than so often, by its name.
    pub(super) fn wanting(&self, enough: u64) -> impl Iterator<Item = String> + '_ {
        names().map(|name| (self.count(&name), name)).filter_map(move |(count, name)| {
            (count < enough).then(|| format!("packets of NAT, {name}: {count}"))
        })
    }

    fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// Everything that is to be met.
fn names() -> impl Iterator<Item = String> {
    let of_family = |family: &'static str| {
        let targets = TARGETS.into_iter().flat_map(move |target| {
            PROTOCOLS.into_iter().map(move |protocol| of_target(target, protocol, family))
        });
        let kinds = KINDS.into_iter().map(move |kind| of_kind(kind, family));
        let errors = [Direction::Original, Direction::Reply]
            .into_iter()
            .map(move |direction| of_errors(direction, family));
        let ends = [EVICTED, EXHAUSTED].into_iter().map(move |end| format!("{end}, {family}"));
        targets.chain(kinds).chain(errors).chain(ends)
    };
    FAMILIES.into_iter().flat_map(of_family)
}

fn of_target(target: &str, protocol: &str, family: &str) -> String {
    format!("{target} of {protocol}, {family}")
}

fn of_kind(kind: &str, family: &str) -> String {
    format!("{kind}, {family}")
}

fn of_errors(direction: Direction, family: &str) -> String {
    format!("an error translated, {}, {family}", direction.name())
}

/// The word behind an option.
fn value<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.windows(2).find_map(|pair| match pair {
        [name, value] if *name == option => Some(*value),
        _ => None,
    })
}

fn protocol<'a>(words: &[&'a str]) -> &'a str {
    match value(words, "-p") {
        _ if words.windows(2).any(|pair| pair == ["!", "-p"]) => "any",
        Some("ipv6-icmp") => "icmp",
        Some(protocol) => protocol,
        None => "any",
    }
}

/// Whether a rule chooses so.
fn is_of(kind: &str, words: &[&str]) -> bool {
    let to = ["--to-source", "--to-destination"].into_iter().find_map(|to| value(words, to));
    let ports = to.and_then(|to| match to.rsplit_once(':') {
        // The last colon of an IPv6 address without ports is in no bracket.
        Some((addresses, ports)) if addresses.ends_with(']') || !addresses.contains(':') => {
            Some(ports)
        }
        _ => None,
    });
    let ports = ports.or_else(|| value(words, "--to-ports"));
    match kind {
        "addresses" => {
            let end = to.map_or(0, str::len) - ports.filter(|_| to.is_some()).map_or(0, str::len);
            to.and_then(|to| to.get(..end)).is_some_and(|addresses| addresses.contains('-'))
        }
        "ports" => ports.is_some_and(|ports| ports.contains('-')),
        "base port" => ports.is_some_and(|ports| ports.contains('/')),
        flag => words.contains(&flag),
    }
}

/// Whether an ICMP error left as another one than it came: the addresses, or what it quotes.
fn is_translated(came: &[u8], left: &Left) -> bool {
    !left.by_host && adapt::is_error(came) && {
        let addresses = if came.first().is_some_and(|first| first >> 4 == 6) { 8 } else { 12 };
        came.get(addresses..) != left.bytes.get(addresses..)
    }
}

/// Whether a connection has ended because a new one, of other packets, was to have its port.
fn gives_way(ended: &Told, begun: &Told) -> bool {
    const SRC_NAT: u32 = 1 << 4;
    ended.original != begun.original && begun.status.is_some_and(|status| status & SRC_NAT != 0)
}

impl fmt::Display for Translated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "packets of NAT")?;
        names().try_for_each(|name| writeln!(f, "  {name:48} {:>10}", self.count(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_counted_by_what_it_chooses_from() {
        let kinds = |rule: &str| {
            let words: Vec<&str> = rule.split(' ').collect();
            KINDS.into_iter().filter(|kind| is_of(kind, &words)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            kinds("-j SNAT --to-source 1.2.3.4-1.2.3.5:1-9 --random"),
            "addresses ports --random"
        );
        assert_eq!(kinds("-j SNAT --to-source 1.2.3.4:1-9"), "ports");
        assert_eq!(kinds("-j SNAT --to-source :1-9"), "ports");
        assert_eq!(
            kinds("-j DNAT --to-destination [fd00::1-fd00::2]:1-9/5"),
            "addresses ports base port"
        );
        assert_eq!(
            kinds("-j DNAT --to-destination fd00::1-fd00::2 --persistent"),
            "addresses --persistent"
        );
        assert_eq!(kinds("-j DNAT --to-destination fd00::1"), "");
        assert_eq!(kinds("-j MASQUERADE --to-ports 1-9 --random-fully"), "ports --random-fully");
    }

    #[test]
    fn what_was_met_is_wanting_no_more() {
        let mut translated = Translated::default();
        let all = translated.wanting(1).count();
        let rule = "[3:120] -A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4".to_owned();
        translated.note_rules(&[vec![rule], Vec::new()]);
        assert_eq!(translated.wanting(3).count(), all - 1);
        assert!(translated.wanting(4).any(|gap| gap == "packets of NAT, DNAT of tcp, IPv4: 3"));
    }
}
