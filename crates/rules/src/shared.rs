//! What rules share: state that belongs to the namespace, not to one rule.
//!
//! A rule's own memory (`memory.rs`) is lost when its ruleset is replaced. What stands here is known
//! by a name: all rules that say the name mean the same thing, whatever their table and, but for
//! hashlimit, whatever their family. It comes to be with the first rule that names it, and is gone
//! with the last one; a ruleset that replaces another keeps what both of them name.
//!
//! Time in here is the kernel's: ticks of its clock, 250 a second.

pub mod recent;

use std::collections::BTreeSet;

use stateward_conntrack::Instant;
use stateward_wire::Family;

use crate::matches::Match;
use crate::validate::ValidRuleset;

/// See the module's essay.
#[derive(Debug, Default)]
pub struct Shared {
    /// The lists of `-m recent`.
    pub recent: recent::Lists,
}

impl Shared {
    /// State for rules of one family that are put in force in the place of the former ones.
    pub fn adopt(&mut self, rules: &ValidRuleset) {
        let rules = rules.rules();
        let all = rules.tables.iter().flat_map(|table| &table.chains);
        let all = all.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches);
        let mut lists = BTreeSet::new();
        for one in all {
            if let Match::Recent(recent) = one {
                self.recent.join(recent);
                lists.insert(recent.name.as_str());
            }
        }
        self.recent.keep(rules.family, &lists);
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
