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
//! Between two targets the packet stays what it is, so it is looked at once ([`Seen`]); what it has
//! met meanwhile is told when the look ends.
//!
//! A long chain's rules need not all be asked: its classifier (`classify.rs`) names those that the
//! packet may meet, and only these are tested. [`CompiledRuleset::linear`] goes without; it is the
//! reference that the other is held against.

use crate::classify::Key;
use crate::compiled::{
    Broken, Chain as Compiled, Conditions, Goal, Place, Program, Reached, Rule, Search, tested,
};
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
    /// Its number.
    Rule(usize),
    /// The same, but the packet ends with it whatever its target says.
    Last(usize),
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
                let told = Told::default();
                Walk { program, table, hook, context, explains, told }.begin(entry)
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
    told: Told,
}

/// What the context has not been told yet: it cannot be while somebody looks at the packet.
#[derive(Default)]
struct Told {
    /// Matches that could not be evaluated.
    unknown: Vec<&'static str>,
    /// An account of the rules, where one is wanted.
    tried: Vec<(Step, Tried)>,
}

/// Why a walk stops looking at the packet.
enum Pause {
    /// The table has decided.
    Said(Said),
    /// The target of a rule works, and may change the packet.
    Target(Acts),
    /// There is something to tell.
    Tells,
}

/// A rule's target at work.
struct Acts {
    /// Which of the table's.
    target: u32,
    /// The rule.
    place: Place,
    step: Step,
    /// The packet is broken and ends here, whatever the target says.
    is_last: bool,
}

impl Walk<'_> {
    fn begin(&mut self, entry: Compiled) -> Said {
        self.program.callers.clear();
        self.program.steps.clear();
        if entry.is_empty() {
            let length = self.context.packet().map_or(0, |packet| packet.length());
            let said = self.program.end(self.table, entry, length);
            self.tell();
            return said;
        }
        let mut at = Place { chain: entry, rule: 0 };
        loop {
            let pause = self.look(&mut at, entry);
            self.tell();
            match pause {
                Pause::Tells => {}
                Pause::Said(said) => return said,
                Pause::Target(Acts { target, place, step, is_last }) => {
                    let verdict = self.act(target, place);
                    if is_last {
                        return Said { verdict: ChainVerdict::Drop, step: None };
                    }
                    if let Some(verdict) = verdict {
                        return Said { verdict, step: Some(step) };
                    }
                }
            }
        }
    }

    /// Goes on from `at` for as long as the packet stays what it is.
    fn look(&mut self, at: &mut Place, entry: Compiled) -> Pause {
        let Walk { program, table, context, explains, told, .. } = self;
        let Some(view) = View::new(&**context) else { return Pause::Said(HOTDROP) };
        let written = (*table, *explains);
        let mut seen = Seen { program, written, view: &view, told };
        loop {
            let (number, is_last) = match seen.meet(*at) {
                Met::Rule(number) => (number, false),
                Met::Last(number) => (number, true),
                Met::Hotdrop => return Pause::Said(HOTDROP),
                Met::End => match seen.leave(at.chain, entry) {
                    Ok(caller) => {
                        *at = caller;
                        // The chain's end is told before the caller's rules are tried.
                        if *explains {
                            return Pause::Tells;
                        }
                        continue;
                    }
                    Err(said) => return Pause::Said(said),
                },
            };
            let place = Place { rule: number, ..*at };
            let Some((goal, step)) = seen.count(place) else { return Pause::Said(HOTDROP) };
            at.rule = number + 1;
            if let Goal::Extension(target) = goal {
                return Pause::Target(Acts { target, place, step, is_last });
            }
            if is_last {
                return Pause::Said(HOTDROP);
            }
            if let Some(verdict) = seen.go(goal, at) {
                let said = match verdict {
                    Some(verdict) => Said { verdict, step: Some(step) },
                    None => seen.end(entry),
                };
                return Pause::Said(said);
            }
            if *explains {
                return Pause::Tells;
            }
        }
    }

    /// Does what the target of the rule at `place` says; a verdict ends the walk.
    fn act(&mut self, target: u32, place: Place) -> Option<ChainVerdict> {
        let target = self.program.targets.get(target as usize)?;
        match target.act(self.context, self.hook) {
            Action::Verdict(verdict) => Some(verdict),
            Action::Continue => None,
            Action::NotEvaluated => {
                let chain = self.table.chains.get(place.chain.number as usize)?;
                if let Target::Extension(target) = &chain.rules.get(place.rule)?.target {
                    self.context.not_evaluated(target.name());
                }
                None
            }
        }
    }

    /// Tells what could not be evaluated, of the rules that were tried, and the way.
    fn tell(&mut self) {
        let Told { unknown, tried } = &mut self.told;
        if !unknown.is_empty() || !tried.is_empty() {
            tried.drain(..).for_each(|(step, tried)| self.context.tried(step, tried));
            unknown.drain(..).for_each(|name| self.context.not_evaluated(name));
        }
        self.context.passed(&self.program.steps);
        self.program.steps.clear();
    }
}

