//! What iptables takes and its author does not want: rules that no packet can reach, chains that
//! nothing leads to, connections that lock themselves out, and what Linux does differently than it
//! once did.
//!
//! A warning is only given where it can be proved from the rules alone, or where the surroundings
//! would have to be unusual for it to be wrong; each says what to do.

use stateward_wire::Family;

use crate::address;
use crate::diagnostic::Diagnostic;
use crate::matches::Match;
use crate::matches::conntrack::States;
use crate::matches::tcp::SYN;
use crate::matches::udp::PortRange;
use crate::protocol;
use crate::rule::{Header, Interface, RuleSpec, Target, Test, Verdict};
use crate::ruleset::{Chain, ChainEnd, Hook, Policy, Ruleset, Table, TableName};
use crate::source::{Position, Source};
use crate::targets::Extension;
use crate::validate::ValidRuleset;

/// Everything to be warned of, by line.
pub fn lint(source: &Source<'_>, rules: &ValidRuleset) -> Vec<Diagnostic> {
    let rules = rules.rules();
    let mut lint = Lint { found: Vec::new() };
    for table in &rules.tables {
        lint.unused_chains(table);
        for chain in &table.chains {
            lint.covered_rules(chain);
            chain.rules.iter().for_each(|rule| lint.empty_tests(rule));
        }
    }
    lint.helpers(rules);
    lint.invalid_before_nat(rules);
    lint.locked_out(rules);
    let mut found = lint.found;
    found.sort_by_key(|(position, ..)| position.line);
    let warning = |(position, message, hint): Found| {
        let Position { line } = position;
        source.warning(line, message, Some(hint))
    };
    found.into_iter().filter(|(position, ..)| position.line > 0).map(warning).collect()
}

/// Where, what, and what to do.
type Found = (Position, String, String);

struct Lint {
    found: Vec<Found>,
}

/// Longer chains are only looked through for what ends them: to compare each rule with each takes
/// long.
const LONGEST: usize = 5_000;

impl Lint {
    fn warn(&mut self, position: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push((position, message.into(), hint.into()));
    }

    /// Chains that no built-in chain leads to.
    fn unused_chains(&mut self, table: &Table) {
        let mut used: Vec<bool> =
            table.chains.iter().map(|chain| chain.end != ChainEnd::Return).collect();
        let mut next: Vec<usize> = (0..table.name.hooks().len()).collect();
        while let Some(at) = next.pop() {
            let rules = table.chains.get(at).map_or(&[][..], |chain| &chain.rules);
            for to in rules.iter().filter_map(|rule| table.index(leads_to(rule)?)) {
                if used.get(to) == Some(&false) {
                    used.iter_mut().skip(to).take(1).for_each(|used| *used = true);
                    next.push(to);
                }
            }
        }
        for (chain, _) in table.chains.iter().zip(used).filter(|(_, used)| !used) {
            let Chain { name, position, .. } = chain;
            let hint = format!("add a rule with `-j {name}`, or take the chain out");
            self.warn(*position, format!("nothing leads to chain `{name}`"), hint);
        }
    }

    /// Rules behind one that decides for all packets that they would meet.
    fn covered_rules(&mut self, chain: &Chain) {
        let mut deciding: Vec<(usize, &RuleSpec)> = Vec::new();
        for (number, rule) in (1..).zip(&chain.rules) {
            if let Some((first, by)) = deciding.iter().find(|(_, by)| covers(by, rule)) {
                let line = by.position.line;
                let (message, hint) = match is_unconditional(by) {
                    true => (
                        "no packet comes to this rule".to_owned(),
                        format!(
                            "rule {first} of the chain, in line {line}, decides for all of them"
                        ),
                    ),
                    false => (
                        "all packets of this rule are decided before it".to_owned(),
                        format!("by rule {first} of the chain, in line {line}"),
                    ),
                };
                self.warn(rule.position, message, hint);
                continue;
            }
            if decides(rule) && (chain.rules.len() <= LONGEST || is_unconditional(rule)) {
                deciding.push((number, rule));
            }
        }
    }

