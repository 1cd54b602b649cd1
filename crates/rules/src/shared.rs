//! What rules share: state that belongs to the namespace, not to one rule.
//!
//! A rule's own memory (`memory.rs`) is lost when its ruleset is replaced. What stands here is known
//! by a name: all rules that say the name mean the same thing, whatever their table and, but for
//! hashlimit, whatever their family. It comes to be with the first rule that names it, and is gone
//! with the last one; a ruleset that replaces another keeps what both of them name.
//!
//! Time in here is the kernel's: ticks of its clock, 250 a second.

pub mod hashlimit;
pub mod recent;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;
use std::sync::Arc;

use stateward_conntrack::Instant;
use stateward_wire::Family;

use crate::known::Known;
use crate::matches::Match;
use crate::sets::Sets;
use crate::timeouts::Timeouts;
use crate::validate::ValidRuleset;

/// See the module's essay.
#[derive(Debug, Default)]
pub struct Shared {
    /// The lists of `-m recent`.
    pub recent: recent::Lists,
    /// The tables of `-m hashlimit`.
    pub hashlimit: hashlimit::Tables,
    /// ipset's sets.
    pub sets: Sets,
    /// Policies of timeouts.
    pub timeouts: Timeouts,
    /// What somebody knows of packets that they do not tell.
    pub known: Known,
    /// What matches were answered by since [`Shared::take_answers`].
    answers: Answers,
}

impl Shared {
    /// A packet comes: what is given a time from the first one on begins to run.
    pub fn begin(&mut self, now: Instant) {
        self.sets.begin(ticks(now));
    }

    /// Notes a match that was answered by what is assumed.
    pub(crate) fn assume(&mut self, extension: &'static str) {
        self.answers.assume(extension);
    }

    /// Notes a match that was answered by what is given.
    pub(crate) fn give(&mut self, extension: &'static str, words: Arc<str>) {
        self.answers.give(Given { extension, words });
    }

    /// Adds to `to` what matches were answered by, each answer once, and forgets it.
    #[inline]
    pub fn take_answers(&mut self, to: &mut Answers) {
        if self.answers.assumed.is_empty() && self.answers.given.is_empty() {
            return;
        }
        self.answers.assumed.drain(..).for_each(|name| to.assume(name));
        self.answers.given.drain(..).for_each(|given| to.give(given));
    }

    /// State for rules of one family that are put in force in the place of the former ones.
    pub fn adopt(&mut self, rules: &ValidRuleset) {
        let rules = rules.rules();
        let all = rules.tables.iter().flat_map(|table| &table.chains);
        let all = all.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches);
        let (mut lists, mut tables) = (BTreeSet::new(), BTreeSet::new());
        for one in all {
            match one {
                Match::Recent(recent) => {
                    self.recent.join(recent);
                    lists.insert(recent.name.as_str());
                }
                Match::Hashlimit(hashlimit) => {
                    self.hashlimit.join(hashlimit);
                    tables.insert(hashlimit.name.as_str());
                }
                _ => {}
            }
        }
        self.recent.keep(rules.family, &lists);
        self.hashlimit.keep(rules.family, &tables);
    }
}

/// What matches were answered by that ask what neither a packet nor a capture tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Those that were answered by what they assume where nothing is given.
    pub assumed: Vec<&'static str>,
    /// Those that were answered by what is given.
    pub given: Vec<Given>,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The match.
    pub extension: &'static str,
    /// What it was told.
    pub words: Arc<str>,
}

impl Answers {
    /// Nothing was asked.
    pub fn clear(&mut self) {
        let Self { assumed, given } = self;
        assumed.clear();
        given.clear();
    }

    fn assume(&mut self, extension: &'static str) {
        if !self.assumed.contains(&extension) {
            self.assumed.push(extension);
        }
    }

    fn give(&mut self, given: Given) {
        if !self.given.contains(&given) {
            self.given.push(given);
        }
    }
}

/// The kernel's ticks a second.
pub(crate) const HZ: u64 = 250;

/// The kernel's clock; it counts on from whatever epoch the instants have.
pub(crate) const fn ticks(now: Instant) -> u64 {
    now.0 / (1_000_000_000 / HZ)
}

/// Which families' rules use something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    v4: bool,
    v6: bool,
}

impl Users {
    /// Says whether the rules of `family` do; false if nobody does any more.
    fn set(&mut self, family: Family, used: bool) -> bool {
        match family {
            Family::V4 => self.v4 = used,
            Family::V6 => self.v6 = used,
        }
        self.v4 || self.v6
    }
}

/// An address as the kernel has it: four bytes and twelve zeros, or sixteen bytes.
pub(crate) type Address = [u8; 16];

pub(crate) fn address_bytes(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The first bits of an address.
pub(crate) fn masked(address: Address, length: u8) -> Address {
    let kept = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or_default();
    (u128::from_be_bytes(address) & kept).to_be_bytes()
}

/// An address as /proc shows it: of IPv6 nothing is left out between colons.
#[derive(Clone, Copy, Debug)]
struct InFull {
    family: Family,
    bytes: Address,
}

impl fmt::Display for InFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == Family::V4 {
            let [a, b, c, d, ..] = self.bytes;
            return Ipv4Addr::new(a, b, c, d).fmt(f);
        }
        for (number, pair) in self.bytes.chunks(2).enumerate() {
            let colon = if number == 0 { "" } else { ":" };
            let [high, low] = pair.first_chunk().copied().unwrap_or_default();
            write!(f, "{colon}{high:02x}{low:02x}")?;
        }
        Ok(())
    }
}