/// A broken packet ends at once.
const HOTDROP: Said = Said { verdict: ChainVerdict::Drop, step: None };

/// A packet that nothing changes, and the table that it walks through.
struct Seen<'a> {
    program: &'a mut Program,
    /// The table as it was written, and whether an account is wanted. It is not touched before it
    /// must be: that would cost as much as the rule itself.
    written: (&'a Table, bool),
    view: &'a View<'a>,
    told: &'a mut Told,
}

impl Seen<'_> {
    /// The next rule from `at` on whose conditions the packet meets.
    fn meet(&mut self, at: Place) -> Met {
        let Program { indexes, rules, conditions, .. } = &mut *self.program;
        let Some(rules) = rules.get(at.chain.rules()) else { return Met::End };
        let (table, explains) = self.written;
        let written = (table, at.chain.number);
        let mut trial = Trial { view: self.view, conditions, written, explains, told: self.told };
        if let Some(index) = indexes.get(at.chain.index as usize)
            && !explains
            && at.rule < rules.len()
            && let Some(key) = Key::of(self.view)
        {
            return trial.first_met(rules, index.candidates(&key, at.rule));
        }
        trial.first_met(rules, at.rule..rules.len())
    }

    /// Where a met rule's goal leads from the rule before `at`. A verdict ends the walk; an empty
    /// one is the first chain's policy.
    fn go(&mut self, goal: Goal, at: &mut Place) -> Option<Option<ChainVerdict>> {
        match goal {
            Goal::Continue | Goal::Extension(_) => None,
            Goal::Verdict(verdict) | Goal::Tail(verdict) => match verdict {
                Verdict::Accept => Some(Some(ChainVerdict::Accept)),
                Verdict::Drop => Some(Some(ChainVerdict::Drop)),
                Verdict::Queue => Some(Some(ChainVerdict::Queue { number: 0, bypass: false })),
                Verdict::Return => match self.program.callers.pop() {
                    Some(caller) => {
                        *at = caller;
                        None
                    }
                    None => Some(None),
                },
            },
            Goal::Jump { number, first, len } => {
                self.program.callers.push(*at);
                let chain = self.program.reach(Reached { number, first, len })?;
                *at = Place { chain, rule: 0 };
                None
            }
            Goal::Goto { number, first, len } => {
                let chain = self.program.reach(Reached { number, first, len })?;
                *at = Place { chain, rule: 0 };
                None
            }
        }
    }

    /// The end of a chain: back to where it was called from, or what its or the first chain's
    /// policy says.
    fn leave(&mut self, chain: Compiled, entry: Compiled) -> Result<Place, Said> {
        let said = self.end(chain);
        if chain == entry {
            return Err(said);
        }
        match self.program.callers.pop() {
            Some(caller) => Ok(caller),
            None => Err(self.end(entry)),
        }
    }

    /// Counts and notes the rule that was met; its target, and its step.
    fn count(&mut self, place: Place) -> Option<(Goal, Step)> {
        let Program { ends, rules, steps, .. } = &mut *self.program;
        let rule = rules.get_mut(place.chain.place(place.rule))?;
        rule.counters.count(self.view.packet.length());
        let kind = match rule.goal {
            Goal::Tail(_) => kind_of_end(ends.get(place.chain.number as usize)?),
            _ => StepKind::Rule,
        };
        let step = Step { kind, ..step(self.written.0, place.chain.number, place.rule) };
        steps.push(step);
        Some((rule.goal, step))
    }

    /// Counts and notes the end of a chain. Of a user's chain it says nothing.
    fn end(&mut self, chain: Compiled) -> Said {
        self.program.end(self.written.0, chain, self.view.packet.length())
    }
}

