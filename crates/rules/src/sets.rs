//! Sets as ipset makes them, asked by `-m set` and changed by `-j SET`.
//!
//! They belong to the namespace: rules of all tables and both families name them, and a ruleset that
//! replaces another leaves them as they are. They are read from the text that `ipset save` writes
//! ([`Sets::parse`], in `read.rs`), and printed as that again (`print.rs`), but that elements come in
//! the order in which they were added: the kernel's order is that of a secret hash.
//!
//! Six types are known: `hash:ip`, `hash:net`, `hash:ip,port`, `hash:net,port`, `bitmap:port` and
//! `list:set`, with `timeout`, `counters`, `comment` and `skbinfo`. A timeout that is read runs from
//! the first packet on.
//!
//! Memory: at most `maxelem` elements a set, as many as ports in a `bitmap:port`; the text's author
//! says how many sets.
//!
//! Kernel counterpart: `net/netfilter/ipset/`, `xt_set.c`.

mod element;
mod icmp;
mod print;
mod read;
mod set;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use stateward_wire::Family;

use crate::context::View;
use crate::diagnostic::Diagnostic;
use crate::matches::Match;
use crate::matches::set::{Count, End, Named};
use crate::rule::Target;
use crate::shared::ticks;
use crate::source::Source;
use crate::targets::Extension;
use crate::targets::set::Set as Change;
use crate::validate::ValidRuleset;
use element::{Fresh, SkbInfo};
pub use print::Saved;
use set::{Found, Members, Set, looked_at};

/// All sets of a namespace. See the module's essay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sets {
    /// In the order in which they were made.
    order: Vec<String>,
    sets: BTreeMap<String, Set>,
    /// Timeouts run.
    begun: bool,
}

/// What a rule asks of a set beside whether something is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) ends: &'a [End],
    /// What a set excepts matches, and nothing else.
    pub(crate) exceptions: bool,
    pub(crate) counting: Counting,
    pub(crate) packets: Option<Count>,
    pub(crate) bytes: Option<Count>,
}

/// Whose counters count a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Nobody's.
    Nothing,
    /// The set's, but not those of a list's sets.
    Own,
    /// All.
    Everything,
}

