//! Rules as they are run: the kernel's walk through a table, rule by rule.
//!
//! This is what `ipt_do_table` and `ip6t_do_table` do, in their order. A rule is met when its header
//! and all its matches are; it counts, and its target decides or lets the packet go on. A jump
//! remembers where it came from, a goto does not. The end of a user's chain leads back; the end of a
//! built-in chain is its policy, and so is a RETURN there.
//!
//! Three things are the kernel's and easily taken for mistakes: a header too short for a match ends
//! the packet at once (hotdrop), whatever the rules after it; a verdict without any condition is
//! told by TRACE as its chain's `policy` or `return`, though it is a rule; and what a rule changes
//! is seen by the next.
//!
//! A long chain's rules need not all be asked: its classifier (`classify.rs`) names those that the
//! packet may meet, and only these are tested. [`CompiledRuleset::linear`] goes without; it is the
//! reference that the other is held against.

use crate::classify::Key;
use crate::compiled::{Broken, Conditions, Goal, Place, Program, Rule, Search, tested};
use crate::context::{Context, Step, StepKind, StepName, View};
use crate::matches::Match;
use crate::memory::Memory;
use crate::rule::{Counters, RuleSpec, Target, Verdict};
use crate::ruleset::{Chain, ChainEnd, Hook, Policy, Ruleset, Table, TableName};
use crate::tried::{Fate, Tried};
use crate::validate::ValidRuleset;

/// What a table says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainVerdict {
    /// It passes this table.
    Accept,
    /// It ends here.
    Drop,
    /// It goes to user space.
    Queue {
        /// To which of its queues.
        number: u16,
        /// Whether it passes where nobody listens.
        bypass: bool,
    },
}

/// A table's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What becomes of the packet.
    pub verdict: ChainVerdict,
    /// The rule or the policy that said so; none where a broken packet ended.
    pub step: Option<Step>,
}

/// Why a match cannot say yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The packet is broken: it ends here.
    Hotdrop,
    /// The same, but an inverted question takes it for met: the rule counts and its target works
    /// before the packet ends.
    HotdropMet,
    /// Nobody has taught it yet.
    NotEvaluated,
}

/// A match at work.
pub(crate) trait Matching: core::fmt::Debug + Send + Sync {
    /// Whether the packet has what the rule asks for.
    fn passes(&self, _: &View<'_>, _: &mut Memory<'_>) -> Result<bool, Stop> {
        Err(Stop::NotEvaluated)
    }
}

/// What a target makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The next rule is asked.
    Continue,
    /// The table has decided.
    Verdict(ChainVerdict),
    /// Nobody has taught it yet.
    NotEvaluated,
}

/// A target at work.
pub(crate) trait Acting: core::fmt::Debug + Send + Sync {
    /// Does what the rule says.
    fn act(&self, _: &mut dyn Context, _: Hook) -> Action {
        Action::NotEvaluated
    }
}

/// A ruleset's tables, ready to be asked. See the module's essay.
#[derive(Debug)]
pub struct CompiledRuleset {
    tables: Vec<Program>,
    rules: Ruleset,
    present: TableSet,
}

/// Several tables, one bit each: every packet asks for them at every turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSet(u8);

impl TableSet {
    /// These.
    #[inline]
    pub const fn of(tables: &[TableName]) -> Self {
        let (mut set, mut rest) = (0, tables);
        while let [first, others @ ..] = rest {
            set |= 1 << *first as u8;
            rest = others;
        }
        Self(set)
    }
}

/// How the search for the next rule that the packet meets ended.
enum Met {
    /// Its number, and how long the packet is.
    Rule {
        number: usize,
        length: usize,
    },
    /// The same, but the packet ends with it whatever its target says.
    Last {
        number: usize,
        length: usize,
    },
    End,
    Hotdrop,
}

impl CompiledRuleset {
    /// The rules, with the counters they were written with.
    pub fn new(rules: &ValidRuleset) -> Self {
        Self::searched(rules, Search::Indexed)
    }

    /// The same, asked rule by rule: it answers as [`Self::new`]'s does, only slower.
    pub fn linear(rules: &ValidRuleset) -> Self {
        Self::searched(rules, Search::Linear)
    }