impl Program {
    /// See [`Seen::end`].
    fn end(&mut self, table: &Table, chain: Compiled, length: usize) -> Said {
        let accepted = Said { verdict: ChainVerdict::Accept, step: None };
        let Some(end) = self.ends.get_mut(chain.number as usize) else { return accepted };
        let step = Step { kind: kind_of_end(end), ..step(table, chain.number, chain.len()) };
        self.steps.push(step);
        let ChainEnd::Policy(_, policy, counters) = end else { return accepted };
        counters.count(length);
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
    /// The table as it was written, and which of its chains.
    written: (&'a Table, u32),
    explains: bool,
    told: &'a mut Told,
}

impl Trial<'_> {
    /// The first of the rules of these numbers that the packet meets.
    #[inline]
    fn first_met(&mut self, rules: &[Rule], numbers: impl Iterator<Item = usize>) -> Met {
        for number in numbers {
            let Some(rule) = rules.get(number) else { return Met::End };
            let meets = match self.explains {
                false => self.meets(rule, number, &mut 0),
                true => self.explain(rule, number),
            };
            match meets {
                Ok(false) => {}
                Ok(true) => return Met::Rule(number),
                Err(Broken::Unmet) => return Met::Hotdrop,
                Err(Broken::Met) => return Met::Last(number),
            }
        }
        Met::End
    }

    /// Says in `passed` how many of its matches have passed.
    #[inline]
    fn meets(&mut self, rule: &Rule, number: usize, passed: &mut usize) -> Result<bool, Broken> {
        match self.conditions.header_passes(rule, self.view)? {
            true => self.tests_pass(rule, number, passed),
            false => Ok(false),
        }
    }

    #[cold]
    fn explain(&mut self, rule: &Rule, number: usize) -> Result<bool, Broken> {
        let (mut passed, before) = (0, self.told.unknown.len());
        let meets = self.meets(rule, number, &mut passed);
        let fate = fate(&meets, self.told.unknown.len() > before);
        if let Some(spec) = self.spec(number) {
            let tried = Tried::of(spec, passed, fate, self.view);
            let (table, chain) = self.written;
            self.told.tried.push((step(table, chain, number), tried));
        }
        meets
    }

    fn spec(&self, number: usize) -> Option<&RuleSpec> {
        let (table, chain) = self.written;
        table.chains.get(chain as usize)?.rules.get(number)
    }

    #[inline]
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
                    let name = one.map(Match::name);
                    self.told.unknown.extend(name);
                    return Ok(false);
                }
            }
            *passed += 1;
        }
        if broken { Err(Broken::Met) } else { Ok(true) }
    }
}

/// The step of a rule of a table.
fn step(table: &Table, chain: u32, rule: usize) -> Step {
    let number = u32::try_from(rule).unwrap_or(u32::MAX).saturating_add(1);
    Step { table: table.name, chain, kind: StepKind::Rule, number }
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

impl Counters {
    fn count(&mut self, length: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(length as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests;
