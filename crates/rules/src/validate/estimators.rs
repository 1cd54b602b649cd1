//! What measures rates (`-j RATEEST`) and what asks for them (`-m rateest`).
//!
//! An estimator is made by the first rule that names it, and belongs to the machine, not to a table:
//! rules that ask for it stand behind that rule, or in a table that comes later.

use std::collections::BTreeMap;

use crate::matches::Match;
use crate::option::Refusal;
use crate::rule::{RuleSpec, Target};
use crate::ruleset::Table;
use crate::targets::Extension;

/// The estimators that there are, with what rules of the same name must agree about.
#[derive(Debug, Default)]
pub(super) struct Estimators<'a>(BTreeMap<&'a str, [u8; 2]>);

impl<'a> Estimators<'a> {
    /// Those of tables that the kernel has.
    pub(super) fn of(tables: &'a [Table]) -> Self {
        let rules = tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
        let mut estimators = Self::default();
        for (name, measures) in rules.filter_map(made) {
            estimators.0.entry(name).or_insert(measures);
        }
        estimators
    }

    /// Whether a rule may come next, and what it makes.
    pub(super) fn stands(&mut self, rule: &'a RuleSpec) -> Result<(), Refusal> {
        let asking = rule.matches.iter().filter_map(|one| match one {
            Match::Rateest(asked) => Some(asked),
            _ => None,
        });
        let missing = asking.flat_map(|asked| asked.estimators());
        if let Some(name) = missing.into_iter().find(|name| !self.0.contains_key(name)) {
            let refusal = Refusal::table(format!("rateest: nothing measures `{name}`"));
            return Err(refusal.hint("a rule with `-j RATEEST` of that name must stand before it"));
        }
        let Some((name, measures)) = made(rule) else { return Ok(()) };
        match *self.0.entry(name).or_insert(measures) == measures {
            true => Ok(()),
            false => {
                let refusal = Refusal::table(format!("RATEEST: `{name}` is measured otherwise"));
                Err(refusal.hint("all rules of a name give the same interval and average"))
            }
        }
    }
}

/// The estimator that a rule makes.
fn made(rule: &RuleSpec) -> Option<(&str, [u8; 2])> {
    match &rule.target {
        Target::Extension(Extension::Rateest(target)) => {
            Some((target.name.as_str(), target.measures()))
        }
        _ => None,
    }
}