    fn searched(rules: &ValidRuleset, search: Search) -> Self {
        let rules = rules.rules().clone();
        let tables = rules.tables.iter().map(|table| Program::new(table, search)).collect();
        let names: Vec<_> = rules.tables.iter().map(|table| table.name).collect();
        let present = TableSet::of(&names);
        Self { tables, rules, present }
    }

    /// Whether there is something to ask in `table`.
    #[inline]
    pub fn has(&self, table: TableName) -> bool {
        self.has_any(TableSet::of(&[table]))
    }

    /// Whether there is something to ask in one of these tables.
    #[inline]
    pub fn has_any(&self, tables: TableSet) -> bool {
        self.present.0 & tables.0 != 0
    }

    /// What `table` says of the packet in `hook`, and where it was said. A table that the ruleset
    /// does not have, or that is not asked in this hook, accepts.
    pub fn ask(&mut self, table: TableName, hook: Hook, context: &mut dyn Context) -> Said {
        let mut tables = self.tables.iter_mut().zip(&self.rules.tables);
        let found = tables.find(|(_, of)| of.name == table);
        match found.and_then(|(program, table)| Some((program.entry(hook)?, program, table))) {
            Some((entry, program, table)) => {
                // Who wants an account wants it of every rule.
                let explains = context.explains();
                Walk { program, table, hook, context, explains }.from(entry)
            }
            None => Said { verdict: ChainVerdict::Accept, step: None },
        }
    }

    /// The name of a step of a packet through these rules.
    pub fn name(&self, step: Step) -> StepName<'_> {
        StepName { step, chain: self.place(step).map_or("", |(chain, _)| &chain.name) }
    }

    /// The chain of a step, and the rule itself unless it is the chain's end.
    pub fn place(&self, step: Step) -> Option<(&Chain, Option<&RuleSpec>)> {
        let table = self.rules.table(step.table)?;
        let chain = table.chains.get(step.chain as usize)?;
        let rule = (step.number as usize).checked_sub(1).and_then(|at| chain.rules.get(at));
        Some((chain, rule))
    }

    /// The rules with what they have counted.
    pub fn counted(&self) -> Ruleset {
        let mut rules = self.rules.clone();
        let tables = self.tables.iter().zip(&mut rules.tables);
        tables.for_each(|(program, table)| program.count_into(table));
        rules
    }
}

/// A packet's way through a table.
struct Walk<'a> {
    program: &'a mut Program,
    /// What was compiled.
    table: &'a Table,
    hook: Hook,
    context: &'a mut dyn Context,
    /// Somebody wants to know why.
    explains: bool,
}