    /// Tests that no packet passes, or that test nothing.
    fn empty_tests(&mut self, rule: &RuleSpec) {
        let header = &rule.header;
        let extension_headers = [43, 44, 51, 60, 0];
        let number = header.protocol.value;
        if header.family == Family::V6 && number != 0 && extension_headers.contains(&number) {
            let name = protocol::name(number).unwrap_or_default();
            if number != 51 {
                let hint = "`-p` is the header behind all extension headers: use -m frag, -m rt …";
                self.warn(rule.position, format!("`-p {name}` never matches in IPv6"), hint);
            }
        }
        for interface in [&header.input, &header.output].into_iter().flatten() {
            let name = interface.value.to_string();
            let (message, hint) = match name.split_once([':', '*']) {
                Some((device, _)) if name.contains(':') => {
                    (format!("`{name}` is no interface"), format!("packets come by `{device}`"))
                }
                Some((start, "")) => {
                    (format!("`{name}` is one name"), format!("the wildcard is `+`: {start}+"))
                }
                _ => continue,
            };
            self.warn(rule.position, message, hint);
        }
        for network in [header.source, header.destination] {
            if network.inverted && network.value.is_any() {
                let hint = "every address is in it, and so none is outside";
                self.warn(rule.position, format!("`! {}` matches nothing", network.value), hint);
            }
        }
        for one in &rule.matches {
            let Match::Iprange(range) = one else { continue };
            for test in [range.source, range.destination].into_iter().flatten() {
                let (first, last) = (test.value.first, test.value.last);
                if address::bits(first) > address::bits(last) && !test.inverted {
                    let message = format!("no address is in {first}-{last}");
                    self.warn(rule.position, message, format!("{last}-{first}?"));
                }
            }
        }
    }

    /// Since Linux 6.0 no helper serves a connection that no rule gives it to.
    fn helpers(&mut self, rules: &Ruleset) {
        let all = || rules.tables.iter().flat_map(|table| &table.chains);
        let all_rules = || all().flat_map(|chain| &chain.rules);
        let waits = |rule: &RuleSpec| {
            states_of(rule).is_some_and(|states| {
                states.value.0 & States::RELATED != 0 && !states.inverted && passes(rule)
            })
        };
        if !all_rules().any(waits) {
            return;
        }
        for rule in all_rules().filter(|rule| passes(rule)) {
            let Some((protocol, port)) = single_port(rule) else { continue };
            let known = HELPED.iter().find(|(_, of, at)| *of == protocol && *at == port);
            let Some((helper, ..)) = known else { continue };
            let gives = |rule: &RuleSpec| match &rule.target {
                Target::Extension(Extension::Ct(ct)) => ct.helper == *helper,
                _ => false,
            };
            if !all_rules().any(gives) {
                let name = protocol::name(protocol).unwrap_or_default();
                let hint = format!(
                    "since Linux 6.0: -t raw -A PREROUTING -p {name} --dport {port} -j CT --helper {helper}, \
                     or the sysctl net.netfilter.nf_conntrack_helper=1, which replay has still"
                );
                let message =
                    format!("{helper} opens connections that are not RELATED without a helper");
                self.warn(rule.position, message, hint);
            }
        }
    }

