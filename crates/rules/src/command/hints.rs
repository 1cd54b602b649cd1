//! What was probably meant by a word that cannot be read.

use super::{Loaded, State, Style};
use crate::getopt::Step;
use crate::option::Refusal;
use crate::rule::Header;

/// What `--state` and `--ctstate` take.
const STATES: &[&str] = &["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"];

impl State<'_> {
    pub(super) fn stray(&self, word: &str) -> Refusal {
        let refusal = Refusal::new(format!("`{word}` belongs to no option"));
        let before = self.begin.checked_sub(1);
        match before {
            Some(_)
                if self.source.is_some_and(|(_, text)| text == "!")
                    || self.destination.is_some_and(|(_, text)| text == "!")
                    || self.reader_before_is_negation() =>
            {
                refusal.hint("write the `!` before the option")
            }
            _ if word.starts_with('*') => refusal.hint("a table ends with a line COMMIT"),
            _ if word.trim_end() == "COMMIT" => {
                refusal.hint("a line that is COMMIT and nothing else, with an end of line")
            }
            _ if word.starts_with(['–', '—']) => {
                refusal.hint("this is a dash: write `-` or `--`")
            }
            _ if ["iptables", "ip6tables"].contains(&word) && self.style == Style::Restore => {
                refusal.hint("a file of rules has the commands alone, without the program")
            }
            _ if STATES.contains(&word) => {
                refusal.hint("commas between states, without blanks: RELATED,ESTABLISHED")
            }
            _ if self.follows("dport") || self.follows("sport") => {
                refusal.hint("two dashes: `--dport`, `--sport`")
            }
            _ if self.loaded.last().is_some_and(Loaded::is_comment) => {
                refusal.hint("a comment of several words stands in quotes")
            }
            _ => refusal,
        }
    }

    /// Whether `-d` or `-s` was read where a long option was meant.
    fn follows(&self, word: &str) -> bool {
        let sides = [self.source, self.destination];
        sides.into_iter().flatten().any(|(_, text)| text.strip_prefix('-') == Some(word))
    }

    fn reader_before_is_negation(&self) -> bool {
        let interfaces = [&self.header.input, &self.header.output];
        interfaces.into_iter().flatten().any(|test| test.value.covers("!"))
    }

    pub(super) fn unknown(&self, step: Step<'_>) -> Refusal {
        let word = self.reader.last();
        if matches!(step, Step::NoArgument) {
            return Refusal::new(format!("`{word}` needs a word behind it"));
        }
        let refusal = Refusal::new(format!("unknown option `{word}`"));
        let name = word.trim_start_matches('-');
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        let conntrack = self.loaded.iter().any(Loaded::is_conntrack);
        match hint_for(name, &self.header) {
            Some(_) if name == "state" && conntrack => refusal.hint("`--ctstate`?"),
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }
}

/// What was meant by an option that nothing here knows.
fn hint_for(name: &str, header: &Header) -> Option<String> {
    let ports = ["dport", "sport", "destination-port", "source-port"];
    if ports.contains(&name) {
        return Some(match header.protocol.value {
            0 => "add `-p tcp` or `-p udp` before it".to_owned(),
            _ => "ports are for `-p tcp`, `-p udp` and the like".to_owned(),
        });
    }
    let known: &[(&[&str], &str)] = &[
        (&["dports", "sports", "ports"], "add `-m multiport` before it"),
        (&["icmp-type"], "add `-p icmp` before it"),
        (&["icmpv6-type"], "add `-p icmpv6` before it"),
        (&["syn", "tcp-flags", "tcp-option"], "add `-p tcp` before it"),
        (&["state"], "add `-m state` before it"),
        (&["ctstate", "ctstatus", "ctdir"], "add `-m conntrack` before it"),
        (&["limit", "limit-burst"], "add `-m limit` before it"),
        (&["comment"], "add `-m comment` before it"),
        (&["reject-with"], "add `-j REJECT` before it"),
        (&["log-prefix", "log-level"], "add `-j LOG` before it"),
        (&["to-destination"], "add `-j DNAT` before it"),
        (&["to-source"], "add `-j SNAT` before it"),
        (&["to-ports", "to-port"], "add `-j REDIRECT` or `-j MASQUERADE` before it"),
        (&["set-mark", "set-xmark"], "add `-j MARK` before it"),
        (&["src-range", "dst-range"], "add `-m iprange` before it"),
        (&["src-type", "dst-type"], "add `-m addrtype` before it"),
        (&["mac-source"], "add `-m mac` before it"),
        (&["uid-owner", "gid-owner"], "add `-m owner` before it"),
        (&["match-set"], "add `-m set` before it"),
        (&["clamp-mss-to-pmtu", "set-mss"], "add `-j TCPMSS` before it"),
    ];
    let found = known.iter().find(|(names, _)| names.contains(&name));
    found.map(|(_, hint)| (*hint).to_owned())
}

/// The one of `names` that two slips of the pen make of `text`.
pub(crate) fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    const SLIPS: usize = 2;
    // A file may hold as many chains, and as many errors, as it likes.
    const LOOKED_AT: usize = 1_000;
    // What is much longer than any name is not looked at.
    if text.len() < 3 || text.len() > 32 {
        return None;
    }
    let distances = names.iter().take(LOOKED_AT).map(|name| (distance(text, name), *name));
    let nearest = distances.filter(|(distance, _)| *distance <= SLIPS).min();
    nearest.map(|(_, name)| name)
}

/// How many characters must be put in, left out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, from) in one.chars().enumerate() {
        let mut left = number + 1;
        let mut above_left = number;
        for (place, to) in row.iter_mut().skip(1).zip(&other) {
            let change = above_left + usize::from(from != *to);
            above_left = *place;
            left = change.min(left + 1).min(*place + 1);
            *place = left;
        }
        row.iter_mut().take(1).for_each(|first| *first = number + 1);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_found() {
        let names = ["multiport", "mark", "mac", "limit"];
        assert_eq!(nearest("multiports", &names), Some("multiport"));
        assert_eq!(nearest("limti", &names), Some("limit"));
        assert_eq!(nearest("marc", &names), Some("mac"));
        assert_eq!(nearest("conntrack", &names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