impl Walk<'_> {
    fn from(&mut self, entry: usize) -> Said {
        let mut at = Place { chain: entry, rule: 0 };
        self.program.callers.clear();
        loop {
            let (number, length) = match self.meet(at) {
                Met::Hotdrop => return Said { verdict: ChainVerdict::Drop, step: None },
                Met::Rule { number, length } => (number, length),
                Met::Last { number, length } => {
                    return self.last(Place { rule: number, ..at }, length);
                }
                Met::End => match self.leave(at.chain, entry) {
                    Ok(caller) => {
                        at = caller;
                        continue;
                    }
                    Err(said) => return said,
                },
            };
            let next = Place { chain: at.chain, rule: number + 1 };
            let Some((goal, step)) = self.count(at.chain, number, length) else {
                return Said { verdict: ChainVerdict::Accept, step: None };
            };
            let decided = |verdict| Said { verdict, step: Some(step) };
            match goal {
                Goal::Continue => at = next,
                Goal::Verdict(Verdict::Accept) => return decided(ChainVerdict::Accept),
                Goal::Verdict(Verdict::Drop) => return decided(ChainVerdict::Drop),
                Goal::Verdict(Verdict::Queue) => {
                    return decided(ChainVerdict::Queue { number: 0, bypass: false });
                }
                Goal::Verdict(Verdict::Return) => match self.program.callers.pop() {
                    Some(caller) => at = caller,
                    None => return self.end(entry),
                },
                Goal::Jump(chain) => {
                    at = Place { chain: chain as usize, rule: 0 };
                    self.program.callers.push(next);
                }
                Goal::Goto(chain) => at = Place { chain: chain as usize, rule: 0 },
                Goal::Extension(target) => match self.act(target, Place { rule: number, ..at }) {
                    Some(verdict) => return decided(verdict),
                    None => at = next,
                },
            }
        }
    }

    /// A rule that counts, and whose target works, though its packet is broken.
    fn last(&mut self, at: Place, length: usize) -> Said {
        if let Some((Goal::Extension(target), _)) = self.count(at.chain, at.rule, length) {
            self.act(target, at);
        }
        Said { verdict: ChainVerdict::Drop, step: None }
    }

    /// Does what the target of the rule at `place` says; a verdict ends the walk.
    fn act(&mut self, target: u32, place: Place) -> Option<ChainVerdict> {
        let target = self.program.targets.get(target as usize)?;
        match target.act(self.context, self.hook) {
            Action::Verdict(verdict) => Some(verdict),
            Action::Continue => None,
            Action::NotEvaluated => {
                let chain = self.table.chains.get(place.chain)?;
                if let Target::Extension(target) = &chain.rules.get(place.rule)?.target {
                    self.context.not_evaluated(target.name());
                }
                None
            }
        }
    }

    /// The end of a chain: back to where it was called from, or what its or the first chain's
    /// policy says.
    fn leave(&mut self, chain: usize, entry: usize) -> Result<Place, Said> {
        let said = self.end(chain);
        if chain == entry {
            return Err(said);
        }
        match self.program.callers.pop() {
            Some(caller) => Ok(caller),
            None => Err(self.end(entry)),
        }
    }

    /// The next rule from `at` on whose conditions the packet meets.
    fn meet(&mut self, at: Place) -> Met {
        let Program { chains, indexes, rules, conditions, .. } = &mut *self.program;
        let Some(chain) = chains.get(at.chain) else { return Met::End };
        let Some(rules) = rules.get(chain.rules()) else { return Met::End };
        if at.rule >= rules.len() {
            return Met::End;
        }
        let Some(view) = View::new(self.context) else { return Met::Hotdrop };
        let index = indexes.get(chain.index as usize).filter(|_| !self.explains);
        let key = index.and_then(|index| Some((index, Key::of(&view)?)));
        let (unknown, tried) = (Vec::new(), Vec::new());
        let written = (self.table, at.chain);
        let explains = self.explains;
        let mut trial = Trial { view: &view, conditions, written, explains, unknown, tried };
        let met = match &key {
            Some((index, key)) => trial.first_met(rules, index.candidates(key, at.rule)),
            None => trial.first_met(rules, at.rule..rules.len()),
        };
        let Trial { unknown, tried, .. } = trial;
        if !unknown.is_empty() || !tried.is_empty() {
            self.tell(at.chain, unknown, tried);
        }
        met
    }

    /// Tells what could not be evaluated, and of the rules that were tried.
    #[cold]
    fn tell(&mut self, chain: usize, unknown: Vec<&'static str>, tried: Vec<(usize, Tried)>) {
        let (table, chain) = (self.table.name, index_of(chain));
        for (number, tried) in tried {
            let step = Step { table, chain, kind: StepKind::Rule, number: one_based(number) };
            self.context.tried(step, tried);
        }
        unknown.into_iter().for_each(|name| self.context.not_evaluated(name));
    }

    /// Counts and tells the rule that was met; its target, and its step.
    fn count(&mut self, chain: usize, number: usize, length: usize) -> Option<(Goal, Step)> {
        let Program { chains, ends, rules, .. } = &mut *self.program;
        let rule = rules.get_mut(chains.get(chain)?.place(number))?;
        rule.counters.count(length);
        let kind = match rule.is_tail {
            false => StepKind::Rule,
            true => kind_of_end(ends.get(chain)?),
        };
        let table = self.table.name;
        let step = Step { table, chain: index_of(chain), kind, number: one_based(number) };
        self.context.passed(step);
        Some((rule.goal, step))
    }

    /// Counts and tells the end of a chain. Of a user's chain it says nothing.
    fn end(&mut self, chain: usize) -> Said {
        let accepted = Said { verdict: ChainVerdict::Accept, step: None };
        let table = self.table.name;
        let Program { chains, ends, .. } = &mut *self.program;
        let (Some(end), Some(of)) = (ends.get_mut(chain), chains.get(chain)) else {
            return accepted;
        };
        let (kind, number) = (kind_of_end(end), one_based(of.len()));
        let step = Step { table, chain: index_of(chain), kind, number };
        self.context.passed(step);
        let ChainEnd::Policy(_, policy, counters) = end else { return accepted };
        counters.count(self.context.packet().map_or(0, |packet| packet.length()));
        let verdict = match policy {
            Policy::Accept => ChainVerdict::Accept,
            Policy::Drop => ChainVerdict::Drop,
        };
        Said { verdict, step: Some(step) }
    }
}