    /// What the tracker cannot place is not translated: it leaves with its inner address.
    fn invalid_before_nat(&mut self, rules: &Ruleset) {
        let nat = rules.table(TableName::Nat);
        let nat = nat.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
        let translates = |rule: &&RuleSpec| {
            let Target::Extension(extension) = &rule.target else { return false };
            matches!(extension, Extension::Snat(_) | Extension::Masquerade(_))
        };
        let mut nat = nat.filter(translates);
        let (Some(first), Some(filter)) = (nat.next(), rules.table(TableName::Filter)) else {
            return;
        };
        let drops = |rule: &RuleSpec| {
            !passes(rule)
                && states_of(rule).is_some_and(|states| {
                    (states.value.0 & States::INVALID != 0) != states.inverted
                })
        };
        let chains = [TableName::Filter, TableName::Mangle, TableName::Raw];
        let tables = chains.iter().filter_map(|name| rules.table(*name));
        let dropped =
            tables.flat_map(|table| &table.chains).any(|chain| chain.rules.iter().any(drops));
        let forward = filter.chain(Hook::Forward.name());
        let takes = |chain: &Chain| reached(filter, chain).into_iter().any(takes_all);
        let closed = forward.is_some_and(|chain| ends_closed(chain) && !takes(chain));
        if !dropped && !closed {
            let hint = "-A FORWARD -m conntrack --ctstate INVALID -j DROP, before what accepts";
            let message = "INVALID packets are not dropped: they leave untranslated";
            self.warn(first.position, message, hint);
        }
    }

