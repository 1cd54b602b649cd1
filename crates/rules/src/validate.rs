//! What only the kernel refuses, when a table is committed: extensions outside of their tables and
//! hooks, matches without their protocol, chains that lead back to themselves, values that only it
//! knows to be wrong. The kernel says no more than that it refuses; here the rule is named.
//!
//! A rule stands under all hooks from which chains lead to it. A chain that nothing leads to is
//! under none, and so free of what hooks demand and of loops.

mod estimators;

use crate::extension::{Demands, Place};
use crate::option::Refusal;
use crate::rule::{Header, RuleSpec, Target};
use crate::ruleset::{Chain, ChainEnd, Hook, Ruleset, Table};
use crate::source::Position;
use estimators::Estimators;

/// A ruleset that the kernel takes. Only these can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRuleset(Ruleset);

impl ValidRuleset {
    /// The rules.
    pub fn rules(&self) -> &Ruleset {
        &self.0
    }
}

/// Why the kernel refuses a ruleset: the rule's place, what is wrong, and perhaps what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where the rule was written.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Ruleset {
    /// The ruleset if the kernel takes it, else everything that it would refuse.
    ///
    /// # Errors
    /// One for each rule that cannot stand where it stands.
    pub fn validate(self) -> Result<ValidRuleset, Vec<Invalid>> {
        let found = self.tables.iter().flat_map(|table| check(table, &self.tables));
        let found: Vec<_> = found.collect();
        if found.is_empty() { Ok(ValidRuleset(self)) } else { Err(found) }
    }
}

/// Everything that the kernel would refuse of one table, which comes to the tables `before`.
pub(crate) fn check(table: &Table, before: &[Table]) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut estimators = Estimators::of(before);
    let hooks = match reached(table) {
        Ok(hooks) => hooks,
        Err(looping) => {
            found.push(looping);
            return found;
        }
    };
    for (chain, hooks) in table.chains.iter().zip(&hooks) {
        for rule in &chain.rules {
            let (header, matches) = (&rule.header, rule.matches.as_slice());
            let place = Place { table: table.name, hooks, header, matches };
            let stands = rule_stands(rule, &place).and_then(|()| estimators.stands(rule));
            if let Err(refusal) = stands {
                let Refusal { message, hint, .. } = refusal;
                found.push(Invalid { position: rule.position, message, hint });
            }
        }
    }
    found
}

fn rule_stands(rule: &RuleSpec, place: &Place<'_>) -> Result<(), Refusal> {
    for one in &rule.matches {
        demanded("-m", one.name(), one.demands(), place)?;
        one.accepted(place)?;
    }
    if let Target::Extension(one) = &rule.target {
        demanded("-j", one.name(), one.demands(), place)?;
        one.accepted(place)?;
    }
    Ok(())
}

fn demanded(option: &str, name: &str, demands: Demands, place: &Place<'_>) -> Result<(), Refusal> {
    let Demands { tables, hooks, protocols } = demands;
    if !tables.is_empty() && !tables.contains(&place.table) {
        let names: Vec<_> = tables.iter().map(|table| table.name()).collect();
        let refusal = Refusal::table(format!("`{option} {name}` in table {}", place.table));
        return Err(refusal.hint(format!("it belongs into {}", names.join(" or "))));
    }
    let strange = place.hooks.iter().find(|hook| !hooks.is_empty() && !hooks.contains(hook));
    if let Some(hook) = strange {
        let names: Vec<_> = hooks.iter().map(|hook| hook.name()).collect();
        let refusal = Refusal::table(format!("`{option} {name}` where {hook} leads"));
        return Err(refusal.hint(format!("it works from {} only", names.join(", "))));
    }
    if !protocols.is_empty() && !is_of(place.header, protocols) {
        let names = protocols.iter().map(|number| crate::protocol::name(*number));
        let names: Vec<_> = names.flatten().map(|name| format!("`-p {name}`")).collect();
        let refusal = Refusal::table(format!("`{option} {name}` without its protocol"));
        return Err(refusal.hint(format!("add {}", names.join(" or "))));
    }
    Ok(())
}

/// Whether the rule sees packets of one of `protocols` only.
fn is_of(header: &Header, protocols: &[u8]) -> bool {
    !header.protocol.inverted && protocols.contains(&header.protocol.value)
}

/// For each chain the hooks that lead to it, or the rule that closes a circle.
fn reached(table: &Table) -> Result<Vec<Vec<Hook>>, Invalid> {
    let next: Vec<Vec<(usize, Position)>> =
        table.chains.iter().map(|chain| led_to(table, chain)).collect();
    let mut hooks = vec![Vec::new(); table.chains.len()];
    for (start, chain) in table.chains.iter().enumerate() {
        if let ChainEnd::Policy(hook, ..) = chain.end {
            walk(&next, start, hook, &mut hooks)?;
        }
    }
    Ok(hooks)
}

/// The chains that rules of `chain` lead to, and where those rules are.
fn led_to(table: &Table, chain: &Chain) -> Vec<(usize, Position)> {
    let mut to = Vec::new();
    for rule in &chain.rules {
        if let Target::Jump(name) | Target::Goto(name) = &rule.target
            && let Some(at) = table.index(name)
        {
            to.push((at, rule.position));
        }
    }
    to
}

/// Walks depth first, without recursion: a file may hold as many chains as it likes.
fn walk(
    next: &[Vec<(usize, Position)>],
    start: usize,
    hook: Hook,
    hooks: &mut [Vec<Hook>],
) -> Result<(), Invalid> {
    let mut path = vec![(start, 0)];
    let mut on_path = vec![false; next.len()];
    let enter = |at: usize, hooks: &mut [Vec<Hook>]| {
        if let Some(hooks) = hooks.get_mut(at) {
            hooks.push(hook);
        }
    };
    enter(start, hooks);
    while let Some((chain, edge)) = path.last_mut() {
        let chain = *chain;
        on_path.get_mut(chain).into_iter().for_each(|on| *on = true);
        let Some((to, position)) = next.get(chain).and_then(|edges| edges.get(*edge)).copied()
        else {
            on_path.get_mut(chain).into_iter().for_each(|on| *on = false);
            path.pop();
            continue;
        };
        *edge += 1;
        if on_path.get(to).copied().unwrap_or_default() {
            let message = "this rule leads back to a chain that led here".to_owned();
            let hint = Some("a packet must not come into the same chain again".to_owned());
            return Err(Invalid { position, message, hint });
        }
        if hooks.get(to).is_some_and(|hooks| !hooks.contains(&hook)) {
            enter(to, hooks);
            path.push((to, 0));
        }
    }
    Ok(())
}