impl Sets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The sets at the tick of `now`, to be printed.
    pub fn saved(&self, now: stateward_conntrack::Instant) -> Saved<'_> {
        Saved { sets: self, now: ticks(now) }
    }

    /// What iptables refuses of the rules in `source` that name sets: those that are not there, and
    /// those of the other family.
    pub fn refused(&self, source: &Source<'_>, rules: &ValidRuleset) -> Vec<Diagnostic> {
        let rules = rules.rules();
        let all = rules.tables.iter().flat_map(|table| &table.chains);
        let mut found = Vec::new();
        for rule in all.flat_map(|chain| &chain.rules) {
            for name in named(&rule.matches, &rule.target) {
                if let Some((message, hint)) = self.fault(name, rules.family) {
                    found.push(source.refused(rule.position.line, message, Some(hint)));
                }
            }
        }
        found
    }

    fn fault(&self, name: &str, family: Family) -> Option<(String, String)> {
        let shown = |family| if family == Family::V4 { "IPv4" } else { "IPv6" };
        match self.sets.get(name) {
            None => {
                let hint = match self.order.is_empty() {
                    true => {
                        "give the text of `ipset save`: `--sets FILE`, `sets = \"FILE\"`".into()
                    }
                    false => format!("there is {}", self.order.join(", ")),
                };
                Some((format!("set {name} doesn't exist"), hint))
            }
            Some(set) => {
                let of_set = set.family.filter(|of_set| *of_set != family)?;
                let message = format!("set {name} is of {}", shown(of_set));
                Some((message, format!("the rule is of {}", shown(family))))
            }
        }
    }

    /// The clock begins to run.
    pub(crate) fn begin(&mut self, now: u64) {
        if !std::mem::replace(&mut self.begun, true) {
            self.sets.values_mut().for_each(|set| set.begin(now));
        }
    }

    /// Whether a packet is in a set; if so, what the set holds for it.
    pub(crate) fn ask(
        &mut self,
        name: &str,
        asked: &Asked<'_>,
        view: &View<'_>,
    ) -> Option<SkbInfo> {
        let set =
            self.sets.get_mut(name).filter(|set| set.takes(asked.ends, view.packet.family()))?;
        let (has_counters, has_info) = (set.has_counters, set.has_info);
        // Sets in lists are no lists: this goes no deeper.
        let Some(members) = set.members_mut() else { return set.ask(asked, view) };
        let mut members = std::mem::take(members);
        let of_members = Asked {
            counting: Counting::of_members(asked.counting),
            packets: None,
            bytes: None,
            ..*asked
        };
        let found = members.iter_mut().find_map(|(member, element)| {
            let within = self.sets.get_mut(member.as_str());
            let within = within.filter(|set| set.takes(asked.ends, view.packet.family()));
            let info = within?.ask(&of_members, view)?;
            match looked_at(Some(element), has_counters, asked, view) {
                Found::Yes(own) => Some(if has_info { own } else { info }),
                Found::Except | Found::No => None,
            }
        });
        self.give_back(name, members);
        found
    }

    /// A list's members after they were taken out to ask the sets that they name.
    fn give_back(&mut self, name: &str, members: Members) {
        if let Some(place) = self.sets.get_mut(name).and_then(Set::members_mut) {
            *place = members;
        }
    }

    /// Does what a SET target says; the mark that the packet gets, if it gets one.
    pub(crate) fn change(&mut self, change: &Change, view: &View<'_>) -> Option<u32> {
        if let Some(set) = &change.add {
            let length = view.packet.length() as u64;
            let fresh = Fresh { timeout: change.timeout, renew: change.renew, length };
            self.each(set, view, |one, key| one.add_from_packet(key, &fresh, view));
        }
        if let Some(set) = &change.delete {
            self.each(set, view, |one, key| one.remove(&key, ticks(view.context.now())));
        }
        let map = change.map.as_ref()?;
        let asked = Asked {
            ends: &map.ends,
            exceptions: false,
            counting: Counting::Everything,
            packets: None,
            bytes: None,
        };
        let info = self.ask(&map.name, &asked, view)?;
        change.mark.then(|| (view.context.mark() & !info.mark_mask) ^ info.mark)
    }

    /// Changes a set, or the first set of a list that can be changed so.
    fn each(
        &mut self,
        named: &Named,
        view: &View<'_>,
        mut change: impl FnMut(&mut Set, element::Key) -> bool,
    ) {
        let mut on = |set: Option<&mut Set>| -> bool {
            let set = set.filter(|set| set.takes(&named.ends, view.packet.family()));
            let key = set.as_ref().and_then(|set| set.key_to_change(&named.ends, view));
            set.zip(key).is_some_and(|(set, key)| change(set, key))
        };
        let Some(members) = self.sets.get_mut(&named.name).and_then(Set::members_mut) else {
            on(self.sets.get_mut(&named.name));
            return;
        };
        let members = std::mem::take(members);
        let _ = members.iter().any(|(name, _)| on(self.sets.get_mut(name)));
        self.give_back(&named.name, members);
    }
}

impl Counting {
    /// What a rule's two options say.
    pub(crate) fn of_rule(keeps_counters: bool, keeps_subcounters: bool) -> Self {
        match (keeps_counters, keeps_subcounters) {
            (false, false) => Self::Everything,
            (false, true) => Self::Own,
            (true, _) => Self::Nothing,
        }
    }

    /// Whether the elements of what is asked count.
    pub(crate) fn counts(self) -> bool {
        self != Self::Nothing
    }

    /// What does not count in a list does not in its sets.
    fn of_members(self) -> Self {
        if self == Self::Everything { Self::Everything } else { Self::Nothing }
    }
}

/// The sets that a rule names.
fn named<'a>(matches: &'a [Match], target: &'a Target) -> Vec<&'a str> {
    let asked = matches.iter().filter_map(|one| match one {
        Match::Set(set) => Some(&set.set),
        _ => None,
    });
    let changed = match target {
        Target::Extension(Extension::Set(set)) => [&set.add, &set.delete, &set.map],
        _ => [&None; 3],
    };
    let all = asked.chain(changed.into_iter().flatten());
    all.map(|named| named.name.as_str()).collect()
}