    /// A chain that drops by default, and no rule for what belongs to connections.
    fn locked_out(&mut self, rules: &Ruleset) {
        let Some(filter) = rules.table(TableName::Filter) else { return };
        let accepts = |chain: &Chain| {
            reached(filter, chain).into_iter().flat_map(|chain| &chain.rules).any(|rule| {
                let established = states_of(rule).is_some_and(|states| {
                    (states.value.0 & States::ESTABLISHED != 0) != states.inverted
                });
                passes(rule) && (established || is_unconditional(rule) || is_old_stateful(rule))
            })
        };
        for (hook, whose) in [
            (Hook::Input, "answers to this host's own connections"),
            (Hook::Output, "answers of this host to others"),
            (Hook::Forward, "answers to forwarded connections"),
        ] {
            let Some(chain) = filter.chain(hook.name()) else { continue };
            let opens = reached(filter, chain).iter().any(|chain| chain.rules.iter().any(passes));
            if ends_closed(chain) && opens && !accepts(chain) {
                let first = chain.rules.first().map_or(chain.position, |rule| rule.position);
                let hint =
                    format!("-I {hook} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
                self.warn(first, format!("{hook} drops {whose}"), hint);
            }
        }
    }
}

/// Protocols whose helper opens further connections: the helper, its transport, its port.
const HELPED: &[(&str, u8, u16)] = &[
    ("ftp", protocol::TCP, 21),
    ("tftp", protocol::UDP, 69),
    ("sip", protocol::UDP, 5060),
    ("sip", protocol::TCP, 5060),
    ("irc", protocol::TCP, 6667),
    ("pptp", protocol::TCP, 1723),
];

/// The chains that packets of `chain` may come to, itself first.
fn reached<'a>(table: &'a Table, chain: &'a Chain) -> Vec<&'a Chain> {
    let mut found = vec![chain];
    let mut at = 0;
    while let Some(chain) = found.get(at).copied() {
        for rule in &chain.rules {
            let to = leads_to(rule).and_then(|name| table.chain(name));
            if let Some(to) = to.filter(|to| !found.iter().any(|known| known.name == to.name)) {
                found.push(to);
            }
        }
        at += 1;
    }
    found
}

fn leads_to(rule: &RuleSpec) -> Option<&str> {
    match &rule.target {
        Target::Jump(chain) | Target::Goto(chain) => Some(chain),
        _ => None,
    }
}

/// The rule lets packets pass the table.
fn passes(rule: &RuleSpec) -> bool {
    matches!(rule.target, Target::Verdict(Verdict::Accept))
}

/// Packets that the rule meets do not come to the next one.
fn decides(rule: &RuleSpec) -> bool {
    let target = &rule.target;
    matches!(target, Target::Verdict(_) | Target::Goto(_) | Target::Extension(Extension::Reject(_)))
}

fn is_unconditional(rule: &RuleSpec) -> bool {
    let comment = |one: &Match| matches!(one, Match::Comment(_));
    rule.header == Header::any(rule.header.family) && rule.matches.iter().all(comment)
}

/// A chain that drops what no rule of it has taken.
fn ends_closed(chain: &Chain) -> bool {
    let refuses = |rule: &RuleSpec| match &rule.target {
        Target::Verdict(Verdict::Drop) | Target::Extension(Extension::Reject(_)) => {
            is_unconditional(rule)
        }
        _ => false,
    };
    matches!(chain.end, ChainEnd::Policy(_, Policy::Drop, _)) || chain.rules.iter().any(refuses)
}

/// `! --syn`: how TCP's answers were let in before there was connection tracking.
fn is_old_stateful(rule: &RuleSpec) -> bool {
    rule.matches.iter().any(|one| match one {
        Match::Tcp(tcp) => tcp.flags.inverted && tcp.flags.value == SYN,
        _ => false,
    })
}

fn takes_all(chain: &Chain) -> bool {
    chain.rules.iter().any(|rule| passes(rule) && states_of(rule).is_none())
}

fn states_of(rule: &RuleSpec) -> Option<Test<States>> {
    rule.matches.iter().find_map(|one| match one {
        Match::State(state) => Some(state.states),
        Match::Conntrack(conntrack) => conntrack.states,
        _ => None,
    })
}

/// The one destination port that a rule is for.
fn single_port(rule: &RuleSpec) -> Option<(u8, u16)> {
    rule.matches.iter().find_map(|one| {
        let (protocol, ports) = match one {
            Match::Tcp(tcp) => (protocol::TCP, tcp.destination),
            Match::Udp(udp) => (protocol::UDP, udp.destination),
            _ => return None,
        };
        let PortRange { first, last } = ports.value;
        (first == last && !ports.inverted).then_some((protocol, first))
    })
}

/// Whether every packet that `rule` meets is met by `by`, which stands before it.
fn covers(by: &RuleSpec, rule: &RuleSpec) -> bool {
    let (one, other) = (&by.header, &rule.header);
    let plain = |one: &Match| !matches!(one, Match::Comment(_));
    network_covers(one.source, other.source)
        && network_covers(one.destination, other.destination)
        && interface_covers(one.input.as_ref(), other.input.as_ref())
        && interface_covers(one.output.as_ref(), other.output.as_ref())
        && (one.protocol == Test::plain(0) || one.protocol == other.protocol)
        && (one.fragment.is_none() || one.fragment == other.fragment)
        && by.matches.iter().filter(|one| plain(one)).all(|one| {
            is_stateless(one) && rule.matches.iter().any(|other| match_covers(one, other))
        })
}

fn network_covers(one: Test<address::Network>, other: Test<address::Network>) -> bool {
    let is_any = one.value.is_any() && !one.inverted;
    let wider = || {
        let mask = address::bits(one.value.mask);
        mask & address::bits(other.value.mask) == mask && one.value.contains(other.value.address)
    };
    is_any || one == other || (!one.inverted && !other.inverted && wider())
}

fn interface_covers(one: Option<&Test<Interface>>, other: Option<&Test<Interface>>) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(one), Some(other)) => one == other,
        (Some(_), None) => false,
    }
}

/// Matches that say the same of a packet whenever they are asked.
fn is_stateless(one: &Match) -> bool {
    KNOWN.contains(&one.name())
}

/// Those of which that is certain; not those of fields that a rule between may change.
const KNOWN: &[&str] = &[
    "addrtype",
    "comment",
    "conntrack",
    "icmp",
    "icmp6",
    "iprange",
    "length",
    "mac",
    "multiport",
    "owner",
    "pkttype",
    "state",
    "string",
    "tcp",
    "udp",
];