/// A search for the next rule that a packet meets.
struct Trial<'a> {
    view: &'a View<'a>,
    /// The table's.
    conditions: &'a mut Conditions,
    /// The table as it was written, and which of its chains. It is not touched before it must be:
    /// that would cost as much as the rule itself.
    written: (&'a Table, usize),
    explains: bool,
    /// What could not be evaluated.
    unknown: Vec<&'static str>,
    /// An account of the rules, where one is wanted.
    tried: Vec<(usize, Tried)>,
}

impl Trial<'_> {
    /// The first of the rules of these numbers that the packet meets.
    fn first_met(&mut self, rules: &[Rule], numbers: impl Iterator<Item = usize>) -> Met {
        let length = self.view.packet.length();
        for number in numbers {
            let Some(rule) = rules.get(number) else { return Met::End };
            match self.meets(rule, number) {
                Ok(false) => {}
                Ok(true) => return Met::Rule { number, length },
                Err(Broken::Unmet) => return Met::Hotdrop,
                Err(Broken::Met) => return Met::Last { number, length },
            }
        }
        Met::End
    }

    fn meets(&mut self, rule: &Rule, number: usize) -> Result<bool, Broken> {
        if !self.explains {
            return match self.conditions.header_passes(rule, self.view)? {
                true => self.tests_pass(rule, number, &mut 0),
                false => Ok(false),
            };
        }
        let (mut passed, before) = (0, self.unknown.len());
        let meets = match self.conditions.header_passes(rule, self.view) {
            Ok(true) => self.tests_pass(rule, number, &mut passed),
            other => other,
        };
        let fate = fate(&meets, self.unknown.len() > before);
        if let Some(spec) = self.spec(number) {
            self.tried.push((number, Tried::of(spec, passed, fate, self.view)));
        }
        meets
    }

    fn spec(&self, number: usize) -> Option<&RuleSpec> {
        let (table, chain) = self.written;
        table.chains.get(chain)?.rules.get(number)
    }

    /// Says in `passed` how far it came.
    fn tests_pass(
        &mut self,
        rule: &Rule,
        number: usize,
        passed: &mut usize,
    ) -> Result<bool, Broken> {
        let mut broken = false;
        while let Some(answer) = self.conditions.test(rule, *passed, self.view) {
            match answer {
                Ok(true) => {}
                Err(Stop::HotdropMet) => broken = true,
                Ok(false) if !broken => return Ok(false),
                Ok(false) | Err(Stop::Hotdrop) => return Err(Broken::Unmet),
                Err(Stop::NotEvaluated) => {
                    let spec = self.spec(number);
                    let one = spec.and_then(|spec| tested(&spec.matches).nth(*passed));
                    self.unknown.extend(one.map(Match::name));
                    return Ok(false);
                }
            }
            *passed += 1;
        }
        if broken { Err(Broken::Met) } else { Ok(true) }
    }
}

/// What TRACE calls a chain's end.
fn kind_of_end(end: &ChainEnd) -> StepKind {
    match end {
        ChainEnd::Return => StepKind::Return,
        ChainEnd::Policy(..) => StepKind::Policy,
    }
}

/// How a rule ended.
fn fate(passes: &Result<bool, Broken>, unknown: bool) -> Fate {
    match passes {
        Ok(true) => Fate::Met,
        Ok(false) if unknown => Fate::NotEvaluated,
        Ok(false) => Fate::PassedOver,
        Err(_) => Fate::Broken,
    }
}

fn index_of(chain: usize) -> u32 {
    u32::try_from(chain).unwrap_or(u32::MAX)
}

fn one_based(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1)
}

impl Counters {
    fn count(&mut self, length: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(length as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests;