fn match_covers(one: &Match, other: &Match) -> bool {
    let ports = |one: Test<PortRange>, other: Test<PortRange>| {
        let (a, b) = (one.value, other.value);
        one == other
            || (!one.inverted && !other.inverted && a.first <= b.first && b.last <= a.last)
            || (!one.inverted && a == PortRange::ANY)
    };
    match (one, other) {
        (Match::Udp(one), Match::Udp(other)) => {
            ports(one.source, other.source) && ports(one.destination, other.destination)
        }
        (Match::Tcp(one), Match::Tcp(other)) => {
            let flags =
                one.flags == other.flags || (one.flags.value.mask == 0 && !one.flags.inverted);
            let option = one.option == other.option || one.option == Test::plain(0);
            ports(one.source, other.source)
                && ports(one.destination, other.destination)
                && flags
                && option
        }
        (Match::State(one), Match::State(other)) => states_cover(one.states, other.states),
        _ => one == other,
    }
}

fn states_cover(one: Test<States>, other: Test<States>) -> bool {
    let subset = other.value.0 & !one.value.0 == 0;
    one == other || (!one.inverted && !other.inverted && subset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::{RestoreOptions, restore};

    fn warnings(text: &str) -> Vec<String> {
        let source = Source::new("rules", text);
        let rules = restore(&source, Family::V4, RestoreOptions::default()).unwrap();
        let found = lint(&source, &rules);
        found.iter().map(|one| format!("{}: {}", one.line, one.message)).collect()
    }

    #[test]
    fn rules_behind_what_decides_are_told() {
        let text = "*filter\n-A INPUT -s 10.0.0.0/8 -p tcp -j ACCEPT\n\
            -A INPUT -s 10.1.0.0/16 -p tcp --dport 22 -j DROP\n-A INPUT -s 10.1.0.0/16 -j DROP\n\
            -A INPUT -p udp --dport 1:100 -j DROP\n-A INPUT -p udp --dport 53 -j ACCEPT\n\
            -A INPUT -m limit -j DROP\n-A INPUT -m limit -j DROP\n\
            -A INPUT -j ACCEPT\n-A INPUT -j LOG\nCOMMIT\n";
        let decided = "all packets of this rule are decided before it";
        assert_eq!(
            warnings(text),
            [
                format!("3: {decided}"),
                format!("6: {decided}"),
                "10: no packet comes to this rule".to_owned()
            ]
        );
    }

    #[test]
    fn chains_without_a_way_to_them_are_told() {
        let text =
            "*filter\n:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n-A INPUT -j a\n-A b -j c\nCOMMIT\n";
        assert_eq!(
            warnings(text),
            ["3: nothing leads to chain `b`", "4: nothing leads to chain `c`"]
        );
    }

    #[test]
    fn answers_need_a_rule() {
        let text = "*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n";
        assert_eq!(warnings(text), ["3: INPUT drops answers to this host's own connections"]);
        let states = "*filter\n:INPUT DROP\n:a -\n-A INPUT -j a\n\
            -A a -m state --state ESTABLISHED -j ACCEPT\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n";
        assert_eq!(warnings(states), [""; 0]);
    }

    #[test]
    fn helpers_and_invalid_packets() {
        let text = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n*filter\n\
            -A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT\n\
            -A FORWARD -p tcp --dport 21 -j ACCEPT\nCOMMIT\n";
        assert_eq!(
            warnings(text),
            [
                "2: INVALID packets are not dropped: they leave untranslated",
                "6: ftp opens connections that are not RELATED without a helper"
            ]
        );
    }

    #[test]
    fn tests_that_nothing_passes() {
        let text = "*filter\n-A INPUT ! -s 0.0.0.0/0 -j DROP\n\
            -A INPUT -m iprange --src-range 1.1.1.2-1.1.1.1 -j DROP\nCOMMIT\n";
        assert_eq!(
            warnings(text),
            ["2: `! 0.0.0.0/0` matches nothing", "3: no address is in 1.1.1.2-1.1.1.1"]
        );
    }
}
